"""Predicting: in the given order, by length, and whether a text was shortened."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from datasets import Dataset

from utils import InputError
from utils.hardware import device
from utils.inference.classifier import BATCH_TOKENS, Classifier, batches_by_length
from utils.modeling.backbones import build_model, load_backbone
from utils.text import tokenize

TEXTS = ["great film.", "the dull story " * 300, "a poor, weak plot!"]


@pytest.fixture(scope="module")
def classifier(tiny_bert):
    backbone = load_backbone(str(tiny_bert))
    return Classifier(build_model(backbone, seed=0), backbone.tokenizer, torch.float32)


def test_a_model_predicts_in_fp16_as_in_fp32(classifier):
    """As on a GPU that has no bf16, but on the CPU: its answers are the same within rounding."""
    texts = ["a great film", "dull " * 300, "the plot was awful and this story lovely"]
    half = Classifier(classifier.model, classifier.tokenizer, torch.float16)
    whole = Classifier(classifier.model, classifier.tokenizer, torch.float32)
    assert half.runtime.name == "torch, fp16"
    assert half.probabilities(texts) == pytest.approx(whole.probabilities(texts), abs=0.01)


def test_predictions_are_the_models_one_by_one_in_the_given_order(classifier):
    expected = []
    for ids in tokenize(classifier.tokenizer, TEXTS).ids:
        with torch.no_grad():
            logits = classifier.model(torch.tensor([ids], device=device())).logits
            expected.append(logits.softmax(-1)[0, 1].item())
    assert np.allclose(classifier.probabilities(TEXTS), expected, atol=1e-6)


def test_a_prediction_says_label_score_and_whether_it_was_shortened(classifier):
    predictions = classifier.predict(TEXTS)
    assert [p.truncated for p in predictions] == [False, True, False]
    for p, positive in zip(predictions, classifier.probabilities(TEXTS), strict=True):
        assert p.label == ("POSITIVE" if positive >= 0.5 else "NEGATIVE")
        assert p.score == pytest.approx(max(positive, 1 - positive))


def test_in_bf16_the_model_stays_as_it_was_and_near_texts_are_not_tied(classifier):
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    half = Classifier(classifier.model, classifier.tokenizer, torch.bfloat16)
    texts = ["the " * count + "film" for count in range(100)]
    exact, found = classifier.probabilities(texts), half.probabilities(texts)
    assert 0 < np.abs(found - exact).max() < 0.01
    # a head in bf16 would give some ten different values here
    assert len(set(found)) > 60
    assert all(torch.equal(value, before[name]) for name, value in half.model.state_dict().items())


@pytest.mark.parametrize(
    "given",
    [
        pd.Series(TEXTS, index=[7, 8, 9]),
        pd.Series(TEXTS, dtype="category"),
        np.array(TEXTS),
        tuple(TEXTS),
        Dataset.from_dict({"text": TEXTS})["text"],
        pa.chunked_array([TEXTS]),
        pd.DataFrame({"text": TEXTS})["text"].items,
    ],
    ids=["series", "category", "array", "tuple", "column", "arrow", "generator"],
)
def test_texts_come_in_any_sequence(classifier, given):
    def texts():  # a generator gives them once
        return (text for _, text in given()) if callable(given) else given

    assert classifier.predict(texts()) == classifier.predict(TEXTS)
    assert np.array_equal(classifier.probabilities(texts()), classifier.probabilities(TEXTS))


def test_a_single_string_is_one_text(classifier):
    assert classifier.predict("great film.") == classifier.predict(["great film."])
    assert classifier.probabilities("great film.").shape == (1,)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["great", None], r"texts\[1\] is None, no text"),
        (pd.Series(["great", None, "dull"]), r"texts\[1\] is nan, no text"),
        (["great", 5], r"texts\[1\] is 5, no text"),
        ([b"great"], r"texts\[0\] is b'great', no text"),
        (["great", "\u200b"], r"texts\[1\] is empty"),
        ([""], r"texts\[0\] is empty"),
        (["caf\udce9"], r"texts\[0\] is not Unicode"),
        (b"great", "not a bytes"),
        (None, "not a NoneType"),
        (7, "not a int"),
        ({"text": "great"}, "not a dict"),
        ({"great", "dull"}, "not a set"),
        (pd.DataFrame({"text": ["great"]}), "not a DataFrame"),
    ],
)
def test_what_is_no_list_of_texts_is_named(classifier, given, why):
    for predict in (classifier.predict, classifier.probabilities):
        with pytest.raises(InputError, match=why):
            predict(given)


def test_texts_whose_words_were_removed_on_purpose_are_computed(classifier):
    assert classifier.probabilities(["", "great"], empty=True).shape == (2,)


def test_a_folder_may_be_named_by_a_string(exported):
    assert Classifier.from_folder(str(exported)).predict("great")


def test_no_texts_give_no_predictions(classifier):
    assert classifier.predict([]) == []


def test_batches_hold_each_row_once_within_the_budget():
    lengths = np.random.default_rng(0).integers(2, 513, 500)
    ids = [[0] * length for length in lengths]
    batches = list(batches_by_length(ids))
    assert sorted(row for batch in batches for row in batch) == list(range(500))
    assert all(len(b) * max(lengths[b]) <= BATCH_TOKENS for b in batches)


@pytest.mark.parametrize("given", [np.full((1, 2), np.nan, np.float32), np.ones((1, 1))])
def test_a_model_that_gives_no_numbers_labels_nothing(classifier, given):
    broken = Classifier(classifier.model, classifier.tokenizer, torch.float32)
    broken.runtime = SimpleNamespace(logits=lambda ids, mask: given)
    with pytest.raises(InputError, match="gives no finite numbers for 2 classes"):
        broken.predict("great")


def test_one_text_that_is_not_unicode_is_refused_as_in_a_list(classifier):
    for given in ("Tr\udce8s bien", ["Tr\udce8s bien"]):
        with pytest.raises(InputError, match="is not Unicode"):
            classifier.predict(given)
