"""Configurations of the research: trained, compared on validation, and scored if chosen.

Example: SOURCE=path/to/imdb BACKBONE=minilm python scripts/research.py plain --folds 0 1 2

What is to be compared is cross-validated inside the label budget first (--folds); only what was
chosen is then trained with a seed or several (SEED) and scored on the test (--score).
"""

import argparse
import hashlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils import InputError
from utils.agreement import agreement, in_fp32
from utils.backbone import build_model, load_backbone
from utils.data import Reviews, load_reviews
from utils.evaluation import predict_test, report
from utils.hardware import precision
from utils.recipe import Recipe, fingerprint
from utils.research import STEPS
from utils.results import Run, write
from utils.settings import Settings, resolve_path, set_up
from utils.trainer import make_trainer
from utils.training import fine_tune, load_trained


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", choices=STEPS, nargs="+")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--folds", type=int, choices=range(10), nargs="+", default=[], metavar="FOLD",
        help="0 to 9: train once for each, with that tenth of the labels as validation",
    )  # fmt: skip
    how.add_argument("--score", action="store_true", help="predict the test too")
    arguments = parser.parse_args()
    try:
        settings = set_up()
        reviews = load_reviews(settings)
        for fold in arguments.folds or [None]:
            for step in arguments.steps:
                path = research(step, settings, reviews, fold, arguments.score)
                print(f"Saved in {os.path.relpath(path)}", flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")


def research(
    step: str, settings: Settings, reviews: Reviews, fold: int | None, score: bool
) -> Path:
    """Train or resume, score if asked to, and return the JSON of this step and seed, or fold."""
    which = f"seed{settings.seed}" if fold is None else f"fold{fold}"
    name = f"{step}-{Run.of(settings, reviews.name).name}-{which}"
    folder = resolve_path(settings.artifacts) / "research"
    run = Run(folder / name)  # weights and predictions, which are not committed
    if fold is not None:
        reviews = reviews.fold(fold)
    backbone = load_backbone(settings.backbone)
    recipe = Recipe(backbone.learning_rate, settings.seed)
    recipe = replace(recipe, **STEPS[step])
    path = folder / f"{name}.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    same = old.get("fingerprint") == fingerprint(backbone, reviews, recipe)
    if same and ("test" in old or not score):
        return path
    model = build_model(backbone, settings.seed)
    result = fine_tune(
        run, make_trainer(run, model, backbone, reviews, recipe), backbone, reviews, recipe
    )
    del result["training_loss"]
    if same:
        result = old | result
    if score:
        result |= test_results(run, reviews, settings.seed)
    text = json.dumps(result, indent=2) + "\n"
    return write(path, lambda file: file.write_text(text, encoding="utf-8"))


def test_results(run: Run, reviews: Reviews, seed: int) -> dict:
    """The test's metrics, and where bf16 was computed what that changed on validation."""
    classifier, trained = load_trained(run, training_sha256=reviews.training_sha256, seed=seed)
    probabilities = predict_test(run, reviews, classifier, trained)
    result = {
        "test": report(reviews.test["label"].to_numpy(), probabilities),
        "predicting_minutes": run.load("predictions")["minutes"],
        "predictions_sha256": hashlib.sha256(probabilities.tobytes()).hexdigest(),
    }
    if precision()[0] == "bf16":
        texts, labels = reviews.validation["text"].tolist(), reviews.validation["label"].to_numpy()
        exact = in_fp32(classifier).probabilities(texts)
        result["bf16"] = agreement(labels, exact, classifier.probabilities(texts))
    return result


if __name__ == "__main__":
    main()
