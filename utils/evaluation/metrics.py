"""The four metrics with their intervals, and tests of one model against another."""

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata
from sklearn.metrics import confusion_matrix, roc_auc_score

from utils.formatting import said

RESAMPLES = 10_000
# Of the counts of a confusion matrix; precision, recall and F1 are those of the positive class.
METRICS = {
    "accuracy": lambda tn, fp, fn, tp: (tp + tn) / (tn + fp + fn + tp),
    "precision": lambda tn, fp, fn, tp: tp / (tp + fp),
    "recall": lambda tn, fp, fn, tp: tp / (tp + fn),
    "f1": lambda tn, fp, fn, tp: 2 * tp / (2 * tp + fp + fn),
}


def metrics(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Each metric of confusion matrices, shape (..., 2, 2), true classes in rows: shape (...).

    Where one is not defined, as precision where nothing is predicted positive, it is 0.
    """
    cells = np.moveaxis(np.asarray(counts, dtype=float).reshape(*np.shape(counts)[:-2], 4), -1, 0)
    with np.errstate(invalid="ignore"):
        return {name: np.nan_to_num(formula(*cells)) for name, formula in METRICS.items()}


def counts_of(labels: np.ndarray, probabilities: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """The confusion matrix, shape (2, 2): rows are the true classes, negative first."""
    return confusion_matrix(labels, np.asarray(probabilities) >= threshold, labels=[0, 1])


def accuracy(labels: np.ndarray, probabilities: np.ndarray, threshold: float = 0.5) -> float:
    """The share of labels that are predicted."""
    return float(np.mean((np.asarray(probabilities) >= threshold) == np.asarray(labels)))


def intervals(counts: np.ndarray, seed: int = 0) -> dict[str, list[float]]:
    """95% bootstrap intervals of the metrics from a confusion matrix of shape (2, 2).

    The percentile bootstrap of Efron (1979). The metrics depend on the four counts alone, so
    drawing the counts from a multinomial is the same as drawing reviews with replacement.
    """
    total = counts.sum()
    draws = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, RESAMPLES)
    return {
        name: [float(x) for x in np.percentile(values, [2.5, 97.5])]
        for name, values in metrics(draws.reshape(-1, 2, 2)).items()
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
    counts = counts_of(labels, probabilities, threshold)
    bounds = intervals(counts)
    return {
        "reviews": len(labels),
        "metrics": {
            name: {"value": float(value), "interval": bounds[name]}
            for name, value in metrics(counts).items()
        },
        "roc_auc": float(roc_auc_score(labels, probabilities)),
        "roc_auc_interval": auc_interval(labels, probabilities),
        "confusion": counts.tolist(),
    }


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


def table(columns: dict[str, dict]) -> pd.DataFrame:
    """The four metrics of some reports, a column each, as `value [interval]`."""
    rows = {
        name: {column: said(found["metrics"][name], ".3f") for column, found in columns.items()}
        for name in METRICS
    }
    return pd.DataFrame.from_dict(rows, orient="index")
