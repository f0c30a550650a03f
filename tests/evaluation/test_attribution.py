"""How much each word weighs, for the model and for the baseline, and which are removed."""

import pandas as pd
import pytest
import torch

from utils.evaluation.attribution import FEW_STEPS, Word, explain, without_words
from utils.hardware import device
from utils.inference.classifier import Classifier
from utils.modeling.backbones import build_model, load_backbone
from utils.modeling.baseline import fit_baseline, word_weights
from utils.text import tokenize


@pytest.fixture(scope="module")
def exact(tiny_bert):
    """A model in float64."""
    if device().type == "mps":
        pytest.skip("Apple GPUs have no float64")
    backbone = load_backbone(str(tiny_bert))
    return Classifier(build_model(backbone, seed=0).double(), backbone.tokenizer, torch.float64)


def gain_of(model, ids: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits[:, 1] - logits[:, 0]


def ids_of(classifier, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The token ids of a text, and of a review of as much padding, of shape (1, tokens)."""
    ids = torch.tensor(tokenize(classifier.tokenizer, [text]).ids, device=device())
    empty = torch.full_like(ids, classifier.tokenizer.pad_token_id)
    empty[:, [0, -1]] = ids[:, [0, -1]]
    return ids, empty


def test_the_weights_add_up_to_what_the_text_gains_over_an_empty_one(exact):
    text = "great film, dull. " * 20
    prediction, words, error = explain(exact, text)
    ids, empty = ids_of(exact, text)
    with torch.no_grad():
        gain = (gain_of(exact.model, ids) - gain_of(exact.model, empty)).item()
    assert sum(word.weight for word in words) == pytest.approx(gain, rel=1e-3)
    assert error < 1e-3
    assert prediction.score == pytest.approx(exact.predict([text])[0].score, abs=1e-6)


def test_a_words_weight_is_that_of_its_tokens_by_captum(exact):
    captum = pytest.importorskip("captum.attr", reason="the extra test")
    layer = exact.model.get_input_embeddings()
    theirs = captum.LayerIntegratedGradients(lambda ids: gain_of(exact.model, ids), layer)
    ids, empty = ids_of(exact, "great film, dull")
    expected = theirs.attribute(ids, empty, n_steps=FEW_STEPS).sum(-1)[0]
    _, words, _ = explain(exact, "great film, dull", FEW_STEPS)
    for word, tokens in zip(words, ([1], [2, 3], [4]), strict=True):  # the comma is a token
        assert word.weight == pytest.approx(expected[tokens].sum().item(), rel=1e-6)


def test_a_word_weighs_what_the_baseline_gives_it_whatever_its_case_or_marks():
    texts = ["great fine film", "great plot here", "awful dull film", "awful plot here"] * 3
    baseline = fit_baseline(pd.DataFrame({"text": texts, "label": [1, 1, 0, 0] * 3}), 10)
    words = ["GREAT,", "awful!", "film", "zebra", "great-awful"]
    great, awful, film, unknown, both = word_weights(baseline, words)
    assert great > 0.5 > 0.1 > abs(film)
    assert awful < -0.5
    assert unknown == 0
    assert abs(both - (great + awful)) < 1e-9


def test_the_strongest_words_of_one_side_go_and_those_that_were_not_read_stay():
    words = [Word("a", 0.1), Word("b", 2.0), Word("c", None), Word("d", -3.0), Word("e", 1.0)]
    weights = [0.1, 2.0, 9.0, -3.0, 1.0]
    assert without_words(words, weights, 1, 2) == "a c d"
    assert without_words(words, weights, -1, 1) == "a b c e"
    assert without_words(words, weights, 1, 10) == "c"
