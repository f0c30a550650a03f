"""OpenVINO's copy in int8: what is written, what it loses, and when it is not kept."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from utils import InputError
from utils.export.openvino import add_openvino
from utils.files import sha256
from utils.inference import classifier as classifiers
from utils.inference.classifier import Classifier
from utils.inference.runtimes import OPENVINO
from utils.manifest import NAME, check_manifest

pytest.importorskip("nncf")
pytestmark = pytest.mark.slow
TEXTS = ["great film.", "the dull story " * 300, "a poor, weak plot!"]


@pytest.fixture
def folder(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_gets_a_model_in_int8_that_labels_as_it_does(
    folder, exported, reviews, monkeypatch, on_cpu
):
    from utils.export.openvino import add_openvino

    found = add_openvino(folder, reviews)
    assert found["reviews"] == len(reviews.validation)
    assert found["label_flips"] <= 2
    assert set(found["calibration_error"]) == {"fp32", "int8"}
    manifest = check_manifest(folder)
    assert manifest["openvino"] == json.loads(json.dumps(found))
    assert sha256(folder / "model.safetensors") == sha256(exported / "model.safetensors")
    monkeypatch.setattr(classifiers, "multiplies_int8", lambda: True)
    classifier = Classifier.from_folder(folder)
    assert classifier.runtime.name == "OpenVINO, int8"
    exact = Classifier.from_folder(exported, "torch").probabilities(TEXTS)
    assert np.allclose(classifier.probabilities(TEXTS), exact, atol=0.1)
    # Attention's own products are not quantised, and overflow nowhere.
    assert "ScaledDotProductAttention" in (folder / OPENVINO).read_text(encoding="utf-8")
    assert add_openvino(folder, reviews) == found  # in the place of what was there


def test_one_that_labels_significantly_worse_is_not_kept(folder, reviews, monkeypatch, on_cpu):
    from utils.export import openvino

    class Wrong:
        """A runtime that gives the model's logits with the wrong sign."""

        name, precision = "wrong", "int8"

        def __init__(self, path):
            self.right = Classifier.from_folder(folder, "torch").runtime

        def logits(self, ids, mask):
            return -self.right.logits(ids, mask)

    ours = Classifier.from_folder(folder, "torch").predict(reviews.validation["text"])
    labels = [int(one.label == "POSITIVE") for one in ours]
    reviews = replace(reviews, validation=reviews.validation.assign(label=labels))
    before = (folder / NAME).read_bytes()
    monkeypatch.setattr(openvino, "OpenVINO", Wrong)
    with pytest.raises(InputError, match=r"significantly more of them are wrong"):
        openvino.add_openvino(folder, reviews)
    assert (folder / NAME).read_bytes() == before
    assert not (folder / OPENVINO).exists()


def test_a_clones_own_files_are_not_lost(exported, tmp_path):
    copy = tmp_path / "clone"
    shutil.copytree(exported, copy)
    (copy / ".git").mkdir()
    with pytest.raises(InputError, match=r"also holds \.git"):
        add_openvino(copy, None)
    assert (copy / ".git").exists()
