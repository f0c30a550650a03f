"""The test's predictions, made once for each model, and what they show."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from utils.data.reviews import Reviews
from utils.evaluation.metrics import mcnemar, report
from utils.hardware import versions
from utils.inference.classifier import Classifier
from utils.results import Run


def rounded(probabilities: np.ndarray) -> list[float]:
    """Probabilities as results keep them: six digits, which is what every figure is made from."""
    return [round(float(p), 6) for p in probabilities]


def predict_test(run: Run, reviews: Reviews, classifier: Classifier, trained: dict) -> np.ndarray:
    """The fine-tuned model's test probabilities: predicted once for a model, then read back."""
    saved = run.find(
        "predictions", model_sha256=trained["model_sha256"], split_sha256=reviews.split_sha256
    )
    if saved:
        print("This model's predictions on this test are saved: read, not made again.")
        return np.array(saved["probabilities"])
    started = time.perf_counter()
    texts = reviews.test["text"].tolist()
    probabilities = rounded(classifier.probabilities(texts, progress=True))
    result = {
        **reviews.provenance,
        "model_sha256": trained["model_sha256"],
        "minutes": round((time.perf_counter() - started) / 60, 2),
        "versions": versions(),
        "probabilities": probabilities,  # in the order of reviews.test
    }
    run.save("predictions", result)
    return np.array(probabilities)


def evaluate(
    run: Run, reviews: Reviews, probabilities: np.ndarray, trained: dict, baseline: dict
) -> dict:
    """The test's report beside that of the baseline's result, as `results/evaluation.json`."""
    labels = reviews.test["label"].to_numpy()
    distinct = ~reviews.test["duplicate"].to_numpy()
    result = {
        **reviews.provenance,
        "seed": trained["recipe"]["seed"],
        "model_sha256": trained["model_sha256"],
        "model": report(labels, probabilities),
        "without_duplicates": report(labels[distinct], probabilities[distinct]),
        "baseline": baseline["report"],
        "mcnemar": mcnemar(labels, probabilities, np.array(baseline["probabilities"])),
        "minutes": run.load("predictions")["minutes"],
        "versions": versions(),
    }
    run.save("evaluation", result)
    return result


def evaluate_elsewhere(
    other: Reviews, models: dict[str, Callable[[list[str]], np.ndarray]], known: set[str]
) -> dict:
    """Reports of two models on the test of other reviews, but for `known` texts, trained on."""
    test = other.test[~other.test["text"].isin(known)]
    labels, texts = test["label"].to_numpy(), test["text"].tolist()
    found = {name: np.array(rounded(predict(texts))) for name, predict in models.items()}
    return {
        "tested_on": other.provenance,
        "known_dropped": len(other.test) - len(test),
        "models": {name: report(labels, values) for name, values in found.items()},
        "mcnemar": mcnemar(labels, *found.values()),
    }


def worst_errors(reviews: Reviews, probabilities: np.ndarray, count: int) -> pd.DataFrame:
    """Of each class the `count` test reviews to which it got the lowest probability, worst first.

    Of each class, since a model may be surer of one than it ever is of the other. A text that the
    test repeats is there once.
    """
    label = reviews.test["label"]
    certainty = np.where(label == 1, 1 - probabilities, probabilities)
    worst = reviews.test.assign(probability_positive=probabilities, certainty=certainty)
    worst = worst[(probabilities >= 0.5) != label]
    worst = worst.sort_values("certainty", ascending=False, kind="stable").drop_duplicates("text")
    return worst.groupby("label").head(count)
