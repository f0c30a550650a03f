"""The four metrics with their intervals, and the test's predictions, made once for each model."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from utils.data import Reviews
from utils.hardware import versions
from utils.inference import Classifier
from utils.results import Run

METRICS = ["accuracy", "precision", "recall", "f1"]
RESAMPLES = 10_000


def metrics(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float = 0.5
) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 of the positive class."""
    predicted = np.asarray(probabilities) >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, average="binary", zero_division=0
    )
    accuracy = np.mean(predicted == labels)
    values = (accuracy, precision, recall, f1)
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def intervals(counts: np.ndarray, seed: int = 0) -> dict[str, list[float]]:
    """95% bootstrap intervals of the four metrics from a confusion matrix of shape (2, 2).

    The percentile bootstrap of Efron (1979). The metrics depend on the four counts alone, so
    drawing the counts from a multinomial is the same as drawing reviews with replacement.
    """
    total = counts.sum()
    draws = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, RESAMPLES)
    tn, fp, fn, tp = draws.T
    with np.errstate(invalid="ignore"):
        values = (tp + tn) / total, tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn)
    return {
        name: [float(x) for x in np.percentile(np.nan_to_num(value), [2.5, 97.5])]
        for name, value in zip(METRICS, values, strict=True)
    }


def share(hits: int, total: int) -> dict:
    """A share with its count and its 95% interval (Wilson, 1927)."""
    low, high = binomtest(hits, total).proportion_ci(method="wilson")
    return {"reviews": total, "share": hits / total, "interval": [float(low), float(high)]}


def hits(found: dict) -> int:
    """How many a `share` counts."""
    return round(found["share"] * found["reviews"])


def auc_interval(labels: np.ndarray, probabilities: np.ndarray) -> list[float]:
    """The 95% interval of the area under the ROC curve (DeLong et al., 1988)."""
    labels, ranks = np.asarray(labels), rankdata(probabilities)
    parts = []
    for label in (0, 1):
        own = rankdata(np.asarray(probabilities)[labels == label])
        # For each review of a class: the share of the other class that ranks below it.
        parts.append((ranks[labels == label] - own) / (labels != label).sum())
    error = np.sqrt(sum(np.var(part, ddof=1) / len(part) for part in parts if len(part) > 1))
    area = parts[1].mean()
    return [float(max(0, area - 1.96 * error)), float(min(1, area + 1.96 * error))]


def report(labels: np.ndarray, probabilities: np.ndarray, threshold: float = 0.5) -> dict:
    """All that a result says of one model on some reviews."""
    # Rows are the true classes, columns the predicted, negative first.
    counts = confusion_matrix(labels, np.asarray(probabilities) >= threshold, labels=[0, 1])
    found, bounds = metrics(labels, probabilities, threshold), intervals(counts)
    return {
        "reviews": len(labels),
        "metrics": {name: {"value": found[name], "interval": bounds[name]} for name in METRICS},
        "roc_auc": float(roc_auc_score(labels, probabilities)),
        "roc_auc_interval": auc_interval(labels, probabilities),
        "confusion": counts.tolist(),
    }


def said(found: dict, form: str = ".1%") -> str:
    """A `share`, or a `value`, with its interval, as text; each number as `form` says."""
    value = found["share"] if "share" in found else found["value"]
    value, low, high = (format(number, form) for number in (value, *found["interval"]))
    return f"{value} [{low}, {high}]"


def points(gain: dict) -> str:
    """A difference of accuracies, in percentage points, with its interval, as text."""
    value, low, high = (f"{100 * number:+.1f}" for number in (gain["value"], *gain["interval"]))
    return f"{value} [{low}, {high}]"


def paired_interval(gain: float, differ: int, total: int) -> list[float]:
    """The 95% interval of the difference between two models' accuracies on the same reviews.

    `differ` is on how many of all the reviews exactly one of the two is right.
    """
    half = 1.96 * np.sqrt(differ - total * gain**2) / total
    return [gain - half, gain + half]


def mcnemar(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """McNemar's exact test (1947) on the reviews that only one of two models labels rightly.

    `gain` is the difference in accuracy, with the 95% interval of paired answers.
    """
    right = (np.asarray(ours) >= 0.5) == labels
    other = (np.asarray(theirs) >= 0.5) == labels
    only_ours, only_theirs = int((right & ~other).sum()), int((other & ~right).sum())
    differ, total = only_ours + only_theirs, len(right)
    p_value = float(binomtest(only_ours, differ).pvalue) if differ else 1.0
    gain = (only_ours - only_theirs) / total
    return {
        "only_ours": only_ours, "only_theirs": only_theirs, "p_value": p_value,
        "gain": gain, "gain_interval": paired_interval(gain, differ, total),
    }  # fmt: skip


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


def table(columns: dict[str, dict]) -> pd.DataFrame:
    """The four metrics of some reports, a column each, as `value [interval]`."""
    rows = {
        name: {column: said(found["metrics"][name], ".3f") for column, found in columns.items()}
        for name in METRICS
    }
    return pd.DataFrame.from_dict(rows, orient="index")
