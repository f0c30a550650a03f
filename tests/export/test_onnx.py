"""The ONNX copies of an exported model."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from conftest import TRAINED

from utils import InputError
from utils.export.folder import export_model
from utils.export.onnx import check, export_onnx, onnx_probabilities
from utils.export.parity import in_fp32
from utils.inference.classifier import Classifier
from utils.manifest import check_manifest
from utils.modeling.backbones import build_model, load_backbone
from utils.modeling.model import fold_head
from utils.results import Run

TEXTS = ["great film.", "the dull story " * 300, "a poor, weak plot!"]
pytestmark = pytest.mark.slow


def test_onnx_predicts_as_torch_and_a_wrong_file_is_refused(tiny_bert, tmp_path):
    backbone = load_backbone(str(tiny_bert))
    classifier = Classifier(build_model(backbone, seed=0), backbone.tokenizer)
    run = Run(tmp_path / "made-up-tiny")
    folder = export_model(run, classifier, TRAINED, tmp_path / "model")
    frame = pd.DataFrame({"text": TEXTS, "label": [1, 0, 0]})
    result = export_onnx(run, classifier, TRAINED, frame, folder)

    onnx = tmp_path / "model-onnx"
    check_manifest(onnx)
    ours = in_fp32(classifier).probabilities(TEXTS)
    found = onnx_probabilities(onnx / "model.onnx", classifier.tokenizer, TEXTS)
    assert np.allclose(found, ours, rtol=0, atol=1e-5)
    session = onnxruntime.InferenceSession(onnx / "model.onnx")
    for batch, length in ((1, 5), (3, 64), (8, 512)):
        ids = np.full((batch, length), 9)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        assert session.run(None, feed)[0].shape == (batch, 2)

    eight = onnx_probabilities(onnx / "model_int8.onnx", classifier.tokenizer, TEXTS)
    assert 0 < np.abs(eight - ours).max() < 0.05
    assert result["int8"]["label_flips"] == int(((eight >= 0.5) != (ours >= 0.5)).sum())
    assert json.loads((run.folder / "results" / "onnx.json").read_text()) == result

    other = fold_head(build_model(backbone, seed=1))
    with pytest.raises(InputError, match=r"model\.onnx differs from torch by"):
        check(other, onnx / "model.onnx")
