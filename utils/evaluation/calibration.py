"""Is a confidence of 90% right nine times in ten? Temperature, calibration error, threshold."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from utils.data.reviews import Reviews
from utils.evaluation.metrics import accuracy, mcnemar, report, share
from utils.results import Run

BINS = 15
RESAMPLES = 1000
REFITS = 200  # of the temperature
BOUNDS = (0.05, 20.0)  # of the temperature


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature that makes the labels most likely (Guo et al., 2017).

    Both are of shape (reviews,), of reviews that the model was not trained on. Where there are too
    few to tell, since all answers are right, or none better than chance, it is 1.
    """
    logits = _logits(probabilities)
    of_label = np.where(labels, logits, -logits)
    found = minimize_scalar(  # the mean negative log-likelihood
        lambda power: np.logaddexp(0, -of_label / np.exp(power)).mean(),
        bounds=np.log(BOUNDS),
        method="bounded",
    )
    temperature = float(np.exp(found.x))
    return temperature if 1.1 * BOUNDS[0] < temperature < BOUNDS[1] / 1.1 else 1.0


def with_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities of positive with their logits divided by the temperature."""
    return expit(_logits(probabilities) / temperature)


def _logits(probabilities: np.ndarray) -> np.ndarray:
    # Saved probabilities have six digits: a 1 is anything from 0.9999995 on.
    return logit(np.clip(probabilities, 5e-7, 1 - 5e-7))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[dict]:
    """Bins of equal width of the answer's probability, 0.5 to 1: its mean, and the share right.

    Empty bins are left out.
    """
    sure, right = confidence_and_right(labels, probabilities)
    bins = bins_of(sure)
    return [
        {
            "probability": float(sure[bins == number].mean()),
            **share(int(right[bins == number].sum()), int((bins == number).sum())),
        }
        for number in np.unique(bins)
    ]


def calibration_error(
    labels: np.ndarray,
    probabilities: np.ndarray,
    temperature: float = 1.0,
    refitted: Sequence[float] | None = None,
) -> dict:
    """The expected calibration error over those bins (Guo et al., 2017), and what chance gives.

    The interval is of drawing the reviews anew and, with `refitted`, of fitting the `temperature`
    anew, too: they are temperatures of other draws of the reviews that it was fitted on. Even
    honest probabilities have an error above zero, the more so the fewer reviews there are:
    `by_chance` is the 95% range where answers are right exactly as often as they promise. Drawing
    anew adds as much again, so the interval of an error that is hardly above that lies too high.
    """
    refitted = [temperature] if refitted is None else refitted
    random, total = np.random.default_rng(0), len(labels)
    sure, right = confidence_and_right(labels, with_temperature(probabilities, temperature))
    by_chance = [_error(sure, random.random(total) < sure) for _ in range(RESAMPLES)]
    drawn = []
    for number in range(RESAMPLES):
        again = with_temperature(probabilities, refitted[number % len(refitted)])
        times = np.bincount(random.integers(total, size=total), minlength=total)
        drawn.append(_error(*confidence_and_right(labels, again), times))
    return {
        "value": _error(sure, right),
        "interval": np.percentile(drawn, [2.5, 97.5]).tolist(),
        "by_chance": np.percentile(by_chance, [2.5, 97.5]).tolist(),
    }


def _error(sure: np.ndarray, right: np.ndarray, times: np.ndarray | float = 1.0) -> float:
    """The mean over reviews of their bin's gap; each counts as many `times`."""
    gaps = np.bincount(bins_of(sure), weights=times * (sure - right), minlength=BINS)
    return float(np.abs(gaps).sum() / len(sure))


def near(labels: np.ndarray, probabilities: np.ndarray, low: float, high: float) -> dict:
    """Of the answers given with `low` to `high`: how sure they are in the mean, how many right."""
    sure, right = confidence_and_right(labels, probabilities)
    inside = (sure >= low) & (sure < high)
    if not inside.any():
        return {"reviews": 0}
    found = share(int(right[inside].sum()), int(inside.sum()))
    return {"sure": float(sure[inside].mean()), **found}


def refit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Temperatures fitted on other draws of the reviews, as many as `REFITS` (bootstrap)."""
    random, found = np.random.default_rng(0), []
    for _ in range(REFITS):
        rows = random.integers(len(labels), size=len(labels))
        found.append(fit_temperature(labels[rows], probabilities[rows]))
    return np.array(found)


def best_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold with the highest accuracy; of several the one that is nearest to 0.5."""
    values = np.unique(np.concatenate([[0.0], probabilities, [1.0]]))
    candidates = np.append((values[1:] + values[:-1]) / 2, 0.5)
    accuracy = ((probabilities >= candidates[:, None]) == np.asarray(labels)).mean(1)
    best = candidates[accuracy == accuracy.max()]
    return float(best[np.abs(best - 0.5).argmin()])


def temperature_of(run: Run, trained: dict) -> float:
    """What the exported logits are divided by: calibrated on validation, else 1. No label moves."""
    found = run.find("calibration", model_sha256=trained["model_sha256"])
    return found["temperature"] if found else 1.0


def calibrate(run: Run, reviews: Reviews, validation: np.ndarray, test: np.ndarray) -> dict:
    """Temperature and threshold chosen on validation, and what they change on the test.

    `validation` and `test` are a model's probabilities there. Saved as `results/calibration.json`.
    """
    known, labels = (part["label"].to_numpy() for part in (reviews.validation, reviews.test))
    temperature, refitted = fit_temperature(known, validation), refit_temperature(known, validation)
    threshold = best_threshold(known, validation)
    kinds = {
        "before": with_temperature(test, 1.0),
        "after": with_temperature(test, temperature),
    }
    result = {
        **reviews.provenance,
        "model_sha256": run.load("training")["model_sha256"],
        "validation_reviews": len(known),
        "temperature": temperature,
        "temperature_interval": np.percentile(refitted, [2.5, 97.5]).tolist(),
        "threshold": threshold,
        "validation": {
            "at_0.5": accuracy(known, validation),
            "at_the_threshold": accuracy(known, validation, threshold),
            "log_loss": {
                "before": float(log_loss(known, with_temperature(validation, 1.0))),
                "after": float(log_loss(known, with_temperature(validation, temperature))),
            },
        },
        "at_the_threshold": report(labels, test, threshold),
        "against_0.5": mcnemar(labels, test >= threshold, test),
        "calibration_error": {
            "before": calibration_error(labels, test),
            "after": calibration_error(labels, test, temperature, refitted),
        },
        "near_90": {name: near(labels, p, 0.88, 0.92) for name, p in kinds.items()},
        "log_loss": {name: float(log_loss(labels, p)) for name, p in kinds.items()},
        "reliability": {name: reliability(labels, p) for name, p in kinds.items()},
    }
    run.save("calibration", result)
    return result


def confidence_and_right(labels, probabilities) -> tuple[np.ndarray, np.ndarray]:
    """The probability of each predicted label, and whether it is right; both of (reviews,)."""
    positive = np.asarray(probabilities)
    return np.maximum(positive, 1 - positive), (positive >= 0.5) == np.asarray(labels)


def bins_of(sure: np.ndarray) -> np.ndarray:
    """The number of the bin, 0 to BINS - 1, of each answer's probability, 0.5 to 1."""
    return np.minimum(((sure - 0.5) * 2 * BINS).astype(int), BINS - 1)
