"""What a run of the research, and the baseline beside it, get on the test."""

import hashlib

import numpy as np

from utils.agreement import measure
from utils.baseline import choose_baseline
from utils.calibration import calibrate
from utils.data import Reviews
from utils.evaluation import evaluate, predict_test, report, rounded
from utils.inference import Classifier
from utils.results import Run


def evaluate_baseline(reviews: Reviews) -> dict:
    """The baseline of notebook 02 with these labels, chosen on validation and scored."""
    model, by_strength = choose_baseline(reviews.train, reviews.validation)
    positive = rounded(model.predict_proba(reviews.test["text"])[:, 1])
    return {
        "C": max(by_strength, key=by_strength.get),
        "validation_accuracy": max(by_strength.values()),
        "report": report(reviews.test["label"].to_numpy(), positive),
        "probabilities": positive,
    }


def score_run(
    run: Run, reviews: Reviews, classifier: Classifier, validation: np.ndarray, baseline: dict
) -> dict:
    """The test's metrics, and where bf16 was computed what that changed on validation.

    `validation` are the probabilities of positive there, of shape (reviews,); `baseline` is that
    of `evaluate_baseline`. What a card says of the model is saved in its run, as the notebooks do
    for theirs.
    """
    trained = run.load("training")
    probabilities = predict_test(run, reviews, classifier, trained)
    found = evaluate(run, reviews, probabilities, trained, baseline)
    calibrate(run, reviews, validation, probabilities)
    copies = {}
    if classifier.model.config.model_type == "distilbert":  # the teacher is not exported
        copies = measure(run, classifier, trained, reviews.validation)
    return {
        "test": found["model"],
        "predicting_minutes": found["minutes"],
        "predictions_sha256": hashlib.sha256(probabilities.tobytes()).hexdigest(),
        **({"bf16": copies["bf16"]} if "bf16" in copies else {}),
    }
