"""The originals' pickled models: read without running them, written as a safe folder."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
)

from utils import InputError
from utils.agreement import in_fp32
from utils.backbone import load_backbone
from utils.export import write_model
from utils.inference import Classifier
from utils.legacy import legacy_model, read_legacy
from utils.manifest import check_manifest
from utils.model import unfold_head
from utils.results import sha256
from utils.service.api import create_app
from utils.service.engine import Engine
from utils.service.metrics import Metrics
from utils.settings import ROOT

IDS = torch.tensor([[2, 9, 12, 20, 25, 3]])
CONFIG = DistilBertConfig(vocab_size=37, dim=64, hidden_dim=96, n_layers=2, n_heads=4)


class Original(nn.Module):
    """A model class such as people pickle: a backbone, a dropout and a linear layer."""

    def __init__(self, config=CONFIG):
        super().__init__()
        self.model = DistilBertModel(config)
        self.dropouts = nn.Dropout(0.1)
        self.classifier = nn.Linear(config.dim, 2)

    def forward(self, ids):
        return self.classifier(self.model(ids).last_hidden_state[:, 0])


@pytest.fixture
def original():
    torch.manual_seed(0)
    return Original().eval()


@pytest.fixture
def pickled(original, tmp_path, monkeypatch) -> Path:
    """The whole model in a file, of a class that is then gone."""
    path = tmp_path / "finetuned_bert_model"
    torch.save(original, path)
    monkeypatch.delattr(sys.modules[Original.__module__], "Original")
    with pytest.raises(AttributeError):
        torch.load(path, weights_only=False)
    return path


def logits(model, ids=IDS):
    with torch.no_grad():
        return getattr(model(ids), "logits", None)


def convert(path: Path):
    return legacy_model(*read_legacy(path))


def test_a_whole_pickled_model_whose_class_is_gone_gives_the_same_logits(original, pickled):
    with torch.no_grad():
        expected = original(IDS)
    model = convert(pickled)
    assert torch.allclose(logits(model), expected, rtol=0, atol=1e-5)
    assert model.config.n_heads == 4  # from the pickled configuration; 64 / 64 would be 1
    assert model.config.id2label == {0: "NEGATIVE", 1: "POSITIVE"}
    assert torch.equal(unfold_head(model).head.weight, original.classifier.weight)


@pytest.mark.parametrize("prefix", ["model.", "bert.", "distilbert.", "module.model."])
def test_a_state_dict_by_any_of_the_originals_names(original, tmp_path, prefix):
    names = {
        (f"{prefix}{name.removeprefix('model.')}" if name.startswith("model.") else name): tensor
        for name, tensor in original.state_dict().items()
    }
    torch.save(names, tmp_path / "weights.bin")
    with torch.no_grad():
        expected = original(IDS)
    with pytest.raises(InputError, match="how many attention heads its 64 dimensions have"):
        convert(tmp_path / "weights.bin")
    model = legacy_model(*read_legacy(tmp_path / "weights.bin"), heads=4)
    assert torch.allclose(logits(model), expected, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="5 attention heads do not divide 64"):
        legacy_model(*read_legacy(tmp_path / "weights.bin"), heads=5)


def test_the_stock_class_of_two_layers_keeps_its_head(tmp_path):
    stock = DistilBertForSequenceClassification(CONFIG).eval()
    torch.save(stock, tmp_path / "model.pt")
    model = convert(tmp_path / "model.pt")
    assert torch.allclose(logits(model), logits(stock), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="not a folded linear layer"):
        unfold_head(model)


class Payload:
    """Runs a command when it is unpickled the usual way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_malicious_pickle_does_not_run(original, tmp_path):
    ran = tmp_path / "ran"
    original.payload = Payload(ran)
    torch.save(original, tmp_path / "model.pt")
    torch.save({"payload": Payload(ran), **original.state_dict()}, tmp_path / "state.pt")
    for name in ("model.pt", "state.pt"):
        tensors, _ = read_legacy(tmp_path / name)
        assert "classifier.weight" in tensors
        assert not ran.exists()
    torch.load(tmp_path / "state.pt", weights_only=False)
    assert ran.exists()  # so the payload is a real one


def test_a_file_cannot_change_the_functions_it_is_given(tmp_path):
    """BUILD sets attributes on any object, a function too: ours must stay as they are."""
    rebuild = torch._utils._rebuild_tensor_v2
    before = dict(vars(rebuild))
    # GLOBAL, then the state (None, {"spoilt": 1}), which BUILD sets on it
    code = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N}X\x06\x00\x00\x00spoiltK\x01stb."
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", code)
        archive.writestr("archive/version", "3\n")
    with pytest.raises(InputError, match="holds no tensors"):
        read_legacy(tmp_path / "model.pt")
    assert vars(rebuild) == before


def test_torchscript_is_never_loaded_however_the_archive_hides_it(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    with pytest.raises(InputError, match="is TorchScript, not weights"):
        read_legacy(path)
    # a directory that only Python's reader takes, which looks at the end of the file first
    with zipfile.ZipFile(tmp_path / "harmless.zip", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/version", "3\n")
    harmless = (tmp_path / "harmless.zip").read_bytes()
    path.write_bytes(path.read_bytes() + harmless)
    with pytest.raises(InputError):
        read_legacy(path)


def test_an_old_tar_is_refused_and_nothing_is_extracted(tmp_path):
    for name in ("storages", "tensors", "pickle"):
        (tmp_path / name).write_bytes(b"x")
    path = tmp_path / "model.pt"
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.add(tmp_path / name, name)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    with pytest.raises(InputError, match=r"no file that torch\.save"):
        read_legacy(path)


def test_a_small_file_cannot_ask_for_endless_memory(tmp_path):
    nested = {}
    for _ in range(40):
        nested = {"a": nested, "b": nested}
    torch.save(nested, tmp_path / "nested.pt")
    with pytest.raises(InputError, match="without end"):
        read_legacy(tmp_path / "nested.pt")
    torch.save({"huge": torch.zeros(1).expand(2**31, 768)}, tmp_path / "huge.pt")
    with pytest.raises(InputError, match="huge is larger than the whole file"):
        read_legacy(tmp_path / "huge.pt")


def test_shapes_that_are_no_models_are_refused(original, tmp_path):
    weights = original.state_dict()
    for name in ("model.embeddings.word_embeddings.weight", "classifier.bias"):
        torch.save({**weights, name: torch.tensor(1.0)}, tmp_path / "model.pt")
        with pytest.raises(InputError, match="not the shapes"):
            convert(tmp_path / "model.pt")


def test_a_truncated_file_is_refused(pickled):
    data = pickled.read_bytes()
    pickled.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut short: download it again"):
        read_legacy(pickled)


def test_a_pointer_instead_of_weights_is_refused(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 268\n"
    (tmp_path / "model").write_text(pointer.ljust(1024))
    with pytest.raises(InputError, match="Git LFS pointer"):
        read_legacy(tmp_path / "model")
    (tmp_path / "page").write_text("<html>Google Drive can't scan this file</html>")
    with pytest.raises(InputError, match=r"no file that torch.save"):
        read_legacy(tmp_path / "page")


def test_other_contents_are_refused(tmp_path):
    bert = BertForSequenceClassification(
        BertConfig(vocab_size=37, hidden_size=64, num_hidden_layers=1, num_attention_heads=1,
                   intermediate_size=96)
    )  # fmt: skip
    for value, why in (
        (bert.state_dict(), "not the weights of a DistilBERT classifier"),
        (DistilBertModel(CONFIG), "not the weights of a DistilBERT classifier"),
        (DistilBertForSequenceClassification(CONFIG.__class__(**{**CONFIG.to_dict(),
         "num_labels": 5})), "The head has 5 classes"),
    ):  # fmt: skip
        torch.save(value, tmp_path / "model.pt")
        with pytest.raises(InputError, match=why):
            convert(tmp_path / "model.pt")
    torch.save({"a": 1}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="holds no tensors"):
        read_legacy(tmp_path / "model.pt")


def test_weights_with_a_layer_too_few_are_refused(original, tmp_path):
    weights = original.state_dict()
    weights.pop("model.transformer.layer.1.ffn.lin1.weight")
    torch.save(weights, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"do not fit a DistilBERT of 2 layers"):
        legacy_model(*read_legacy(tmp_path / "model.pt"), heads=4)


def test_the_script_writes_the_safe_folder(pickled, original, tiny_bert, tmp_path):
    tokenizer = load_backbone(str(tiny_bert)).tokenizer
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    command = [sys.executable, ROOT / "scripts" / "convert-legacy.py", pickled]
    command += ["--tokenizer", tmp_path / "tokenizer", "--output", tmp_path / "model"]
    out = subprocess.run(command, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    classifier = Classifier.from_folder(tmp_path / "model")
    ids = torch.tensor([tokenizer("great film")["input_ids"]])
    with torch.no_grad():
        expected = original(ids).softmax(-1)[0, 1].item()
    assert np.allclose(in_fp32(classifier).probabilities(["great film"]), expected, atol=1e-6)


def test_the_service_says_what_a_converted_model_is(pickled, tiny_bert, tmp_path):
    tokenizer = load_backbone(str(tiny_bert)).tokenizer
    about = {"converted_from": {"file": pickled.name, "sha256": sha256(pickled)}}
    folder = write_model(convert(pickled), tokenizer, "", about, tmp_path / "model")
    engine = Engine(Classifier.from_folder(folder), Metrics())
    info = create_app(engine, check_manifest(folder)).test_client().get("/info").json
    assert info["model"] == "finetuned_bert_model"
    assert info["trained_on"] is None


def test_a_model_of_fewer_tokens_than_reviews_have_is_refused():
    short = DistilBertConfig(**CONFIG.to_diff_dict() | {"max_position_embeddings": 128})
    with pytest.raises(InputError, match="reads 128 tokens at most: one that reads 512 is needed"):
        legacy_model(Original(short).state_dict(), {"n_heads": 4})


def test_a_tokenizer_of_another_vocabulary_is_refused(pickled, tmp_path):
    load_backbone("minilm").tokenizer.save_pretrained(tmp_path / "tokenizer")
    command = [sys.executable, ROOT / "scripts" / "convert-legacy.py", pickled]
    command += ["--tokenizer", tmp_path / "tokenizer", "--output", tmp_path / "model"]
    out = subprocess.run(command, capture_output=True, text=True)
    assert out.returncode == 1
    assert "30,522 words and the model 37" in out.stderr
    assert not (tmp_path / "model").exists()
