"""The model card: what the model is, how it was made and measured, and how to use it."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from utils.data.reviews import KNOWN, RESPLIT, Known
from utils.evaluation.calibration import temperature_of
from utils.evaluation.metrics import hits
from utils.formatting import markdown_table, said
from utils.modeling.backbones import NAMED
from utils.results import Run
from utils.text import MAX_TOKENS

TEMPLATE = Path(__file__).with_name("card.md.jinja")
# Of a user's own data and weights nothing is known.
DATA = {known.title: known for known in (*KNOWN.values(), RESPLIT)}
BACKBONES = {known.title: known for known in NAMED.values()}


def model_card(run: Run, trained: dict, folder_name: str, half: bool) -> str:
    """The card of a run's exported model, from its saved results.

    What was not measured for these very weights is said to be so.
    """
    evaluation = run.find("evaluation", model_sha256=trained["model_sha256"])
    agreement = run.find("agreement", model_sha256=trained["model_sha256"])
    temperature = temperature_of(run, trained)
    if agreement and agreement.get("temperature", temperature) != temperature:
        agreement = None  # of weights with another temperature; older results do not name theirs
    dataset, backbone = trained["dataset"], trained["backbone"]
    weights, reviews = BACKBONES.get(backbone), DATA.get(dataset, Known("", dataset))
    stored = ""
    if half:
        stored = "\nWeights are stored in fp16 and computed in fp32" + _flips(agreement, "fp16")
    data = ModelCardData(
        language="en",
        license="mit",
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["sentiment-analysis", "distilbert"],
        base_model=weights.hub_name if weights else None,
        datasets=[reviews.hub_name] if reviews.hub_name else None,
        **_eval_results(run, dataset, evaluation),
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        title=f"{dataset}: sentiment from {_labels(trained):,} labels",
        backbone=backbone,
        labels=f"{_labels(trained):,}",
        dataset=dataset,
        valid=trained["validation_reviews"],
        stored=stored,
        folder=folder_name,
        pipeline="Reviews are best cleaned as in training (`<br />` removed); what both lose"
        + _pipeline_loss(agreement),
        results=_results(evaluation),
        calibration=_calibration(run.find("calibration", model_sha256=trained["model_sha256"])),
        beyond=_beyond(run, trained),
        history=trained.get("history", []),
        recipe=_recipe(trained["recipe"]),
        **{key: trained["versions"][key] for key in ("torch", "transformers", "precision")},
        processor=trained["versions"]["processor"],
        weights_licence=weights.licence if weights else "see where they come from",
        data_licence=reviews.licence,
    )
    return f"{card}\n"


def _labels(trained: dict) -> int:
    return trained["train_reviews"] + trained["validation_reviews"]


def _eval_results(run: Run, dataset: str, evaluation: dict | None) -> dict:
    if evaluation is None:
        return {}
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=DATA.get(dataset, Known("", "")).hub_name or run.name,
            dataset_name=dataset,
            dataset_split="test",
            metric_type=name,
            metric_name="{name}, 95% interval {0:.3f} to {1:.3f}".format(*m["interval"], name=name),
            metric_value=round(m["value"], 4),
        )
        for name, m in evaluation["model"]["metrics"].items()
    ]
    return {"model_name": run.name, "eval_results": results}


def _results(evaluation: dict | None) -> str:
    if evaluation is None:
        return "Not measured for these weights: run notebook 04."
    about = (
        f"On {evaluation['model']['reviews']:,} test reviews, read up to {MAX_TOKENS} tokens; in "
        "brackets the 95% bootstrap interval, which knows nothing of other seeds. The baseline is "
        "TF-IDF with logistic regression on the same labels alone.\n\n"
    )
    rows = [
        [name, said(metric, ".3f"), said(evaluation["baseline"]["metrics"][name], ".3f")]
        for name, metric in evaluation["model"]["metrics"].items()
    ]
    return about + markdown_table(("metric", "this model", "baseline"), rows)


def _calibration(found: dict | None) -> str:
    if found is None:
        return "The score is no calibrated probability."
    if found["temperature"] == 1:
        return "The score is no calibrated probability: validation was too small to tell."
    before, after = (said(found["calibration_error"][kind]) for kind in ("before", "after"))
    low, high = found["temperature_interval"]
    chance = found["calibration_error"]["after"]["by_chance"][1]
    return (
        f"A temperature of {found['temperature']:.2f} [{low:.2f}, {high:.2f}], fitted on "
        f"{found['validation_reviews']} validation reviews, is in the weights"
        f"{', though it cannot be told from 1' if low <= 1 <= high else ''}: the calibration error "
        f"on the test is {after}, and was {before} before; honest probabilities have up to "
        f"{chance:.1%}, by chance."
    )


def _beyond(run: Run, trained: dict) -> str:
    """What was measured beyond the test: pairs, and other reviews."""
    lines = []
    pairs = run.find("minimal_pairs", model_sha256=trained["model_sha256"])
    if pairs:
        ours = pairs["by_kind"]["fine-tuned"]
        for name, what in (
            ("flip", "should flip the answer (by negation, contrast, irony, …)"),
            ("keep", "should not flip the answer"),
        ):
            if part := ours.get(name):
                passed = f"{hits(part)} of {part['reviews']}"
                lines.append(f"Of the minimal pairs whose edit {what} it passes {passed}.")
    for path in sorted((run.folder / "results").glob("on_*.json")):
        found = run.find(path.stem, model_sha256=trained["model_sha256"])
        if found:
            accuracy = found["models"]["fine-tuned"]["metrics"]["accuracy"]["value"]
            lines.append(f"On {found['tested_on']['dataset']} its accuracy is {accuracy:.1%}.")
    return "\n".join([*(lines or ["Nothing was measured on other kinds of text."]), ""])


def _flips(agreement: dict | None, copy: str) -> str:
    if agreement is None:
        return "; what that changes was not measured: run notebook 05."
    found = agreement[copy]
    return (
        f": {found['label_flips']} of {found['reviews']} validation labels flip against the "
        f"original, and probabilities differ by {found['largest_difference']:.1g} at most."
    )


def _pipeline_loss(agreement: dict | None) -> str:
    if agreement is None:
        return " was not measured for these weights: run notebook 05."
    found = agreement["pipeline"]
    return (
        f":\naccuracy {found['accuracy']:.1%} instead of {found['our_accuracy']:.1%} on "
        f"{found['reviews']} validation reviews, on which {found['label_flips']} labels differ "
        f"(McNemar's p = {found['mcnemar']['p_value']:.2g})."
    )


def _recipe(recipe: dict) -> str:
    return (
        f"AdamW, learning rate {recipe['learning_rate']:g} with warm-up over "
        f"{recipe['warmup']:.0%} of the steps and linear decay, {recipe['epochs']} epochs, batches "
        f"of {recipe['batch_size']}, weight decay {recipe['weight_decay']:g}, dropout 0.1, seed "
        f"{recipe['seed']}; at most {recipe['max_tokens']} tokens, of longer reviews "
        "the head and the tail"
    )
