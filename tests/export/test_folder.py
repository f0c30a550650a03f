"""The exported folder: what is in it, what it predicts elsewhere, and what is refused."""

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TRAINED, run_script
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from scipy.special import logit
from transformers import AutoModelForSequenceClassification

from utils import InputError, manifest
from utils.evaluation.metrics import accuracy, report
from utils.export import parity
from utils.export.card import model_card
from utils.export.folder import export_model, inference_requirements, release_model
from utils.files import sha256
from utils.hardware import device
from utils.inference.classifier import Classifier
from utils.manifest import check_replaceable, write_manifest
from utils.modeling.backbones import build_model, load_backbone
from utils.paths import ROOT
from utils.results import Run

TEXTS = ["great film.", "the dull story " * 300, "a poor, weak plot!"]


@pytest.fixture(scope="module")
def classifier(tiny_bert):
    backbone = load_backbone(str(tiny_bert))
    return Classifier(build_model(backbone, seed=0), backbone.tokenizer)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("artifacts") / "made-up-tiny")


@pytest.fixture(scope="module")
def folder(classifier, run):
    return export_model(run, classifier, TRAINED, run.folder / "model")


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the exported folder that a test may damage."""
    return shutil.copytree(folder, tmp_path / "model")


ELSEWHERE = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
folder, texts = sys.argv[1], sys.argv[2:]
model, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
tokenizer = AutoTokenizer.from_pretrained(folder)
batch = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
one = tokenizer(texts[:1], truncation=True, return_tensors="pt")
with torch.no_grad():
    logits = [model.eval()(**inputs).logits.tolist() for inputs in (batch, one)]
answers = pipeline("text-classification", folder)(texts, truncation=True)
print(json.dumps([logits, answers, [list(v) for v in report.values()], "utils" in sys.modules]))
"""


def test_without_this_repository_the_stock_classes_give_our_logits(classifier, folder, tmp_path):
    texts = ["great film.", "a poor, weak plot! " * 20]
    command = [sys.executable, "-I", "-c", ELSEWHERE, folder, *texts]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    logits, answers, problems, ours_imported = json.loads(out.stdout)
    inputs = classifier.tokenizer(texts, padding=True, return_tensors="pt").to(device())
    with torch.no_grad():
        expected = classifier.model(inputs["input_ids"], inputs["attention_mask"]).logits.tolist()
    assert np.allclose(logits[0], expected, rtol=0, atol=1e-5)
    assert np.allclose(logits[1], expected[:1], rtol=0, atol=1e-5)
    assert [a["label"] for a in answers] == [p.label for p in classifier.predict(texts)]
    assert not any(problems)
    assert not ours_imported


def test_an_exported_folder_predicts_the_same_in_a_fresh_process(classifier, folder):
    out = run_script("model-inference.py", "--model", folder, *TEXTS)
    found = [json.loads(line) for line in out.stdout.splitlines()]
    for line, p in zip(found, classifier.predict(TEXTS), strict=True):
        assert (line["label"], line["truncated"]) == (p.label, p.truncated)
        assert line["score"] == pytest.approx(p.score, abs=1e-6)


def test_reviews_can_come_from_standard_input(folder):
    """A blank line keeps its place, so that answers stay beside their lines."""
    out = run_script("model-inference.py", "--model", folder, stdin="great film\n\nweak\rplot\n")
    labels = [json.loads(line)["label"] for line in out.stdout.splitlines()]
    assert [label is None for label in labels] == [False, True, False]
    assert "text 2 has no label: it is empty" in out.stderr


def test_the_manifest_lists_every_other_file(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    others = {path.name: sha256(path) for path in folder.iterdir() if path.name != "manifest.json"}
    assert manifest["sha256"] == others
    wanted = {"model.safetensors", "config.json", "tokenizer.json", "requirements.txt", "README.md"}
    assert wanted <= set(others)


def test_what_a_tokenizer_did_before_is_not_exported_with_it(run, classifier, folder, tmp_path):
    """A call that truncates leaves that setting in it, where raw `tokenizers` would obey it."""
    classifier.tokenizer(TEXTS, truncation=True, max_length=7, padding="max_length")
    again = export_model(run, classifier, TRAINED, tmp_path / "model")
    saved = json.loads((again / "tokenizer.json").read_text())
    assert saved["truncation"] is saved["padding"] is None
    assert sha256(again / "tokenizer.json") == sha256(folder / "tokenizer.json")


def test_the_requirements_are_pinned_and_for_inference_only(folder):
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert lines == inference_requirements().splitlines()
    assert {"torch", "transformers"} <= {line.split("==")[0] for line in lines}
    assert not {"jupyterlab", "scikit-learn"} & {line.split("==")[0] for line in lines}


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name",
    [
        *("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"),
        *("README.md", "requirements.txt"),
    ],
)
def test_one_changed_byte_in_any_file_is_refused_by_name(copy, name):
    Classifier.from_folder(copy)
    damage(copy / name)
    with pytest.raises(InputError, match=f"{name} is not the file that manifest.json lists"):
        Classifier.from_folder(copy)


def test_a_missing_a_strange_and_a_pointer_file_are_refused_by_name(copy):
    (copy / "custom_code.py").write_text("print('hello')")
    with pytest.raises(InputError, match=r"custom_code.py is not listed in manifest.json"):
        Classifier.from_folder(copy)
    (copy / "custom_code.py").unlink()
    (copy / ".gitattributes").write_text("as a clone of the Hub has")
    Classifier.from_folder(copy)
    (copy / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"model.safetensors is a Git LFS pointer"):
        Classifier.from_folder(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model.safetensors is missing"):
        Classifier.from_folder(copy)


def test_a_damaged_manifest_is_refused(copy):
    (copy / "manifest.json").write_text('{"sha256": ')
    with pytest.raises(InputError, match=r"manifest.json is damaged"):
        Classifier.from_folder(copy)


@pytest.mark.parametrize(
    "content", ['{"sha256": ' + '{"a":' * 100_000, "[" * 100_000, " " * 1_000_001 + "{}",
                '{"sha256": [[1, 2]]}', "[]", "\x00", None],
)  # fmt: skip
def test_an_odd_manifest_is_damaged_and_never_replaced(run, classifier, copy, content):
    """It may be nested deeply, too large, of other types, or a link to what never ends."""
    path = copy / "manifest.json"
    path.unlink()
    if content is None:
        path.symlink_to("/dev/zero")
    else:
        path.write_text(content)
    with pytest.raises(InputError, match=r"manifest.json is damaged"):
        Classifier.from_folder(copy)
    with pytest.raises(InputError, match="is no exported model"):
        export_model(run, classifier, TRAINED, copy)


def test_a_manifest_may_be_a_link_to_a_file_as_in_the_cache_of_the_hub(copy, tmp_path):
    path = (copy / "manifest.json").rename(tmp_path / "blob")
    (copy / "manifest.json").symlink_to(path)
    Classifier.from_folder(copy)


def test_the_script_exits_1_and_names_a_changed_file(copy):
    damage(copy / "config.json")
    out = run_script("model-inference.py", "--model", copy, "good")
    assert out.returncode == 1
    assert "config.json is not the file" in out.stderr
    assert "Traceback" not in out.stderr


def test_a_card_without_results_says_so(folder):
    card = ModelCard.load(folder / "README.md")
    assert "Not measured for these weights" in card.text
    assert card.data.eval_results is None


def test_the_card_of_a_student_says_what_it_learnt_from(tmp_path):
    run = Run(tmp_path / "run")
    alone = model_card(run, TRAINED | {"history": ["Fine-tuning on the labels."]}, "model", False)
    assert "unlabelled reviews" not in alone
    steps = ["Pretraining.", "Distillation. The teacher is larger."]
    card = model_card(run, TRAINED | {"history": steps}, "model", half=False)
    assert "1. Pretraining.\n2. Distillation. The teacher is larger.\n\nAdamW" in card
    assert "It was also trained on unlabelled reviews" in card


def test_the_card_has_the_measured_metrics_and_what_a_bare_pipeline_loses(classifier, tmp_path):
    run = Run(tmp_path / "made-up-tiny")
    frame = pd.DataFrame({"raw": ["great<br />film", "dull " * 600, "weak plot", "a fine end"]})
    frame = frame.assign(text=frame["raw"].str.replace("<br />", " "), label=[1, 0, 0, 1])
    measured = parity.measure(run, classifier, TRAINED, frame)
    found = report(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.7]))
    run.save("evaluation", {"model_sha256": "3" * 64, "model": found, "baseline": found})
    card = ModelCard.load(export_model(run, classifier, TRAINED, tmp_path / "model") / "README.md")
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values == {"accuracy": 0.75, "precision": 0.6667, "recall": 1.0, "f1": 0.8}
    assert f"accuracy {measured['pipeline']['accuracy']:.1%} instead of" in card.text
    other = export_model(run, classifier, TRAINED | {"model_sha256": "4"}, tmp_path / "other")
    assert "Not measured for these weights" in (other / "README.md").read_text()


def test_agreement_is_measured_anew_where_the_temperature_is_another(classifier, tmp_path):
    run, frame = Run(tmp_path), pd.DataFrame({"text": TEXTS, "raw": TEXTS, "label": [1, 0, 0]})
    first = parity.measure(run, classifier, TRAINED, frame)
    assert parity.measure(run, None, TRAINED, None) == first  # read back
    about = {"model_sha256": TRAINED["model_sha256"]}
    interval = {"value": 0.1, "interval": [0.0, 0.2], "by_chance": [0.0, 0.2]}
    run.save("calibration", about | {
        "temperature": 0.05, "temperature_interval": [0.05, 2.0], "validation_reviews": 3,
        "calibration_error": {"before": interval, "after": interval},
    })  # fmt: skip
    not_measured = "what that changes was not measured"
    assert not_measured in model_card(run, TRAINED, "model", half=True)
    second = parity.measure(run, classifier, TRAINED, frame)
    assert second["temperature"] == 0.05
    assert second["fp16"]["largest_difference"] != first["fp16"]["largest_difference"]
    assert parity.measure(run, None, TRAINED, None) == second
    assert not_measured not in model_card(run, TRAINED, "model", half=True)


def test_agreement_counts_flips_and_measures_the_bare_pipeline(classifier, tmp_path):
    ours, theirs = np.array([0.9, 0.4, 0.2, 0.6]), np.array([0.8, 0.6, 0.2, 0.4])
    found = parity.agreement(np.array([1, 0, 0, 1]), ours, theirs)
    assert found["label_flips"] == 2
    assert found["largest_difference"] == pytest.approx(0.2)
    assert (found["our_accuracy"], found["accuracy"]) == (1.0, 0.5)
    assert (found["mcnemar"]["only_ours"], found["mcnemar"]["only_theirs"]) == (2, 0)
    texts = [
        "great film",
        "weak " * 300 + "plot " * 300,
    ]  # the second one is too long for a pipeline
    frame = pd.DataFrame({"raw": texts, "text": texts, "label": [1, 0]})
    result = parity.measure(Run(tmp_path), classifier, TRAINED, frame)
    cut = classifier.tokenizer(texts, truncation=True, max_length=512)["input_ids"]
    with torch.no_grad():
        logits = [classifier.model(torch.tensor([ids], device=device())).logits for ids in cut]
    bare = [found.softmax(-1)[0, 1].item() for found in logits]
    gap = np.abs(np.array(bare) - parity.in_fp32(classifier).probabilities(texts))
    assert gap[0] < 1e-6 < gap[1]
    assert result["pipeline"]["largest_difference"] == pytest.approx(gap[1], abs=1e-6)
    expected = accuracy(frame["label"].to_numpy(), np.array(bare))
    assert result["pipeline"]["accuracy"] == expected
    assert result["pipeline"]["flips_where_cut"] == result["pipeline"]["label_flips"]


def test_a_release_is_stored_in_half_and_computed_in_fp32(run, classifier, folder, tmp_path):
    released = release_model(run, classifier, TRAINED, tmp_path / "released")
    size = (released / "model.safetensors").stat().st_size
    assert size < 0.6 * (folder / "model.safetensors").stat().st_size
    assert not released.with_name("released.zip").exists()
    assert AutoModelForSequenceClassification.from_pretrained(released).dtype == torch.float32
    loaded = Classifier.from_folder(released)
    assert np.allclose(loaded.probabilities(TEXTS), classifier.probabilities(TEXTS), atol=1e-2)


@pytest.mark.parametrize("export", [export_model, release_model])
def test_the_temperature_of_calibration_is_in_the_weights(classifier, tmp_path, export):
    run, error = Run(tmp_path / "run"), {"value": 0.1, "interval": [0.1, 0.1], "by_chance": [0, 0]}
    calibration = {
        "model_sha256": TRAINED["model_sha256"], "temperature": 2.5, "validation_reviews": 10,
        "temperature_interval": [2, 3], "calibration_error": {"before": error, "after": error},
    }  # fmt: skip
    run.save("calibration", calibration)
    made = Classifier.from_folder(export(run, classifier, TRAINED, tmp_path / "model"))
    before, after = (logit(parity.in_fp32(one).probabilities(TEXTS)) for one in (classifier, made))
    assert 2.5 * after == pytest.approx(before, rel=0.02, abs=0.002)


def test_the_zip_holds_the_folder(folder):
    names = zipfile.ZipFile(folder.with_name("model.zip")).namelist()
    assert {f"model/{path.name}" for path in folder.iterdir()} <= set(names)


def test_an_export_replaces_the_one_before_and_leaves_nothing_else(run, classifier, folder):
    before = (folder / "model.safetensors").stat().st_mtime_ns
    export_model(run, classifier, TRAINED, folder)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model", "model.zip"]
    assert (folder / "model.safetensors").stat().st_mtime_ns > before


def test_a_folder_that_is_no_export_is_not_replaced(run, classifier, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="no exported model: choose another"):
        export_model(run, classifier, TRAINED, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_zip_of_someone_elses_is_not_replaced(run, classifier, tmp_path):
    (tmp_path / "model").mkdir()  # empty, or written by something else: it says nothing of the zip
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("thesis.txt", "years of work")
    before = (tmp_path / "model.zip").read_bytes()
    with pytest.raises(InputError, match="exists and is not this export's"):
        export_model(run, classifier, TRAINED, tmp_path / "model")
    assert (tmp_path / "model.zip").read_bytes() == before


def test_the_folder_one_stands_in_is_not_replaced(run, classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the folder you are in"):
        export_model(run, classifier, TRAINED, Path("."))
    assert tmp_path.exists()


def test_a_full_disk_keeps_the_export_before(run, classifier, folder, monkeypatch):
    before = sha256(folder / "manifest.json")

    def fail(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(classifier.tokenizer, "save_pretrained", fail)
    with pytest.raises(InputError, match="No space left on device"):
        export_model(run, classifier, TRAINED, folder)
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


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "scripts").glob("*.py")))
def test_help_shows_an_example(name):
    found = run_script(name, "--help")
    assert found.returncode == 0, found.stderr
    assert "Example" in found.stdout


@pytest.mark.parametrize("kept", [".git/config", "notes.txt", "old.bin"])
def test_an_export_with_something_else_in_it_is_not_replaced(run, classifier, copy, kept):
    (copy / kept).parent.mkdir(exist_ok=True)
    (copy / kept).write_text("from before")
    with pytest.raises(InputError, match="which would be lost: choose another"):
        export_model(run, classifier, TRAINED, copy)
    assert (copy / kept).read_text() == "from before"


def test_what_file_managers_and_jupyter_leave_does_not_keep_an_export_from_its_place(
    run, classifier, copy
):
    (copy / ".DS_Store").write_bytes(b"Bud1")
    (copy / ".ipynb_checkpoints").mkdir()
    (copy / ".ipynb_checkpoints" / "README-checkpoint.md").write_text("")
    export_model(run, classifier, TRAINED, copy)
    assert not (copy / ".DS_Store").exists()


def test_a_folder_with_another_manifest_and_a_zip_are_not_replaced(run, classifier, tmp_path):
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_text('{"manifest_version": 3}')
    with pytest.raises(InputError, match="no exported model: choose another"):
        export_model(run, classifier, TRAINED, tmp_path / "extension")
    (tmp_path / "thesis.zip").write_text("from before")
    with pytest.raises(InputError, match=r"thesis.zip exists"):
        export_model(run, classifier, TRAINED, tmp_path / "thesis")
    assert (tmp_path / "thesis.zip").read_text() == "from before"
    assert not (tmp_path / "thesis").exists()


def test_a_folder_without_torch_weights_says_so(copy):
    (copy / "model.safetensors").unlink()
    write_manifest(copy, {})
    with pytest.raises(InputError, match="holds no torch weights"):
        Classifier.from_folder(copy)


def test_the_name_of_a_file_is_no_review(folder, tmp_path):
    (tmp_path / "reviews.csv").write_text("text\ngreat\n")
    out = run_script("model-inference.py", "--model", folder, tmp_path / "reviews.csv")
    assert (out.returncode, out.stdout) == (1, "")
    assert "reviews.csv is a file, no review: give it with --input" in out.stderr


def test_arguments_that_cannot_be_read_have_no_label(folder):
    out = run_script("model-inference.py", "--model", folder, b"caf\xe9")
    assert (out.returncode, out.stdout) == (1, "")
    assert "Traceback" not in out.stderr
    out = run_script("model-inference.py", "--model", folder, "great", " ", b"caf\xe9")
    assert "text 2 has no label: it is empty" in out.stderr
    assert "text 3 has no label: its encoding is broken, not UTF-8" in out.stderr
    labels = [json.loads(line)["label"] is None for line in out.stdout.splitlines()]
    assert labels == [False, True, True]


def test_a_text_is_labelled_where_standard_input_is_closed(folder):
    script = ROOT / "scripts" / "model-inference.py"
    command = [sys.executable, script, "--model", folder, "a great film"]
    line = f"{shlex.join(map(str, command))} <&-"
    out = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout)["label"] in ("POSITIVE", "NEGATIVE")


@pytest.mark.parametrize(
    ("given", "said"),
    [(["--engine", "ray"], "for a folder"), (["--text-column", "body"], "column")],
)
def test_what_texts_have_no_use_for_is_refused(folder, given, said):
    out = run_script("model-inference.py", "--model", folder, *given, "a great film")
    assert out.returncode == 2
    assert said in out.stderr.splitlines()[-1]


# A folder that fits its manifest, and not itself: transformers would fill it up in silence.


def _with_config(**changes):
    def change(folder):
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8")) | changes
        path.write_text(json.dumps(config), encoding="utf-8")

    return change


def _with_weights(edit):
    def change(folder):
        weights = load_file(folder / "model.safetensors")
        edit(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def _without_head(weights):
    del weights["classifier.weight"]


def _with_an_adapter(weights):
    weights["base_model.lora_A.weight"] = torch.zeros(2, 2)


def _with_nan(weights):
    weights["classifier.bias"][0] = float("nan")


def _without_sep(folder):
    path = folder / "tokenizer.json"
    found = path.read_text(encoding="utf-8").replace("[SEP]", "[SEQ]")
    path.write_text(found, encoding="utf-8")


FLIPPED = {"id2label": {"0": "POSITIVE", "1": "NEGATIVE"},
           "label2id": {"POSITIVE": 0, "NEGATIVE": 1}}  # fmt: skip
UNFIT = {
    "no head": (_with_weights(_without_head), "classifier.weight should have the shape"),
    "an adapter's weights": (_with_weights(_with_an_adapter), "lora_A.weight should have the sh"),
    "NaN": (_with_weights(_with_nan), "classifier.bias holds NaN"),
    "fewer layers": (_with_config(n_layers=1), "has 2 layers, and its config.json 1"),
    "endless layers": (_with_config(n_layers=10**9), "has 2 layers"),
    "a wide config": (_with_config(dim=4096, n_heads=4), "should have the shape"),
    "labels in another order": (_with_config(**FLIPPED), "its classes are"),
    "three labels": (_with_config(id2label={"0": "A", "1": "B", "2": "C"}), "its classes are"),
    "128 positions": (_with_config(max_position_embeddings=128), "reads 128 tokens, not 512"),
    "a key to other weights": (
        _with_config(transformers_weights="../other.safetensors"), "'transformers_weights'",
    ),
    "a kernel of the Hub": (
        _with_config(_attn_implementation="kernels/flash"), "'_attn_implementation'",
    ),
    "tuples for answers": (_with_config(return_dict=False), "return_dict=False"),
    "code": (_with_config(auto_map={"AutoModel": "code.Model"}), "auto_map"),
    "another model": (_with_config(model_type="gpt2"), "gpt2"),
    "no [SEP]": (_without_sep, r"\[SEP\]"),
    "weights that are none": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "cannot be loaded",
    ),
    "a file of its own": (
        lambda folder: (folder / "adapter_config.json").write_text("{}", encoding="utf-8"),
        "adapter_config.json is no file of an exported model",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_a_folder_that_does_not_fit_itself_is_refused(exported, tmp_path, name):
    change, why = UNFIT[name]
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    change(folder)
    write_manifest(folder, {})
    with pytest.raises(InputError, match=why):
        Classifier.from_folder(folder)


def test_what_is_loaded_is_what_was_checked_whoever_changes_it_meanwhile(
    exported, tmp_path, monkeypatch
):
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    check = manifest._check
    expected = sha256(exported / "model.safetensors")

    def swap_after(file, shown, expected):
        check(file, shown, expected)
        if shown.name == "model.safetensors":
            shown.write_bytes(b"other weights")

    monkeypatch.setattr(manifest, "_check", swap_after)
    found = Classifier.from_folder(folder)
    assert found.manifest["sha256"]["model.safetensors"] == expected
    assert found.predict("great film")


def test_an_export_whose_writer_was_killed_comes_back(exported, tmp_path):
    shutil.copytree(exported, tmp_path / f".model.{'0' * 16}.old")
    assert Classifier.from_folder(tmp_path / "model").predict("great film")


def test_a_copy_that_finds_no_room_is_a_sentence(exported, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(InputError, match=r"No space left.*TMPDIR"):
        Classifier.from_folder(exported)


def test_a_hidden_file_in_a_subfolder_is_not_lost(exported, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(exported, copy)
    (copy / "sub").mkdir()
    (copy / "sub" / ".mine").touch()
    with pytest.raises(InputError, match=r"also holds sub/\.mine"):
        check_replaceable(copy)


def test_what_is_no_review_is_not_labelled_as_one(folder):
    out = run_script("model-inference.py", "--model", folder, "reviwes.csv")
    assert "reviwes.csv is named like a file, and does not exist" in out.stderr
    out = run_script("model-inference.py", "--model", folder, stdin='id,"text"\n1,"great"\n')
    assert "standard input begins as a table does" in out.stderr
