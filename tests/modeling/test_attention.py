"""Attention in plain products: the same numbers as torch's kernel, and bf16 kept as bf16."""

import subprocess
import sys

import pytest
import torch
from transformers import DistilBertConfig, MPNetConfig, MPNetForSequenceClassification

from utils.modeling.attention import PRODUCTS, products
from utils.modeling.model import CustomHeadDistilBert

IDS = torch.randint(5, 40, (3, 17), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 17, [1] * 9 + [0] * 8, [1] * 2 + [0] * 15])


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=40, dim=32, hidden_dim=64, n_layers=2, n_heads=4)
    return CustomHeadDistilBert(config).eval()


@pytest.mark.parametrize("mask", [MASK, torch.ones_like(MASK)])
def test_logits_and_gradients_are_those_of_the_fused_kernel(model, mask):
    found = {}
    for name in ("sdpa", PRODUCTS):
        model.set_attn_implementation(name)
        model.zero_grad()
        logits = model(IDS, mask).logits
        logits[:, 0].sum().backward()
        query = model.distilbert.transformer.layer[0].attention.q_lin.weight.grad.clone()
        found[name] = logits.detach(), query
    for theirs, ours in zip(found["sdpa"], found[PRODUCTS], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_under_autocast_scores_stay_in_bf16():
    query = torch.randn(2, 4, 8, 16, dtype=torch.bfloat16)
    mask = torch.zeros(2, 1, 8, 8)  # fp32, as transformers makes it under autocast
    mixed, weights = products(torch.nn.Module(), query, query, query, mask)
    assert (mixed.dtype, weights.dtype) == (torch.bfloat16, torch.bfloat16)
    assert mixed.shape == (2, 8, 4, 16)
    assert weights.float().sum(-1) == pytest.approx(torch.ones(2, 4, 8), abs=0.02)


def test_attention_dropout_is_not_forgotten():
    torch.manual_seed(0)
    query = torch.randn(1, 1, 50, 16)
    _, weights = products(torch.nn.Module().train(), query, query, query, None, dropout=0.5)
    assert 0.4 < (weights == 0).float().mean() < 0.6
    _, weights = products(torch.nn.Module().eval(), query, query, query, None, dropout=0.5)
    assert (weights > 0).all()


def test_an_architecture_with_an_attention_of_its_own_takes_the_setting_too():
    config = MPNetConfig(vocab_size=40, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                         num_attention_heads=4)  # fmt: skip
    model = MPNetForSequenceClassification(config).eval()
    model.set_attn_implementation(PRODUCTS)
    assert model(IDS, MASK).logits.shape == (3, 2)


def test_under_autocast_gradients_are_near_those_of_fp32(model):
    """As near as with the fused kernel, within a few tenths."""
    found = {}
    for name, bf16 in (("sdpa", False), ("sdpa", True), (PRODUCTS, True)):
        model.set_attn_implementation(name)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(IDS, MASK, labels=torch.tensor([0, 1, 1])).loss
        loss.backward()
        found[name, bf16] = torch.cat([p.grad.flatten() for p in model.parameters()])
    exact = found.pop(("sdpa", False))
    theirs, ours = ((grad - exact).norm() / exact.norm() for grad in found.values())
    assert ours < 0.05
    assert ours < 1.5 * theirs


AVX512 = """
import sys
import torch
torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported = lambda: True, lambda: False
from utils.inference.classifier import Classifier
classifier = Classifier.from_folder(sys.argv[1], "torch")
print(classifier.runtime.computes.config._attn_implementation, classifier.predict("great")[0].label)
"""


def test_a_processor_with_avx512_bf16_predicts_in_a_process_that_imports_nothing_else(exported):
    """The choice once stood apart from what registers it, and only a test imported both."""
    command = [sys.executable, "-c", AVX512, exported]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.stdout.split()[:1] == [PRODUCTS], out.stderr
