"""Metrics, intervals, and predictions made once."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

from utils.data.reviews import Reviews
from utils.evaluation.metrics import (
    accuracy,
    auc_interval,
    counts_of,
    intervals,
    mcnemar,
    metrics,
    report,
)
from utils.evaluation.predictions import evaluate, predict_test, worst_errors
from utils.results import Run

# The originals' matrix on 300 reviews: accuracy 0.89, precision 0.846, recall 0.953, F1 0.897.
COUNTS = np.array([[124, 26], [7, 143]])
LABELS = np.repeat([0, 0, 1, 1], COUNTS.ravel())
PROBABILITIES = np.repeat([0.1, 0.9, 0.2, 0.8], COUNTS.ravel())


def reviews_of(labels, duplicate=None) -> Reviews:
    test = pd.DataFrame({"text": [f"review {i}" for i in range(len(labels))], "label": labels})
    test["duplicate"] = False if duplicate is None else duplicate
    return Reviews("made-up", "made-up", "", test, test, test, {}, "r", "s", test, [])


def test_the_four_metrics():
    assert (counts_of(LABELS, PROBABILITIES) == COUNTS).all()
    found = metrics(COUNTS)
    assert {name: round(float(value), 3) for name, value in found.items()} == {
        "accuracy": 0.89,
        "precision": 0.846,
        "recall": 0.953,
        "f1": 0.897,
    }
    assert report(LABELS, PROBABILITIES)["confusion"] == COUNTS.tolist()


def test_the_metrics_are_scikit_learns():
    predicted = PROBABILITIES >= 0.5
    precision, recall, f1, _ = precision_recall_fscore_support(LABELS, predicted, average="binary")
    expected = [accuracy_score(LABELS, predicted), precision, recall, f1]
    assert list(metrics(COUNTS).values()) == pytest.approx(expected)
    assert accuracy(LABELS, PROBABILITIES) == pytest.approx(expected[0])


def test_intervals_agree_with_resampling_the_reviews():
    draw = np.random.default_rng(1)
    values = [
        list(metrics(counts_of(LABELS[rows], PROBABILITIES[rows])).values())
        for rows in draw.integers(0, len(LABELS), (1500, len(LABELS)))
    ]
    slow = np.percentile(values, [2.5, 97.5], axis=0).T
    fast = np.array(list(intervals(COUNTS).values()))
    assert np.abs(fast - slow).max() < 0.012
    assert (fast[:, 0] < fast[:, 1]).all()


def test_a_model_that_never_says_positive_has_no_precision_but_a_report():
    found = report(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4]))
    assert found["metrics"]["precision"]["value"] == 0
    assert found["metrics"]["accuracy"]["value"] == 0.5


def test_mcnemar_counts_only_where_the_models_differ():
    labels = np.ones(30, dtype=int)
    ours = np.r_[np.ones(25), np.zeros(5)]
    theirs = np.r_[np.ones(10), np.zeros(15), np.ones(5)]
    found = mcnemar(labels, ours, theirs)
    assert (found["only_ours"], found["only_theirs"]) == (15, 5)
    assert found["p_value"] == pytest.approx(0.0414, abs=1e-4)  # two-sided binomial, 15 of 20
    assert mcnemar(labels, ours, ours)["p_value"] == 1
    # The gain is the mean of 15 times +1, 5 times -1 and 10 times 0.
    each = np.r_[np.zeros(10), np.ones(15), -np.ones(5)]
    half = 1.96 * each.std() / np.sqrt(30)
    assert found["gain"] == pytest.approx(1 / 3)
    assert found["gain_interval"] == pytest.approx([1 / 3 - half, 1 / 3 + half])


def test_the_interval_of_the_roc_area_is_that_of_resampled_reviews():
    random = np.random.default_rng(0)
    labels = random.integers(2, size=600)
    scores = labels + random.normal(size=600)
    drawn = []
    for _ in range(600):
        rows = random.integers(600, size=600)
        drawn.append(roc_auc_score(labels[rows], scores[rows]))
    expected = np.percentile(drawn, [2.5, 97.5])
    assert auc_interval(labels, scores) == pytest.approx(expected, abs=0.006)


class Counting:
    """A classifier that counts how often it is asked."""

    asked = 0

    def probabilities(self, texts, progress):
        self.asked += 1
        return np.full(len(texts), 0.75)


def test_the_test_is_predicted_once_for_a_model(tmp_path):
    run, reviews, classifier = Run(tmp_path / "run"), reviews_of([0, 1]), Counting()
    first = predict_test(run, reviews, classifier, {"model_sha256": "a"})
    again = predict_test(run, reviews, classifier, {"model_sha256": "a"})
    assert classifier.asked == 1
    assert first.tolist() == again.tolist() == [0.75, 0.75]
    predict_test(run, reviews, classifier, {"model_sha256": "b"})
    assert classifier.asked == 2


def test_the_score_without_duplicates_stands_beside_the_main_one(tmp_path):
    run, reviews = Run(tmp_path / "run"), reviews_of([0, 1, 1, 1], [False, False, False, True])
    probabilities = np.array([0.2, 0.9, 0.8, 0.1])
    baseline = {"report": {}, "probabilities": [0.5] * 4}
    run.save("predictions", {"minutes": 0})
    trained = {"model_sha256": "a", "recipe": {"seed": 0}}
    result = evaluate(run, reviews, probabilities, trained, baseline)
    assert result["model"]["metrics"]["accuracy"]["value"] == 0.75
    assert result["without_duplicates"]["metrics"]["accuracy"]["value"] == 1
    assert run.load("evaluation") == result


def test_worst_errors_come_first_and_right_answers_not_at_all():
    reviews, probabilities = reviews_of([0, 1, 1, 0]), np.array([0.6, 0.01, 0.9, 0.995])
    found = worst_errors(reviews, probabilities, 10)
    assert found["text"].tolist() == ["review 3", "review 1", "review 0"]
    # As many of either class, however much surer the model is of one.
    found = worst_errors(reviews, probabilities, 1)
    assert found["text"].tolist() == ["review 3", "review 1"]


def test_worst_errors_show_a_repeated_review_once():
    reviews = reviews_of([0, 0, 0])
    reviews.test.loc[1, "text"] = "review 0"
    found = worst_errors(reviews, np.array([0.99, 0.99, 0.6]), 2)
    assert found["text"].tolist() == ["review 0", "review 2"]
