"""Runtimes: the same logits from each, and which one is taken, and why."""

import json
import shutil
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch

from utils import InputError
from utils.inference import classifier as classifiers
from utils.inference.classifier import Classifier
from utils.inference.runtimes import OPENVINO, OpenVINO, Torch, converted
from utils.manifest import NAME, write_manifest

TEXTS = ["great film.", "the dull story " * 300, "a poor, weak plot!"]


@pytest.fixture(scope="module")
def with_openvino(exported, tmp_path_factory) -> Path:
    """An exported folder with openvino/, in fp32, whose head has another bias: it can be told."""
    folder = tmp_path_factory.mktemp("openvino") / "model"
    shutil.copytree(exported, folder)
    model = Classifier.from_folder(exported, "torch").model
    with torch.no_grad():
        model.classifier.bias += torch.tensor([0.0, 1.0], device=model.device)
    openvino.save_model(converted(model.cpu()), folder / OPENVINO, compress_to_fp16=False)
    about = json.loads((folder / NAME).read_text(encoding="utf-8"))
    del about["sha256"]
    write_manifest(folder, about)
    return folder


@pytest.fixture
def int8(monkeypatch):
    """A processor that multiplies int8 natively."""
    monkeypatch.setattr(classifiers, "multiplies_int8", lambda: True)


@pytest.mark.parametrize(("texts", "tokens"), [(1, 16), (3, 48), (2, 512)])
def test_logits_are_the_models_for_all_shapes_and_paddings(exported, texts, tokens):
    model = Classifier.from_folder(exported, "torch").model.cpu()
    ids = np.random.default_rng(0).integers(5, model.config.vocab_size, (texts, tokens))
    mask = np.ones_like(ids)
    mask[-1, tokens // 2 :] = 0
    with torch.no_grad():
        expected = model(torch.from_numpy(ids), torch.from_numpy(mask)).logits.numpy()
    found = OpenVINO(model).logits(ids, mask)
    tolerance = 1e-5 if OpenVINO(model).precision == "fp32" else 0.05
    assert np.allclose(found, expected, atol=tolerance)
    if not torch.cuda.is_available():
        assert np.allclose(Torch(model, torch.float32).logits(ids, mask), expected, atol=1e-5)


def test_logits_stay_as_they_were_when_more_are_computed(exported):
    runtime = OpenVINO(Classifier.from_folder(exported, "torch").model.cpu())
    first = runtime.logits(np.full((1, 16), 5), np.ones((1, 16), dtype=int))
    before = first.copy()
    runtime.logits(np.full((1, 16), 9), np.ones((1, 16), dtype=int))
    assert np.array_equal(first, before)


def test_the_folders_own_file_is_used_where_int8_is_native(with_openvino, exported, int8, on_cpu):
    classifier = Classifier.from_folder(with_openvino)
    assert classifier.runtime.name == "OpenVINO, int8"
    exact = Classifier.from_folder(exported, "torch").probabilities(TEXTS)
    odds = classifier.probabilities(TEXTS) / (1 - classifier.probabilities(TEXTS))
    assert np.allclose(odds, np.e * exact / (1 - exact), rtol=0.05)
    # The model in torch, which explanations need, is loaded once it is asked for.
    assert callable(classifier._model)
    assert not isinstance(classifier._model, torch.nn.Module)
    assert isinstance(classifier.model, torch.nn.Module)
    assert classifier.model is classifier.model


def test_elsewhere_the_weights_are_converted(with_openvino, exported, monkeypatch, on_cpu):
    monkeypatch.setattr(classifiers, "multiplies_int8", lambda: False)
    classifier = Classifier.from_folder(with_openvino)
    assert classifier.runtime.name == f"OpenVINO, {classifier.runtime.precision}"
    assert classifier.runtime.precision in ("fp32", "bf16")
    assert "it has no instructions for int8" in classifier.why
    exact = Classifier.from_folder(exported, "torch").probabilities(TEXTS)
    assert np.allclose(classifier.probabilities(TEXTS), exact, atol=0.01)


def test_a_folder_without_openvino_is_computed_by_torch_and_says_why(exported, on_cpu):
    classifier = Classifier.from_folder(exported)
    assert classifier.runtime.name.startswith("torch")
    assert classifier.why == "the folder has no openvino/"
    with pytest.raises(InputError, match="cannot be used, since the folder has no openvino/"):
        Classifier.from_folder(exported, "openvino")


def test_without_the_package_torch_computes_and_says_why(with_openvino, monkeypatch, on_cpu):
    monkeypatch.setattr("utils.inference.runtimes.find_spec", lambda name: None)
    classifier = Classifier.from_folder(with_openvino)
    assert classifier.runtime.name.startswith("torch")
    assert classifier.why == "the package openvino is not installed"


def test_on_a_gpu_torch_computes(with_openvino, monkeypatch):
    monkeypatch.setattr("utils.inference.runtimes.device", lambda: torch.device("cuda"))
    assert Classifier.from_folder(with_openvino).why == "the model is on a GPU"


def test_torch_can_be_asked_for_and_what_is_unknown_is_refused(with_openvino):
    assert Classifier.from_folder(with_openvino, "torch").runtime.name.startswith("torch")
    with pytest.raises(InputError, match="'onnx' is none of auto, openvino, torch"):
        Classifier.from_folder(with_openvino, "onnx")


@pytest.mark.parametrize("damage", [
    lambda file: file.write_bytes(file.read_bytes()[:-9]),
    lambda file: file.unlink(),
], ids=["cut", "missing"])  # fmt: skip
@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_damaged_or_missing_openvino_is_refused(with_openvino, tmp_path, damage, suffix):
    """A download that failed is to be noticed, not answered by another runtime."""
    shutil.copytree(with_openvino, tmp_path / "model")
    damage((tmp_path / "model" / OPENVINO).with_suffix(suffix))
    with pytest.raises(InputError, match=r"openvino_model.*(not the file|missing)"):
        Classifier.from_folder(tmp_path / "model")


def test_another_model_than_of_token_ids_is_refused(with_openvino, tmp_path, int8, on_cpu):
    folder = tmp_path / "model"
    shutil.copytree(with_openvino, folder)
    model = openvino.Core().read_model(folder / OPENVINO)
    model.inputs[0].set_names({"pixels"})
    (folder / OPENVINO).unlink()
    (folder / OPENVINO).with_suffix(".bin").unlink()
    openvino.save_model(model, folder / OPENVINO)
    write_manifest(folder, {})
    with pytest.raises(InputError, match="takes other inputs than token ids"):
        Classifier.from_folder(folder)
