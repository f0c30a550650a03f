"""Predicting, exporting, and predicting from the exported folder."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from utils import InputError
from utils.backbone import build_model, load_backbone
from utils.export import export_model
from utils.inference import BATCH_TOKENS, Classifier, batches_by_length
from utils.results import sha256
from utils.settings import ROOT
from utils.text import tokenize

TEXTS = ["great film.", "the dull story " * 300, "a poor, weak plot!"]
TRAINED = {
    "dataset": "made-up",
    "backbone": "tiny",
    "fingerprint": "0" * 16,
    "recipe": {},
    "reviews_sha256": "1" * 64,
    "training_sha256": "2" * 64,
}


@pytest.fixture(scope="module")
def classifier(tiny_bert):
    backbone = load_backbone(str(tiny_bert))
    return Classifier(build_model(backbone, seed=0), backbone.tokenizer)


@pytest.fixture(scope="module")
def folder(classifier, tmp_path_factory):
    return export_model(classifier, TRAINED, tmp_path_factory.mktemp("export") / "model")


def run_script(name, *arguments, stdin=""):
    command = [sys.executable, ROOT / "scripts" / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, input=stdin)


def test_predictions_are_the_models_one_by_one_in_the_given_order(classifier):
    expected = []
    for ids in tokenize(classifier.tokenizer, TEXTS).ids:
        with torch.no_grad():
            expected.append(classifier.model(torch.tensor([ids])).logits.softmax(-1)[0, 1].item())
    assert np.allclose(classifier.probabilities(TEXTS), expected, atol=1e-6)


def test_a_prediction_says_label_score_and_whether_it_was_shortened(classifier):
    predictions = classifier.predict(TEXTS)
    assert [p.truncated for p in predictions] == [False, True, False]
    for p, positive in zip(predictions, classifier.probabilities(TEXTS), strict=True):
        assert p.label == ("POSITIVE" if positive >= 0.5 else "NEGATIVE")
        assert p.score == pytest.approx(max(positive, 1 - positive))


def test_no_texts_give_no_predictions(classifier):
    assert classifier.predict([]) == []


def test_batches_hold_each_row_once_within_the_budget():
    lengths = np.random.default_rng(0).integers(2, 513, 500)
    ids = [[0] * length for length in lengths]
    batches = list(batches_by_length(ids))
    assert sorted(row for batch in batches for row in batch) == list(range(500))
    assert all(len(b) * max(lengths[b]) <= BATCH_TOKENS for b in batches)


def test_an_exported_folder_predicts_the_same_in_a_fresh_process(classifier, folder):
    out = run_script("model-inference.py", "--model", folder, *TEXTS)
    found = [json.loads(line) for line in out.stdout.splitlines()]
    for line, p in zip(found, classifier.predict(TEXTS), strict=True):
        assert (line["label"], line["truncated"]) == (p.label, p.truncated)
        assert line["score"] == pytest.approx(p.score, abs=1e-6)


def test_reviews_can_come_from_standard_input(folder):
    out = run_script("model-inference.py", "--model", folder, stdin="great film\n\nweak plot\n")
    assert len(out.stdout.splitlines()) == 2


def test_the_manifest_lists_every_other_file(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    others = {path.name: sha256(path) for path in folder.iterdir() if path.name != "manifest.json"}
    assert manifest["sha256"] == others
    assert {"model.safetensors", "config.json", "tokenizer.json", "requirements.txt"} <= set(others)


def test_the_requirements_are_pinned_and_for_inference_only(folder):
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert {"torch", "transformers"} <= {line.split("==")[0] for line in lines}
    assert not {"jupyterlab", "scikit-learn"} & {line.split("==")[0] for line in lines}


def test_the_zip_holds_the_folder(folder):
    names = zipfile.ZipFile(folder.with_name("model.zip")).namelist()
    assert {f"model/{path.name}" for path in folder.iterdir()} <= set(names)


def test_an_export_replaces_the_one_before_and_leaves_nothing_else(classifier, folder):
    (folder / "stray.txt").write_text("from before")
    export_model(classifier, TRAINED, folder)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model", "model.zip"]
    assert not (folder / "stray.txt").exists()


def test_a_folder_that_is_no_export_is_not_replaced(classifier, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="no exported model: choose another"):
        export_model(classifier, TRAINED, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_full_disk_keeps_the_export_before(classifier, folder, monkeypatch):
    before = sha256(folder / "manifest.json")

    def fail(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(classifier.model, "save_pretrained", fail)
    with pytest.raises(InputError, match="No space left on device"):
        export_model(classifier, TRAINED, folder)
    assert sha256(folder / "manifest.json") == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model", "model.zip"]


def test_scripts_name_what_is_wrong_without_a_trace(tmp_path):
    for arguments in (
        ("model-inference.py", "--model", tmp_path, "good"),
        ("model-export.py", "--run", "no-such-run"),
    ):
        out = run_script(*arguments)
        assert out.returncode != 0
        assert out.stderr.startswith("error: ")
        assert "Traceback" not in out.stderr


@pytest.mark.parametrize("name", ["train", "model-export", "model-inference", "run_notebooks"])
def test_help_shows_an_example(name):
    assert "Example" in run_script(f"{name}.py", "--help").stdout
