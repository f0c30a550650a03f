"""What an evaluation found, as sentences and tables for notebooks 04 and 04b to show."""

import pandas as pd

from utils.data.reviews import CLASSES, Reviews
from utils.evaluation.error_analysis import KINDS, contradicted, kind_of
from utils.evaluation.figures import coloured_words
from utils.evaluation.metrics import hits, table
from utils.evaluation.predictions import worst_errors
from utils.formatting import bullets, percentage_points, said
from utils.results import Run
from utils.text import Tokens, excerpt


def comparison(test: dict) -> str:
    """McNemar's test of the model against the baseline, in words."""
    gain = percentage_points({"value": test["gain"], "interval": test["gain_interval"]})
    verdict = "significant" if test["p_value"] < 0.05 else "not significant"
    return (
        f"The fine-tuned model alone is right on **{test['only_ours']:,}** reviews, the baseline "
        f"alone on **{test['only_theirs']:,}**. The difference in accuracy is {gain} percentage "
        f"points. At the 5% level it is {verdict} (p = {test['p_value']:.2g})."
    )


def small_test(failures: dict) -> str:
    """What a test of 300 reviews would have told."""
    small = failures["small_tests"]["300"]
    low, high = small["accuracy_range"]
    missed = small["ranked_wrongly"] + small["tied"]
    return (
        f"With 300 test reviews, this model would score **{low:.1%} to {high:.1%}** in 95 of 100 "
        f"draws. In {missed:.1%} of the draws, the model that is worse on the whole test split "
        f"scores as high or higher. In {small['found']:.1%} of all draws, the difference is "
        "significant. This is the statistical power of such a test."
    )


def coverage(selected: dict) -> str:
    """What answering only the confident reviews gives, at the confidence chosen on validation."""
    if selected["confidence"] is None:
        return f"On validation no confidence reaches {selected['target']:.0%} accuracy."
    kept = selected["test"]
    return (
        f"For {selected['target']:.0%} accuracy on the validation split, a confidence of at least "
        f"{selected['confidence']:.1%} is needed. On the test split, "
        f"**{1 - kept['coverage']:.0%} of the reviews fall below it and go to people**. The model "
        f"labels the others with **{said(kept)}** accuracy."
    )


def calibrated(calibration: dict, losses: list[dict]) -> str:
    """The calibration error before and after the temperature; `losses` are of each epoch."""
    validation = calibration["validation"]["log_loss"]
    lines = []
    for kind, error in calibration["calibration_error"].items():
        name = "As trained" if kind == "before" else "With the temperature"
        line = f"{name}, ECE is **{said(error)}** and log loss is "
        line += f"{calibration['log_loss'][kind]:.3f}. Chance alone gives a perfectly calibrated "
        line += f"model an ECE of up to {error['by_chance'][1]:.1%}."
        if (near := calibration["near_90"][kind])["reviews"]:
            line += f" Of predictions with 88% to 92% confidence, {said(near)} are correct."
        lines.append(line)
    low, high = calibration["temperature_interval"]
    lines.append(
        f"The temperature is {calibration['temperature']:.2f} [{low:.2f}, {high:.2f}], fitted on "
        f"{calibration['validation_reviews']:,} validation reviews."
    )
    least = min(losses, key=lambda epoch: epoch["loss"])
    if least["epoch"] < losses[-1]["epoch"]:
        lines.append(
            f"Validation loss rose from {least['loss']:.3f} after epoch {least['epoch']} to "
            f"{validation['before']:.3f}. With the temperature, it is {validation['after']:.3f}. "
            "The part that the temperature removes is overconfidence."
        )
    return bullets(lines)


def threshold(calibration: dict) -> str:
    """What the threshold with the best validation accuracy changes."""
    moved, valid = calibration["against_0.5"], calibration["validation"]
    gain = {"value": moved["gain"], "interval": moved["gain_interval"]}
    return (
        f"On the validation split, this threshold gives {valid['at_the_threshold']:.1%} accuracy "
        f"instead of {valid['at_0.5']:.1%}. On the test split, it corrects "
        f"{moved['only_ours']:,} predicted labels and spoils {moved['only_theirs']:,}. Accuracy "
        f"changes by {percentage_points(gain)} percentage points (McNemar's p = "
        f"{moved['p_value']:.2g})."
    )


def duplicates(result: dict) -> str:
    """What the duplicates in the test do to its accuracy."""
    whole, distinct = result["model"], result["without_duplicates"]
    with_them, without = (
        said(found["metrics"]["accuracy"], ".2%") for found in (whole, distinct)
    )  # fmt: skip
    return (
        f"{whole['reviews'] - distinct['reviews']} test reviews repeat an earlier one. Accuracy is "
        f"{without} without these repeats and {with_them} with them."
    )


def leads(failures: dict) -> pd.DataFrame:
    """The lead over the baseline in each group of reviews."""
    rows = {
        (name, row["group"]): {"reviews": f"{row['reviews']:,}",
                               "lead over TF-IDF, pp": percentage_points(row["gain"])}
        for name, grouped in failures["accuracy_by"].items() for row in grouped["groups"]
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def error_kinds(failures: dict) -> pd.DataFrame:
    """The reviews and errors that each rule takes, in the rules' order."""
    kinds = {name: failures["kinds"][name] for name in KINDS if name in failures["kinds"]}
    reviews = sum(found["reviews"] for found in kinds.values())
    rows = {
        name: {
            "reviews": f"{found['reviews']:,}",
            "of all reviews": f"{found['reviews'] / reviews:.1%}",
            "errors": f"{found['errors']:,}",
            "of all errors": f"{found['errors'] / max(1, failures['errors']):.1%}",
            "error rate": said(found),
        }
        for name, found in kinds.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("kind")


def worst(reviews: Reviews, probabilities, baseline, tokens: Tokens, count: int = 5) -> str:
    """The most confident errors of each class, with what may be behind them."""
    other = contradicted(probabilities, baseline)
    lines = []
    for place, row in worst_errors(reviews, probabilities, count).iterrows():
        kind = kind_of(row, other[place], tokens.shortened[place])
        stars = f", {row['rating']:.0f} stars" if "rating" in row else ""
        lines.append(
            f"**labelled {CLASSES[row['label']]}{stars}, P(positive) = "
            f"{row['probability_positive']:.4f}**; {kind}<br>{excerpt(row['text'], 420)}"
        )
    return "\n\n".join(lines)


def evaluated(result: dict, calibration: dict, failures: dict, selected: dict, labels: int) -> str:
    """What notebook 04 found."""
    scores, baseline = result["model"]["metrics"], result["baseline"]["metrics"]
    ece = {kind: said(error) for kind, error in calibration["calibration_error"].items()}
    lines = [
        f"{result['dataset']}, {result['model']['reviews']:,} test reviews, {labels:,} labels: "
        f"accuracy **{said(scores['accuracy'])}**, F1 {said(scores['f1'])}. TF-IDF has "
        f"{said(baseline['accuracy'])} accuracy.",
        f"ECE is {ece['before']} as trained, {ece['after']} with a temperature of "
        f"{calibration['temperature']:.2f}.",
        coverage(selected),
    ]
    if cut := failures["accuracy_by"].get("truncated"):
        first, last = cut["groups"][0], cut["groups"][-1]
        lines.append(
            f"Where {first['group']} of a review is truncated, the lead over TF-IDF is "
            f"{percentage_points(first['gain'])} percentage points. Where {last['group']} is, it "
            f"is {percentage_points(last['gain'])}."
        )
    return bullets(lines)


def removed(explained: dict) -> str:
    """What removing the most important words changes, and how complete attributions are."""
    count, flips = list(explained["flipped_without_words"].items())[-1]
    changed = {name: said(flips[name]) for name in ("strongest", "TF-IDF", "random")}
    errors = ", ".join(f"{error['median']:.1%} with {steps} steps"
                       for steps, error in explained["completeness_error"].items())  # fmt: skip
    return bullets([
        f"Without the {count} most important words, **{changed['strongest']}** of "
        f"{flips['random']['reviews']} predicted labels change. TF-IDF's words: "
        f"{changed['TF-IDF']} (McNemar's p = {explained['mcnemar']['p_value']:.2g}). Random words: "
        f"{changed['random']}.",
        f"The median completeness error is {errors}.",
    ])  # fmt: skip


def passed(pairs: dict) -> str:
    """Minimal pairs passed, of all and of those whose first text is labelled rightly."""
    lines = []
    for part, test in pairs["mcnemar"].items():
        what = "should flip" if part == "flip" else "should not flip"
        each = []
        for model, by_kind in pairs["by_kind"].items():
            found = by_kind[part]
            text = f"**{model}** {said(found)}"
            if first := found.get("of_first_right"):
                text += f" ({said(first)} where the first text is labelled correctly)"
            each.append(text)
        count = next(iter(pairs["by_kind"].values()))[part]["reviews"]
        lines.append(
            f"Of {count} edits that {what} the label, these shares are passed: {'; '.join(each)}. "
            f"McNemar's p = {test['p_value']:.2g}."
        )
    return bullets(lines)


def failed_pairs(pairs: dict) -> pd.DataFrame:
    """Of each kind one pair that the model fails although it labels the first text rightly."""
    rows = {}
    for pair in pairs["pairs"]:
        found = pair["fine-tuned"]
        if found["before"] > 0.5 and not found["passed"]:
            rows.setdefault(pair["kind"], {
                "kind": pair["kind"],
                "text": f"{pair['text']} ({pair['label'].lower()})",
                "edited": f"{pair['edited']} (expected: {pair['expected']})",
                "P before": f"{found['before']:.2f}",
                "P after": f"{found['after']:.2f}",
            })  # fmt: skip
    return pd.DataFrame(rows.values())


def suspected_labels(labels: dict, reviews: Reviews, count: int = 6) -> str:
    """The labels that cleanlab suspects most, with their reviews."""
    budget = pd.concat([reviews.train, reviews.validation]).set_index("hash")
    lines = []
    for found in labels["most_doubted"][:count]:
        row = budget.loc[found["hash"]]
        stars = f", {row['rating']:.0f} stars" if "rating" in row else ""
        head = f"labelled {CLASSES[found['label']]}{stars}, P(positive) = "
        head += f"{found['probability_positive']:.3f}"
        lines.append(f"**{head}**<br>{excerpt(row['text'], 350)}")
    return "\n\n".join(lines)


def label_errors(labels: dict) -> str:
    """How many labels are suspected, and what people said of the test's."""
    held_out = labels["out_of_fold_accuracy"]
    lines = [f"cleanlab suspects **{labels['doubted']:,} of {held_out['reviews']:,}** labels. The "
             f"two models contradict {held_out['reviews'] - hits(held_out):,}."]  # fmt: skip
    if judged := labels.get("test_judged_by_people"):
        lines.append(
            f"People checked {judged['flagged']:,} suspected labels of IMDB's test split, and did "
            f"not confirm {judged['unconfirmed']} of them (Northcutt et al., 2021). If exactly "
            "those labels are wrong, a perfect classifier scores "
            f"**{judged['right_if_those_are_wrong']:.1%}**."
        )
    return bullets(lines)


def why(made: dict[str, dict | None], others: list[dict]) -> str:
    """What notebook 04b found; what was not measured is left out."""
    parts = []
    if explained := made["explanations"]:
        parts.append(removed(explained))
    if pairs := made["minimal_pairs"]:
        parts.append(passed(pairs))
    if labels := made["labels"]:
        parts.append(label_errors(labels))
    for other in others:
        accuracy = said(other["models"]["fine-tuned"]["metrics"]["accuracy"])
        parts.append(bullets([f"On {other['tested_on']['dataset']}, accuracy is {accuracy}."]))
    return "\n".join(parts)


def attributed(case: dict, reviews: Reviews) -> str:
    """HTML of one explained review of the test: its labels, and its words coloured."""
    texts = reviews.test["text"].iloc[case["row"]].split(" ")
    words = [{"text": text, "weight": weight}
             for text, weight in zip(texts, case["weights"], strict=True)]  # fmt: skip
    head = f"labelled {CLASSES[case['label']]}, P(positive) = {case['probability_positive']:.3f}, "
    head += f"completeness error {case['completeness_error']:.1%}"
    return f"<b>{head}</b>{coloured_words(words)}"


def elsewhere(run: Run, reviews: Reviews, other: dict) -> tuple[str, pd.DataFrame]:
    """A test in another domain: a sentence, and the metrics beside a model's of that domain."""
    there = Run(run.folder.with_name(run.name.replace(reviews.name, other["name"])))
    home = there.find("evaluation", split_sha256=other["tested_on"]["split_sha256"])
    columns = other["models"] | ({"fine-tuned there": home["model"]} if home else {})
    test, count = other["mcnemar"], other["models"]["fine-tuned"]["reviews"]
    gain = percentage_points({"value": test["gain"], "interval": test["gain_interval"]})
    text = (f"**{reviews.title} → {other['tested_on']['dataset']}**, {count:,} reviews: {gain} "
            f"percentage points over TF-IDF (McNemar's p = {test['p_value']:.2g}).")  # fmt: skip
    return text, table(columns)
