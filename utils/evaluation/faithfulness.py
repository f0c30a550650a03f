"""Do attributions name the words that matter? What a model predicts once they are removed."""

import numpy as np
from sklearn.pipeline import Pipeline

from utils.data.reviews import Reviews
from utils.evaluation.attribution import FEW_STEPS, STEPS, explain, without_words
from utils.evaluation.metrics import mcnemar, share
from utils.evaluation.predictions import worst_errors
from utils.inference.classifier import Classifier
from utils.modeling.baseline import word_weights
from utils.results import Run

EXPLAINED = 100  # test reviews whose words are removed
SHOWN = 3  # right and wrong ones that are shown
REMOVED = (1, 3, 5, 10)  # words
REMOVERS = ("strongest", "with few steps", "TF-IDF", "random")  # whose words


def explanations(
    run: Run, reviews: Reviews, classifier: Classifier, baseline: Pipeline, trained: dict
) -> dict:
    """Words with their weights for some reviews, and what removing the strongest words does."""
    saved = run.load("predictions", split_sha256=reviews.split_sha256,
                     model_sha256=trained["model_sha256"])  # fmt: skip
    probabilities = np.array(saved["probabilities"])
    labels = reviews.test["label"].to_numpy()
    short = reviews.test["text"].str.split().str.len().between(40, 120).to_numpy()
    right = ((probabilities >= 0.5) == labels) & short
    shown = np.random.default_rng(0).permutation(np.flatnonzero(right))[:SHOWN].tolist()
    wrong = worst_errors(reviews, probabilities, len(labels)).index
    shown += [int(row) for row in wrong if short[row]][:SHOWN]  # of either class, the worst
    cases = []
    for row in shown:
        _, words, error = explain(classifier, reviews.test["text"].iloc[row])
        cases.append({
            "row": row,  # of the test
            "label": int(labels[row]),
            "probability_positive": float(probabilities[row]),
            "completeness_error": error,
            "weights": [word.weight and round(word.weight, 4) for word in words],
        })  # fmt: skip

    drawn = np.random.default_rng(1).permutation(len(labels))[:EXPLAINED]
    errors = {STEPS: [], FEW_STEPS: []}
    edited = {count: {name: [] for name in REMOVERS} for count in REMOVED}
    for number, row in enumerate(drawn):
        found = {}
        for steps, so_far in errors.items():
            _, words, error = explain(classifier, reviews.test["text"].iloc[row], steps)
            found[steps] = [word.weight or 0.0 for word in words]
            so_far.append(error)
        push = 1 if probabilities[row] >= 0.5 else -1
        weights = {
            "strongest": found[STEPS],
            "with few steps": found[FEW_STEPS],
            "TF-IDF": word_weights(baseline, [word.text for word in words]),
            "random": np.random.default_rng(number).random(len(words)).tolist(),
        }
        for count, texts in edited.items():
            for name, part in texts.items():
                part.append(without_words(words, weights[name], push, count))
        if (number + 1) % 10 == 0:
            print(f"{number + 1} of {EXPLAINED} reviews explained", flush=True)
    answers = probabilities[drawn] >= 0.5
    flips = {}
    for count, by_name in edited.items():
        changed = {
            name: (classifier.probabilities(texts, empty=True) >= 0.5) != answers
            for name, texts in by_name.items()
        }
        flips[str(count)] = {
            name: share(int(rows.sum()), len(rows)) for name, rows in changed.items()
        }
    of_most = [changed[name].astype(float) for name in ("strongest", "TF-IDF")]  # words removed
    return {
        "cases": cases,
        "completeness_error": {
            str(steps): {"median": float(np.median(so_far)),
                         "p95": float(np.percentile(so_far, 95))}
            for steps, so_far in errors.items()
        },
        "flipped_without_words": flips,
        "mcnemar": mcnemar(np.ones(len(drawn), dtype=int), *of_most),
    }  # fmt: skip
