"""What a run of the research, and the baseline beside it, get on the test."""

import hashlib

import numpy as np

from utils.data.reviews import Reviews
from utils.evaluation.calibration import calibrate
from utils.evaluation.metrics import report
from utils.evaluation.predictions import evaluate, predict_test, rounded
from utils.export.parity import measure
from utils.inference.classifier import Classifier
from utils.modeling.baseline import choose_baseline
from utils.results import Run


def evaluate_baseline(reviews: Reviews) -> dict:
    """The baseline of notebook 02 with these labels, chosen on validation and scored."""
    model, accuracy = choose_baseline(reviews.train, reviews.validation)
    positive = rounded(model.predict_proba(reviews.test["text"])[:, 1])
    return {
        "C": max(accuracy, key=accuracy.get),
        "validation_accuracy": max(accuracy.values()),
        "report": report(reviews.test["label"].to_numpy(), positive),
        "probabilities": positive,
    }


def score_run(
    run: Run, reviews: Reviews, classifier: Classifier, validation: np.ndarray, baseline: dict
) -> dict:
    """What the test shows of a model, and what running it in other ways changes on validation.

    `validation` are the probabilities of positive there, of shape (reviews,); `baseline` is that
    of `evaluate_baseline`. What a card says of the model is saved in its run, as the notebooks do
    for theirs.
    """
    trained = run.load("training")
    probabilities = predict_test(run, reviews, classifier, trained)
    found = evaluate(run, reviews, probabilities, trained, baseline)
    calibration = calibrate(run, reviews, validation, probabilities)
    kept = ("temperature", "temperature_interval", "calibration_error", "log_loss")
    copies = {}
    if classifier.model.config.model_type == "distilbert":  # the teacher is not exported
        copies = measure(run, classifier, trained, reviews.validation)
    return {
        "test": found["model"],
        "predicting_minutes": found["minutes"],
        "predictions_sha256": hashlib.sha256(probabilities.tobytes()).hexdigest(),
        "calibration": {name: calibration[name] for name in kept},
        **{name: copy for name, copy in copies.items() if isinstance(copy, dict)},
    }
