"""Selective prediction: how accurate a model is where it may leave unsure reviews to people."""

import numpy as np

from utils.data.reviews import Reviews
from utils.evaluation.calibration import confidence_and_right
from utils.evaluation.metrics import share
from utils.results import Run

COVERAGES = tuple(round(0.05 * step, 2) for step in range(1, 21))
TARGET = 0.95  # accuracy, for which validation chooses the confidence
LEAST = 50  # validation reviews that a confidence is chosen on


def accuracy_by_coverage(labels: np.ndarray, probabilities: np.ndarray) -> list[dict]:
    """Accuracy on the most confident share of reviews, for each of COVERAGES.

    The accuracy-coverage curve of El-Yaniv and Wiener (2010). Both arguments have shape (reviews,);
    probabilities are of positive. Each row has the `coverage`, the lowest `confidence` within it,
    and the accuracy as a `share`.
    """
    confidence, right = confidence_and_right(labels, probabilities)
    order = np.argsort(-confidence, kind="stable")
    rows = []
    for coverage in COVERAGES:
        kept = order[: max(1, round(coverage * len(order)))]
        rows.append({"coverage": coverage, "confidence": float(confidence[kept[-1]]),
                     **share(int(right[kept].sum()), len(kept))})  # fmt: skip
    return rows


def least_confidence(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """The lowest confidence from which on predictions reach the TARGET; None where none does."""
    confidence, right = confidence_and_right(labels, probabilities)
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(accuracy >= TARGET)
    enough = enough[enough >= LEAST - 1]
    return float(confidence[order[enough[-1]]]) if len(enough) else None


def kept_at(labels: np.ndarray, probabilities: np.ndarray, least: float) -> dict:
    """The `coverage` of predictions with at least this confidence, and their accuracy."""
    confidence, right = confidence_and_right(labels, probabilities)
    kept = confidence >= least
    if not kept.any():
        return {"coverage": 0.0, "reviews": 0}
    return {"coverage": float(kept.mean()), **share(int(right[kept].sum()), int(kept.sum()))}


def select(
    run: Run, reviews: Reviews, validation: np.ndarray, test: np.ndarray, baseline: np.ndarray
) -> dict:
    """The curves of both models on the test, and a confidence that validation chose.

    `validation` and `test` are the model's probabilities of positive there, `baseline` those of the
    baseline on the test. Saved as `results/selective.json`.
    """
    known, labels = (part["label"].to_numpy() for part in (reviews.validation, reviews.test))
    least = least_confidence(known, validation)
    result = {
        **reviews.provenance,
        "model_sha256": run.load("predictions")["model_sha256"],
        "curves": {
            "fine-tuned": accuracy_by_coverage(labels, test),
            "TF-IDF": accuracy_by_coverage(labels, baseline),
        },
        "target": TARGET,
        "confidence": least,
        "validation": None if least is None else kept_at(known, validation, least),
        "test": None if least is None else kept_at(labels, test, least),
    }
    run.save("selective", result)
    return result
