"""One configuration of the research: trained with one seed, and scored on the test if chosen.

Example: SOURCE=path/to/imdb BACKBONE=minilm SEED=43 python scripts/research.py plain

What is to be compared is trained first and compared on validation; only what was chosen is then
called again with --score.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils import InputError
from utils.agreement import agreement, in_fp32
from utils.backbone import build_model, load_backbone
from utils.data import Reviews, load_reviews
from utils.evaluation import predict_test, report
from utils.hardware import precision
from utils.results import Run, write
from utils.settings import resolve_path, set_up
from utils.training import Recipe, fine_tune, load_trained, make_trainer

# What each step changes in the main recipe.
STEPS = {"plain": {}, "long_to_short": {"shuffled": False}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--score", action="store_true", help="predict the test too")
    arguments = parser.parse_args()
    try:
        path = research(arguments.step, arguments.score)
    except InputError as error:
        sys.exit(f"error: {error}")
    print(f"Saved in {os.path.relpath(path)}")


def research(step: str, score: bool) -> Path:
    """Train or resume, score if asked to, and return the JSON of this step and seed."""
    settings = set_up()
    reviews = load_reviews(settings)
    name = f"{step}-{Run.of(settings, reviews.name).name}-seed{settings.seed}"
    folder = resolve_path(settings.artifacts) / "research"
    run = Run(folder / name)  # weights and predictions, which are not committed
    backbone = load_backbone(settings.backbone)
    recipe = Recipe(backbone.learning_rate, settings.seed, **STEPS[step])
    model = build_model(backbone, settings.seed)
    result = fine_tune(
        run, make_trainer(run, model, backbone, reviews, recipe), backbone, reviews, recipe
    )
    path = folder / f"{name}.json"
    if (
        path.exists()
        and (old := json.loads(path.read_text()))["fingerprint"] == result["fingerprint"]
    ):
        result = old | result  # the scores that it has already
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
