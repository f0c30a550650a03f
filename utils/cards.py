"""The results card on top of a notebook: three numbers that its last run saved."""

from utils.formatting import markdown_table, percentage_points, said
from utils.results import Run


def _data(found: dict) -> dict[str, str]:
    rows = found["rows"]
    return {
        "labelled reviews": f"{rows['training'] + rows['validation']:,}",
        "median length in tokens": f"{found['tokens_median']:.0f}",
        "longer than 512 tokens": f"{found['share_over_limit']:.1%}",
    }


def _baseline(found: dict) -> dict[str, str]:
    scores = found["report"]["metrics"]
    return {
        "test accuracy of TF-IDF": said(scores["accuracy"]),
        "its F1": said(scores["f1"]),
        "test accuracy of the majority class": f"{found['majority_accuracy']:.1%}",
    }


def _training(found: dict) -> dict[str, str]:
    return {
        "validation accuracy": f"{found['validation'][-1]['accuracy']:.1%}",
        "minutes to train": f"{found['minutes']:.0f}",
        "million parameters": f"{found['parameters'] / 1e6:.1f}",
    }


def _evaluation(found: dict) -> dict[str, str]:
    scores, test = found["model"]["metrics"], found["mcnemar"]
    lead = percentage_points({"value": test["gain"], "interval": test["gain_interval"]})
    return {
        "test accuracy": said(scores["accuracy"]),
        "F1": said(scores["f1"]),
        "lead over TF-IDF, percentage points": lead,
    }


def _pairs(found: dict) -> dict[str, str]:
    by_model = found["by_kind"]
    ours = by_model["fine-tuned"]
    return {
        "passed edits that should flip the label": said(ours["flip"]),
        "the same by TF-IDF": said(by_model["TF-IDF"]["flip"]),
        "passed edits that should not flip it": said(ours["keep"]),
    }


def _export(found: dict) -> dict[str, str]:
    return {
        "MB to download": f"{found['megabytes']:.1f}",
        "validation labels that a plain pipeline flips": f"{found['pipeline_flips']}",
        "largest difference of a probability, in a fresh process": (
            f"{found['largest_difference']:.1e}"
        ),
    }


def _deployment(found: dict) -> dict[str, str]:
    return {
        "served labels that are the model's own": f"{found['labels_that_agree']} of "
        f"{found['texts']}",
        "largest difference of a probability": f"{found['largest_difference']:.4f}",
        "reviews in a batch": f"{found['texts_a_batch']:.1f}",
    }


CARDS = {  # of each notebook, the result that it reads
    "01": ("data", _data),
    "02": ("baseline", _baseline),
    "03": ("training", _training),
    "04": ("evaluation", _evaluation),
    "04b": ("minimal_pairs", _pairs),
    "05": ("export", _export),
    "06": ("deployment", _deployment),
}


def results_card(run: Run, notebook: str, split_sha256: str) -> str:
    """Markdown with three numbers of a notebook's last run; nothing before the first one."""
    name, numbers = CARDS[notebook]
    found = run.find(name, split_sha256=split_sha256)
    return card(numbers(found)) if found else ""


def card(numbers: dict[str, str]) -> str:
    """Some numbers side by side, with what they are below, as a Markdown table."""
    return markdown_table((f"**{value}**" for value in numbers.values()), [numbers])
