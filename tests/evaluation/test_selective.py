"""Selective prediction and the error browser."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from utils.evaluation import error_browser
from utils.evaluation.selective import accuracy_by_coverage, kept_at, least_confidence

LABELS = np.array([1] * 60 + [0] * 40)
# The 60 most confident predictions are right, of the others none.
PROBABILITIES = np.concatenate([np.linspace(0.99, 0.9, 60), np.linspace(0.8, 0.6, 40)])


def test_accuracy_falls_from_the_most_confident_reviews_to_all():
    rows = {row["coverage"]: row for row in accuracy_by_coverage(LABELS, PROBABILITIES)}
    assert rows[0.5]["share"] == 1
    assert rows[1.0]["share"] == pytest.approx(0.6)
    assert rows[1.0]["reviews"] == 100
    assert rows[0.6]["confidence"] == pytest.approx(0.9)


def test_the_chosen_confidence_reaches_the_target_with_as_many_reviews_as_it_can():
    least = least_confidence(LABELS, PROBABILITIES)
    kept = kept_at(LABELS, PROBABILITIES, least)
    assert kept["share"] >= 0.95
    assert kept["reviews"] == 63  # the next one would be the fourth error in 64
    assert kept["coverage"] == pytest.approx(0.63)


def test_where_no_confidence_reaches_the_target_none_is_chosen():
    assert least_confidence(1 - LABELS, PROBABILITIES) is None


def test_the_error_browser_holds_reviews_as_data_that_no_markup_ends():
    text = "</script><script>alert(1)</script> ROWS"
    rows = [{"truth": "positive", "predicted": "negative", "confidence": 0.9, "stars": None,
             "tokens": 7, "text": text}]  # fmt: skip
    page = error_browser.page(rows)
    held = re.search(r'<script type="application/json" id="reviews">(.*?)</script>', page, re.S)
    assert json.loads(held[1]) == rows
    assert "alert(1)</script>" not in page


def test_the_error_browser_has_every_error_and_as_many_correct_predictions():
    test = pd.DataFrame({"text": [f"review {n}" for n in range(100)], "label": LABELS})
    tokens = SimpleNamespace(lengths=range(100))
    rows = error_browser.browsed(SimpleNamespace(test=test), PROBABILITIES, tokens)
    wrong = [row["truth"] != row["predicted"] for row in rows]
    assert sum(wrong) == 40
    assert len(rows) == 80
    confidence = [row["confidence"] for row in rows[:40]]
    assert confidence == sorted(confidence, reverse=True)
