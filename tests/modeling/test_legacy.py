"""The originals' pickled models: read without running them, written as a safe folder."""

import json
import shutil
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from collections import defaultdict, deque, namedtuple
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import load_script, run_script
from safetensors.torch import save_file
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
)

from utils import InputError
from utils.export.folder import write_model
from utils.export.parity import in_fp32
from utils.files import sha256
from utils.inference.classifier import Classifier
from utils.manifest import check_manifest
from utils.modeling.backbones import load_backbone
from utils.modeling.legacy import Legacy, legacy_model, read_legacy
from utils.modeling.model import unfold_head
from utils.modeling.unpickler import Storage, _tensor
from utils.paths import ROOT
from utils.service.api import create_app
from utils.service.batching import Engine
from utils.service.metrics import Metrics

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


def convert(path: Path, **options):
    """The stock model of a file or folder, without the notes."""
    return legacy_model(read_legacy(path), **options)[0]


def saved(value, path: Path, **options) -> Path:
    torch.save(value, path, **options)
    return path


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
    model = convert(tmp_path / "weights.bin", heads=4)
    assert torch.allclose(logits(model), expected, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="5 attention heads do not divide 64"):
        convert(tmp_path / "weights.bin", heads=5)


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
        assert "classifier.weight" in read_legacy(tmp_path / name).tensors
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
    with pytest.raises(InputError, match="sets the state of a function"):
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
    with pytest.raises(InputError, match="holds no tensors"):
        read_legacy(tmp_path / "nested.pt")
    torch.save({"huge": torch.zeros(1).expand(2**31, 768)}, tmp_path / "huge.pt")
    with pytest.raises(InputError, match="huge is larger than the whole file"):
        read_legacy(tmp_path / "huge.pt")


def test_shapes_that_are_no_models_are_refused(original, tmp_path):
    weights = original.state_dict()
    for name, why in (
        ("model.embeddings.word_embeddings.weight", "not the shapes"),
        ("model.transformer.layer.0.ffn.lin2.bias", r"lin2.bias is missing and should be \[64\]"),
        ("classifier.bias", r"classifier.bias \(\[\]\) is no part of a head"),
    ):
        changed = saved({**weights, name: torch.tensor(1.0)}, tmp_path / "model.pt")
        if name.endswith("lin2.bias"):
            changed = saved({k: v for k, v in weights.items() if k != name}, changed)
        with pytest.raises(InputError, match=why):
            convert(changed, heads=4)


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
        convert(tmp_path / "model.pt", heads=4)


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
        legacy_model(Legacy(Original(short).state_dict(), {"n_heads": 4}, {}))


def test_a_tokenizer_of_another_vocabulary_is_refused(pickled, tmp_path):
    load_backbone("minilm").tokenizer.save_pretrained(tmp_path / "tokenizer")
    command = [sys.executable, ROOT / "scripts" / "convert-legacy.py", pickled]
    command += ["--tokenizer", tmp_path / "tokenizer", "--output", tmp_path / "model"]
    out = subprocess.run(command, capture_output=True, text=True)
    assert out.returncode == 1
    assert "30,522 words and the model 37" in out.stderr
    assert not (tmp_path / "model").exists()


class WithHead(nn.Module):
    """An encoder of any attribute's name, and a head after it."""

    def __init__(self, encoder, **head):
        super().__init__()
        self.l1 = encoder
        for name, module in head.items():
            setattr(self, name, module)


@pytest.fixture
def encoder():
    torch.manual_seed(1)
    return DistilBertModel(deepcopy(CONFIG)).eval()


def cls(encoder):
    with torch.no_grad():
        return encoder(IDS).last_hidden_state[:, 0]


def two(width: int = 64) -> list[nn.Module]:
    return [nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 2)]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("head", [
    lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(64, 2, bias=False), nn.Softmax(-1)),
    lambda: nn.Sequential(*two(), nn.LogSoftmax(-1)),
    lambda: nn.Sequential(*two(8)),
])  # fmt: skip
def test_heads_that_are_known_give_the_same_probabilities(encoder, tmp_path, head, protocol):
    whole = WithHead(encoder, out=head(), loss_fn=nn.CrossEntropyLoss(torch.tensor([1.0, 2.0])))
    path = saved(whole.eval(), tmp_path / "model.pt", pickle_protocol=protocol)
    with torch.no_grad():
        expected = whole.out(cls(encoder)).softmax(-1)
        if isinstance(whole.out[-1], nn.Softmax | nn.LogSoftmax):
            expected = whole.out(cls(encoder))
            expected = expected.exp() if isinstance(whole.out[-1], nn.LogSoftmax) else expected
    model = convert(path)
    assert torch.allclose(logits(model).softmax(-1), expected, rtol=0, atol=1e-6)
    assert model.config.n_heads == 4


@pytest.mark.parametrize(("head", "why"), [
    (nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 2)), "out.1 is a Tanh"),
    (nn.Sequential(nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 2)), "out.1 is a GELU"),
    (nn.Sequential(nn.Linear(64, 2), nn.Sigmoid()), "out.1 is a Sigmoid"),
    (nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 2)), r"out.0.weight \(LayerNorm with eps"),
    (nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 2)), "The head has 3 layers"),
    (nn.Sequential(nn.ReLU(), nn.Linear(64, 2)), "has the modules ReLU, Linear"),
    (nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 2)), r"are out.0, out.1 in this order"),
    (nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 2), nn.ReLU()), "are out.0, out.1, ReLU"),
    (nn.Sequential(nn.Sequential(nn.Softmax(-1)), nn.Linear(64, 2)), r"are Softmax, out.1 in this"),
    (nn.Sequential(nn.Sequential(nn.Linear(64, 8)), nn.Sequential(nn.Linear(8, 2), nn.ReLU())),
     r"are out.0.0, out.1.0, ReLU in this order"),
    (nn.Sequential(nn.Linear(64, 2), nn.Softmax(0)), "out.1 is a Softmax with dim 0"),
    (nn.Sequential(nn.LSTM(64, 8), nn.Linear(8, 2)), r"out.0.weight_ih_l0 \(LSTM\) is no part"),
    (nn.Sequential(nn.Linear(64, 65), nn.ReLU(), nn.Linear(65, 2)), "65 units, of 64 at most"),
])  # fmt: skip
def test_other_heads_are_refused_by_name(encoder, tmp_path, head, why):
    with pytest.raises(InputError, match=why):
        convert(saved(WithHead(encoder, out=head), tmp_path / "model.pt"))


def of_another_activation(encoder):
    encoder.transformer.layer[1].ffn.activation = nn.Tanh()


def of_another_norm(encoder):
    encoder.embeddings.LayerNorm.eps = 1.0


def with_a_hook(encoder):
    encoder.transformer.layer[0].register_forward_hook(print)


@pytest.mark.parametrize(("change", "why"), [
    (of_another_activation, r"its l1.transformer.layer.1.ffn.activation is a Tanh"),
    (of_another_norm, r"its l1.embeddings.LayerNorm is a LayerNorm with eps 1.0"),
    (with_a_hook, r"layer.0 is a TransformerBlock with _forward_hooks"),
])  # fmt: skip
def test_an_encoder_that_was_changed_is_refused(encoder, tmp_path, change, why):
    change(encoder)
    with pytest.raises(InputError, match=f"The encoder was changed: .*{why}"):
        convert(saved(WithHead(encoder, out=nn.Linear(64, 2)), tmp_path / "model.pt"))


@pytest.mark.parametrize("kind", [
    DistilBertForTokenClassification, DistilBertForQuestionAnswering, DistilBertForMultipleChoice
])  # fmt: skip
def test_models_for_other_tasks_are_refused_by_name(tiny_bert, tmp_path, kind):
    model = kind(CONFIG)
    model.save_pretrained(tmp_path / "folder")
    for path in (saved(model, tmp_path / "model.pt"), tmp_path / "folder"):
        with pytest.raises(InputError, match=f"This is a {kind.__name__}, which does not label"):
            convert(path)


def test_a_compiled_model_is_the_one_that_was_compiled(original, tmp_path):
    with torch.no_grad():
        expected = original(IDS)
    compiled = torch.compile(original)
    found = logits(convert(saved(compiled, tmp_path / "m.pt")))
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)
    original.model = torch.compile(original.model)
    found = logits(convert(saved(original, tmp_path / "m.pt")))
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "names", [("n_heads", "activation"), ("num_attention_heads", "hidden_act")]
)
def test_a_configuration_beside_a_state_dict_counts_by_either_names(tmp_path, names):
    original = Original(DistilBertConfig(**{**CONFIG.to_dict(), "activation": "relu"})).eval()
    said = dict(zip(names, (4, "relu"), strict=True))
    path = saved({"model": original.state_dict(), "config": said}, tmp_path / "m.pt")
    model, notes = legacy_model(read_legacy(path))
    with torch.no_grad():
        assert torch.allclose(logits(model), original(IDS), rtol=0, atol=1e-5)
    assert not any("The encoder is taken" in note for note in notes)
    path = saved(original.state_dict(), tmp_path / "m.pt")
    notes = legacy_model(read_legacy(path), heads=4)[1]
    assert "gelu as its activation: the file does not say" in notes[0]


def test_what_the_file_does_not_say_is_a_note(encoder, tmp_path):
    whole = WithHead(encoder, first=nn.Linear(64, 64), last=nn.Linear(64, 2))
    notes = " ".join(legacy_model(read_legacy(saved(whole, tmp_path / "model.pt")))[1])
    assert "ReLU is taken" in notes
    assert "[CLS]" in notes
    assert "Class 0 is taken for NEGATIVE" in notes
    stock = DistilBertForSequenceClassification(deepcopy(CONFIG))
    stock.config.id2label = {0: "neg", 1: "pos"}
    assert legacy_model(read_legacy(saved(stock, tmp_path / "model.pt")))[1] == []
    stock.pre_classifier = nn.Identity()
    with pytest.raises(InputError, match="of which a part was changed"):
        convert(saved(stock, tmp_path / "model.pt"))


def test_parameters_with_attributes_in_python_are_read(tmp_path):
    """As those of every model that from_pretrained made."""
    stock = DistilBertForSequenceClassification(CONFIG).eval()
    for parameter in stock.parameters():
        parameter._is_hf_initialized = True
    model = convert(saved(stock, tmp_path / "model.pt"))
    assert torch.equal(logits(model), logits(stock))


@pytest.mark.parametrize("wrap", [
    lambda weights: {"epoch": 3, "model_state_dict": weights, "loss": 0.3},
    lambda weights: {f"_orig_mod.{name}": value for name, value in weights.items()},
    lambda weights: {f"module.{name}": value for name, value in weights.items()},
    lambda weights: {f"net.{name.replace('distilbert', 'l1')}": value
                     for name, value in weights.items()},
])  # fmt: skip
def test_checkpoints_and_wrapped_models_are_unwrapped(tmp_path, wrap):
    stock = DistilBertForSequenceClassification(CONFIG).eval()
    optimiser = torch.optim.AdamW(stock.parameters())
    stock(IDS, labels=torch.tensor([1])).loss.backward()
    optimiser.step()
    wrapped = wrap(stock.state_dict())
    if "epoch" in wrapped:
        wrapped["optimizer_state_dict"] = optimiser.state_dict()
    model = convert(saved(wrapped, tmp_path / "model.pt"), heads=4)
    assert torch.equal(logits(model), logits(stock))


def test_two_models_in_a_file_are_both_named(original, tmp_path):
    weights = original.state_dict()
    path = saved(
        {"model": weights, "ema": {k: v.clone() for k, v in weights.items()}}, tmp_path / "model.pt"
    )
    with pytest.raises(InputError, match="holds two models, model and ema"):
        read_legacy(path)
    twice = {f"{name}.{key}": value for name in ("a", "b") for key, value in weights.items()}
    with pytest.raises(InputError, match=r"two encoders, a.model. and b.model."):
        convert(saved(twice, path))


def test_one_output_becomes_two(encoder, tmp_path):
    path, out = tmp_path / "model.pt", nn.Linear(64, 1)
    model, notes = legacy_model(read_legacy(saved(WithHead(encoder, out=out), path)))
    with torch.no_grad():
        expected = out(cls(encoder)).sigmoid()[:, 0]
    assert torch.allclose(logits(model).softmax(-1)[:, 1], expected, rtol=0, atol=1e-6)
    assert "The one output is taken for POSITIVE's" in " ".join(notes)
    negative = convert(path, labels=["positive", "negative"])
    assert torch.allclose(logits(negative).softmax(-1)[:, 0], expected, rtol=0, atol=1e-6)
    encoder.config.problem_type = "regression"
    with pytest.raises(InputError, match="trained for regression"):
        convert(saved(WithHead(encoder, out=out), path))


@pytest.mark.parametrize(("names", "labels", "flipped"), [
    ({0: "positive", 1: "negative"}, None, True),
    ({0: "Neg", 1: "POS"}, None, False),
    ({0: "LABEL_0", 1: "LABEL_1"}, ["positive", "negative"], True),
    ({0: "good", 1: "bad"}, ["pos", "neg"], True),
    ({0: "good", 1: "bad"}, None, "are called good, bad: say the names .* --labels"),
    ({0: "positive", 1: "negative"}, ["negative", "positive"], "--labels contradicts"),
    ({0: "negative", 1: "positive"}, ["good", "bad"], "one negative and one positive name"),
])  # fmt: skip
def test_class_names_decide_which_class_is_positive(tmp_path, names, labels, flipped):
    config = DistilBertConfig(**CONFIG.to_diff_dict() | {"id2label": names})
    stock = DistilBertForSequenceClassification(config).eval()
    path = saved(stock, tmp_path / "model.pt")
    if isinstance(flipped, str):
        with pytest.raises(InputError, match=flipped):
            convert(path, labels=labels)
        return
    model = convert(path, labels=labels)
    expected = logits(stock).flip(-1) if flipped else logits(stock)
    assert torch.allclose(logits(model), expected, rtol=0, atol=1e-6)
    assert model.config.id2label == {0: "NEGATIVE", 1: "POSITIVE"}


SAID = {"id2label": {0: "positive", 1: "negative"}}


class Holder:
    """An object of a class that the reader does not know."""

    def __init__(self, **values):
        self.__dict__.update(values)


@pytest.mark.parametrize("where", [
    "beside", "in a config", "an attribute", "classes", "label2id", "class_to_idx", "label_to_id",
    "label_list",
])  # fmt: skip
def test_class_names_are_found_wherever_the_file_has_them(original, tmp_path, where):
    weights = original.state_dict()
    value = {
        "beside": {"model_state_dict": weights, **SAID},
        "in a config": {"model_state_dict": weights, "config": Holder(**SAID, n_heads=4)},
        "classes": {"state_dict": weights, "classes": ["pos", "neg"]},
        "class_to_idx": {"state_dict": weights, "class_to_idx": {"pos": 0, "neg": 1}},
        "label_to_id": {"state_dict": weights, "label_to_id": {"pos": 0, "neg": 1}},
        "label_list": {"state_dict": weights, "label_list": ["pos", "neg"]},
        "label2id": {"state_dict": weights, "label2id": {"Positive": 0, "Negative": 1}},
    }.get(where)
    if where == "an attribute":
        original.id2label = SAID["id2label"]
        value = original
    with torch.no_grad():
        expected = original(IDS).flip(1)
    model, notes = legacy_model(read_legacy(saved(value, tmp_path / "m.pt")), heads=4)
    assert torch.allclose(logits(model), expected, rtol=0, atol=1e-5)
    assert not any("no names of theirs were found" in note for note in notes)


class AttributeDict(dict):
    """As many configurations are."""


Tuple = namedtuple("Tuple", "id2label n_heads")


class Slotted:
    __slots__ = ("__dict__", "id2label")

    def __init__(self):
        self.id2label, self.n_heads = SAID["id2label"], 4


@dataclass(frozen=True, slots=True)
class Frozen:
    id2label: dict
    n_heads: int = 4


class Whole:
    """One whose state is the names, or a list of three things."""

    def __init__(self, state):
        self.state = state

    def __getstate__(self):
        return self.state


class Named:
    def __new__(cls, **names):
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return (), SAID


@pytest.mark.parametrize("config", [
    Frozen(SAID["id2label"]),
    Tuple(SAID["id2label"], 4),
    Tuple(["positive", "negative"], 4),
    Whole(SAID["id2label"]),
    np.array(["pos", "neg"], dtype=object),
], ids=lambda config: type(config).__name__)  # fmt: skip
def test_class_names_in_an_object_that_does_not_name_them_are_asked_for(original, tmp_path, config):
    """They may be names of the classes, or two predictions."""
    path = saved({"state_dict": original.state_dict(), "config": config}, tmp_path / "m.pt")
    with pytest.raises(InputError, match="in an object, by no name: say the names of class 0"):
        legacy_model(read_legacy(path), heads=4)
    legacy_model(read_legacy(path), heads=4, labels=["negative", "positive"])


@pytest.mark.parametrize("config", [
    partial(print, id2label=SAID["id2label"]),
    Whole([1, 2, SAID]),
    Named(),
    AttributeDict(SAID),
    defaultdict(dict, model=SAID),
    deque([SAID]),
    Slotted(),
], ids=lambda config: type(config).__name__)  # fmt: skip
def test_class_names_are_found_in_an_object_of_any_kind(original, tmp_path, config):
    path = saved({"state_dict": original.state_dict(), "config": config}, tmp_path / "m.pt")
    model, notes = legacy_model(read_legacy(path), heads=4)
    assert "The file calls its classes positive, negative: they change places." in notes
    with torch.no_grad():
        assert torch.allclose(logits(model), original(IDS).flip(1), rtol=0, atol=1e-5)


def test_a_name_that_holds_many_tensors_is_not_copied_for_each(original, tmp_path):
    many = dict.fromkeys(map(str, range(9000)), torch.zeros(()))
    saved({**original.state_dict(), "x" * 900_000: many}, tmp_path / "m.pt")
    tracemalloc.start()
    legacy_model(read_legacy(tmp_path / "m.pt"), heads=4)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 200e6


def test_what_many_objects_are_called_with_is_not_copied(tmp_path):
    arguments = b"(" + b"K\0" * 100_000 + b"tq\1"
    code = b"\x80\x02(" + arguments + b"0ccopyreg\nx\nh\1R" * 20_000 + b"0t."
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("archive/data.pkl", code)
    started = time.perf_counter()
    with pytest.raises(InputError):
        read_legacy(tmp_path / "m.pt")
    assert time.perf_counter() - started < 10


def test_class_names_that_are_not_read_have_to_be_said(original, tmp_path):
    value = {"state_dict": original.state_dict(), "classes": "positive, negative"}
    with pytest.raises(InputError, match="in a text, which is not read"):
        legacy_model(read_legacy(saved(value, tmp_path / "m.pt")), heads=4)
    value = {"state_dict": original.state_dict(), "classes": np.array(["pos", "neg"])}
    path = saved(value, tmp_path / "m.pt")
    with pytest.raises(InputError, match="which is not read: say the names of class 0"):
        convert(path, heads=4)
    assert convert(path, heads=4, labels=["pos", "neg"])


def test_names_that_contradict_each_other_are_refused(original, tmp_path):
    value = {"model_state_dict": original.state_dict(), **SAID,
             "label2id": {"negative": 0, "positive": 1}}  # fmt: skip
    path = saved(value, tmp_path / "m.pt")
    with pytest.raises(InputError, match="negative, positive and positive, negative: say"):
        convert(path, heads=4)
    assert convert(path, heads=4, labels=["negative", "positive"])


def test_the_encoders_configuration_counts_whatever_else_is_called_config(original, tmp_path):
    original.config = Holder(hidden=64, activation="relu")
    path = saved(original, tmp_path / "m.pt")
    with torch.no_grad():
        expected = original(IDS)
    assert torch.allclose(logits(convert(path)), expected, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="--heads 2 contradicts the file, which says 4"):
        convert(path, heads=2)


class TwoParts(nn.Module):
    """A head of two layers in parts of its own."""

    def __init__(self, encoder, first, last):
        super().__init__()
        self.encoder, self.first, self.last = encoder, first, last


def test_a_relu_before_the_first_layer_is_not_taken_for_one_between(encoder, tmp_path):
    wrong = TwoParts(encoder, nn.Sequential(nn.ReLU(), nn.Linear(64, 16)), nn.Linear(16, 2))
    with pytest.raises(InputError, match=r"modules of first are ReLU, first.1 in this order"):
        convert(saved(wrong, tmp_path / "m.pt"))
    right = TwoParts(encoder, nn.Linear(64, 16), nn.Sequential(nn.ReLU(), nn.Linear(16, 2)))
    assert convert(saved(right, tmp_path / "m.pt"))


def test_layers_next_to_each_other_in_a_state_dict_have_no_relu_between(original, tmp_path):
    weights = {k: v for k, v in original.state_dict().items() if not k.startswith("classifier")}
    for number, layer in ((0, nn.Linear(64, 16)), (1, nn.Linear(16, 2))):
        weights |= {f"head.{number}.{k}": v for k, v in layer.state_dict().items()}
    with pytest.raises(InputError, match=r"nothing between the layers head.0 and head.1"):
        convert(saved(weights, tmp_path / "m.pt"), heads=4)


def test_the_weights_of_classes_in_a_loss_are_no_part_of_the_head(original, tmp_path):
    weights = {**original.state_dict(), "loss_fn.weight": torch.ones(2)}
    assert convert(saved(weights, tmp_path / "m.pt"), heads=4)


def test_weights_that_are_not_finite_are_refused(original, tmp_path):
    weights = original.state_dict()
    weights["classifier.bias"][0] = float("inf")
    with pytest.raises(InputError, match=r"classifier.bias holds NaN or infinite"):
        convert(saved(weights, tmp_path / "m.pt"), heads=4)


def test_the_recorded_hash_is_of_the_weights_that_were_read(tiny_bert, original, tmp_path):
    folder = tmp_path / "checkpoint"
    stock = DistilBertForSequenceClassification(CONFIG)
    stock.save_pretrained(folder)
    decoy = (folder / "model.safetensors").rename(folder / "model_good.safetensors")
    torch.save(stock.state_dict(), folder / "pytorch_model.bin")
    script = load_script("convert-legacy.py")
    assert script.hash_of(folder) == sha256(folder / "pytorch_model.bin") != sha256(decoy)


@pytest.mark.parametrize(
    "shape", [(2**80,), tuple([2] * 9)], ids=["a huge number", "many dimensions"]
)
def test_a_tensor_cannot_claim_endless_numbers(shape):
    with pytest.raises(ValueError, match=r"is none|dimensions"):
        _tensor(Storage("0", "FloatStorage", 4), 0, shape, tuple([1] * len(shape)))


def test_other_kinds_of_files_are_named(original, tmp_path):
    save_file({k: v.clone() for k, v in original.state_dict().items()}, tmp_path / "a")
    torch.save(original.state_dict(), tmp_path / "b", _use_new_zipfile_serialization=False)
    for name, why in (("a", "holds safetensors: give its folder"), ("b", "before 1.6")):
        with pytest.raises(InputError, match=why):
            read_legacy(tmp_path / name)


def test_a_folder_of_a_trainer_converts_with_its_own_tokenizer(tiny_bert, tmp_path):
    folder, tokenizer = tmp_path / "checkpoint-5", load_backbone(str(tiny_bert)).tokenizer
    words = len(tokenizer)
    config = DistilBertConfig(**CONFIG.to_diff_dict() | {"vocab_size": words,
                              "id2label": {0: "pos", 1: "neg"}})  # fmt: skip
    stock = DistilBertForSequenceClassification(config).eval()
    stock.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with pytest.raises(InputError, match=r"is a checkpoint.*convert-legacy.py \S+ --output"):
        check_manifest(folder)
    out = run_script("convert-legacy.py", folder, "--output", tmp_path / "model")
    assert out.returncode == 0, out.stderr
    assert "class 0 is NEGATIVE" in out.stdout
    found = Classifier.from_folder(tmp_path / "model")
    expected = logits(stock, torch.tensor([tokenizer("great film")["input_ids"]]))
    assert np.allclose(in_fp32(found).probabilities(["great film"]),
                       expected.softmax(-1)[0, 0], atol=1e-6)  # fmt: skip
    (folder / "model.safetensors").unlink()
    torch.save(stock.state_dict(), folder / "pytorch_model.bin")
    assert torch.equal(logits(convert(folder)), logits(convert(saved(stock, tmp_path / "m.pt"))))


def archive(path: Path, code: bytes, storage: bytes = b"", compressed: bool = False) -> Path:
    """A file as torch.save lays it out, with a pickle and one storage."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr("archive/data.pkl", code)
        file.writestr("archive/data/0", storage)
        file.writestr("archive/version", "3\n")
    return path


def state_dict_code(size: int, change=lambda code: code) -> bytes:
    """The pickle of {"a": tensor of that size}, changed."""
    stream = BytesIO()
    torch.save({"a": torch.ones(size)}, stream)
    with zipfile.ZipFile(stream) as file:
        (name,) = (n for n in file.namelist() if n.endswith("data.pkl"))
        return change(file.read(name))


NESTED_KEYS = b"\x80\x02}K\x01" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(60)) + b"K\x01s."
SAME_HASH = b"\x80\x02}(" + b"\x8a\x10" + (2**61 - 1 << 40).to_bytes(16, "little") + b"Nu."
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
REBUILD = b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n"
LAST = b"\x89}tR"


@pytest.mark.parametrize(("code", "why"), [
    (b"\x80\x05\x96" + (6 << 30).to_bytes(8, "little") + b"ab.", "."),
    (b"\x80\x02cbuiltins\nbytearray\n\x8a\x05" + (6 << 30).to_bytes(5, "little") + b"\x85R.",
     "holds no tensors"),
    (NESTED_KEYS, "a dictionary has a tuple as key"),
    (SAME_HASH, "a dictionary has a int as key"),
    (b"\x80\x02I" + b"9" * 10_000 + b"\n.", "."),
    # a tensor of [1, 2**40] that shows one number again and again
    (REBUILD + b"(" + STORAGE + b"K\0K\x01\x8a\x06" + (2**40).to_bytes(6, "little")
     + b"\x86K\0K\0\x86" + LAST + b"s.", "a is larger than the whole file"),
    # one of [8] of a storage of four
    (REBUILD + b"(" + STORAGE + b"K\0K\x08\x85K\x01\x85" + LAST + b"s.", "beyond its own data"),
    (REBUILD + b"(" + STORAGE + b"K\x7fK\x01\x85K\x01\x85" + LAST + b"s.", "beyond its own data"),
    (REBUILD + b"(" + STORAGE + b"J\xff\xff\xff\xffK\x01\x85K\x01\x85" + LAST + b"s.",
     "storage, size or stride"),
    # one of [4] that is then set to [8]
    (REBUILD + b"(" + STORAGE + b"K\0K\x04\x85K\x01\x85" + LAST + b"(" + STORAGE
     + b"K\0K\x08\x85K\x01\x85tbs.", "sets the state of a Record"),
    # one of a kind that is not known
    (b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_sparse_tensor\n)Rs.",
     "a is a _rebuild_sparse_tensor"),
    (b"\x80\x02(i__main__\nX\n.", "the operation INST"),
])  # fmt: skip
def test_a_few_bytes_cannot_ask_for_memory_time_or_what_is_not_in_the_file(tmp_path, code, why):
    path = archive(tmp_path / "model.pt", code, torch.ones(4).numpy().tobytes())
    started = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=why):
            read_legacy(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - started < 5


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    code = state_dict_code(2**20)
    path = archive(tmp_path / "model.pt", code, bytes(2**25), compressed=True)
    with pytest.raises(InputError, match="is compressed, which"):
        read_legacy(path)


def test_many_tensors_of_one_storage_are_refused(tmp_path):
    one = torch.zeros(1000)
    with pytest.raises(InputError, match="larger together than the whole file"):
        read_legacy(saved({str(n): one.view(10, 100) for n in range(500)}, tmp_path / "model.pt"))


def test_shapes_that_claim_more_than_there_is_build_no_model(original, tmp_path):
    """A wide embedding of one word would be a model of many gigabytes."""
    weights = original.state_dict()
    weights["model.embeddings.word_embeddings.weight"] = torch.zeros(1, 60_000)
    started = time.perf_counter()
    with pytest.raises(InputError, match="do not fit a DistilBERT of 2 layers"):
        convert(saved(weights, tmp_path / "model.pt"), heads=4)
    assert time.perf_counter() - started < 2


def test_values_are_those_of_the_file(tmp_path):
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    values = {"a": base.T, "b": base[1:, ::2], "c": base.half(), "d": base.bfloat16(),
              "e": torch.empty(0, 3), "f": torch.tensor(3), "g": base > 3}  # fmt: skip
    found = read_legacy(saved(values, tmp_path / "model.pt")).tensors
    assert all(torch.equal(found[name], value) for name, value in values.items())
    assert all(found[name].dtype == value.dtype for name, value in values.items())


def test_a_file_without_a_tokenizer_and_a_berts_folder_are_refused(pickled, tiny_bert, tmp_path):
    out = run_script("convert-legacy.py", pickled, "--output", tmp_path / "model")
    assert "--tokenizer is missing" in out.stderr
    out = run_script("convert-legacy.py", tiny_bert, "--output", tmp_path / "model")
    assert "tiny is a bert, and only a DistilBERT" in out.stderr
    assert "Traceback" not in out.stderr


@pytest.mark.parametrize("key", ["activation", "n_heads", "id2label"])
def test_a_value_that_is_endless_once_written_out_is_refused(original, tmp_path, key):
    endless = []
    for _ in range(40):
        endless = [endless, endless]
    config = {"n_heads": 4, key: {0: endless, 1: endless} if key == "id2label" else endless}
    path = saved({"config": config, "state_dict": original.state_dict()}, tmp_path / "m.pt")
    started = time.perf_counter()
    with pytest.raises(InputError, match=r"is a list|in id2label, which"):
        convert(path)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("code", [
    b"\x80\x02ca\nb\nq\x00X\x05\x00\x00\x00aaaaaR.",  # a call with a text as its arguments
    b"\x80\x02ca\n" + b"b" * 5000 + b"\n.",  # a class of a long name
])  # fmt: skip
def test_calls_and_names_that_only_cost_memory_are_refused(tmp_path, code):
    path = archive(tmp_path / "m.pt", code)
    with pytest.raises(InputError, match="cannot be read"):
        read_legacy(path)


def test_a_setting_that_is_endless_once_written_out_is_named_by_its_kind(encoder, tmp_path):
    endless = []
    for _ in range(40):
        endless = [endless, endless]
    encoder.embeddings.LayerNorm.eps = endless
    path = saved(WithHead(encoder, out=nn.Linear(64, 2)), tmp_path / "m.pt")
    with pytest.raises(InputError, match="LayerNorm with eps a list"):
        convert(path)


def test_one_state_dict_in_many_places_is_read_once(original, tmp_path):
    weights = dict(original.state_dict())
    names = {"id2label": {0: "neg", 1: "pos"}}
    value = {f"copy {n}": {"weights": weights, "names": names} for n in range(2000)}
    path = saved(value, tmp_path / "m.pt")
    started = time.perf_counter()
    assert convert(path, heads=4)
    assert time.perf_counter() - started < 10


def test_a_file_of_holes_does_not_lift_the_limits(tiny_bert, original, tmp_path):
    script = load_script("convert-legacy.py")
    resource = pytest.importorskip("resource")
    folder = tmp_path / "folder"
    shutil.copytree(tiny_bert, folder)
    with (folder / "hole.dat").open("wb") as file:
        file.truncate(10**12)
    with script.limits(folder):
        allowed = resource.getrlimit(resource.RLIMIT_DATA)[0]
    assert allowed <= (script.GIGABYTES + 1) * 2**30


def test_a_wrapped_model_for_another_task_is_refused_too(tmp_path):
    wrapped = nn.DataParallel(DistilBertForTokenClassification(CONFIG))
    with pytest.raises(InputError, match="This is a DistilBertForTokenClassification"):
        convert(saved(wrapped, tmp_path / "m.pt"))


def test_a_class_that_only_has_the_stock_ones_name_is_not_taken_for_it(tmp_path, monkeypatch):
    model = DistilBertForSequenceClassification(CONFIG)
    name = DistilBertForSequenceClassification.__name__
    mine = type(name, (nn.Module,), {"__module__": __name__, "__qualname__": name})
    monkeypatch.setitem(globals(), name, mine)
    other = mine()
    other.__dict__.update(model.__dict__)
    notes = legacy_model(read_legacy(saved(other, tmp_path / "m.pt")))[1]
    assert any("[CLS]" in note for note in notes)


def test_an_order_that_no_sequential_tells_is_a_note(encoder, tmp_path):
    model = WithHead(encoder, act=nn.ReLU(), first=nn.Linear(64, 16), last=nn.Linear(16, 2))
    notes = legacy_model(read_legacy(saved(model, tmp_path / "m.pt")))[1]
    assert any("ReLU is taken to be between" in note for note in notes)


def test_a_module_of_ones_own_that_is_called_as_a_librarys_is_refused(original, tmp_path):
    attention = original.model.transformer.layer[0].attention
    attention.__class__ = type(type(attention).__name__, (type(attention),),
                               {"__module__": __name__})  # fmt: skip
    setattr(sys.modules[__name__], type(attention).__name__, type(attention))
    with pytest.raises(InputError, match=r"encoder was changed.*test_legacy\.DistilBertSelfAtt"):
        convert(saved(original, tmp_path / "model.bin"))


@pytest.mark.parametrize("change", [
    lambda model: setattr(model.model.transformer.layer[1].attention, "scaling", 1.0),
    lambda model: setattr(model, "temperature", 2.5),
    lambda model: setattr(model.classifier, "forward", torch.sin),
], ids=["scaling", "temperature", "forward"])  # fmt: skip
def test_an_attribute_that_changes_what_is_computed_is_refused(original, tmp_path, change):
    change(original)
    with pytest.raises(InputError, match=r"scaling 1\.0|temperature 2\.5|forward"):
        convert(saved(original, tmp_path / "model.bin"))


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.BCEWithLogitsLoss()])
def test_a_loss_that_does_not_choose_between_two_classes_is_refused(original, tmp_path, loss):
    original.loss = loss
    with pytest.raises(InputError, match="not to choose between two classes"):
        convert(saved(original, tmp_path / "model.bin"))


@pytest.mark.parametrize("beside", [
    {"label_mapping": {"positive": 0, "negative": 1}},
    {"CLASSES": ["pos", "neg"]},
    {"labels": {0: "positive", 1: "negative"}},
    {"id2label": ["positive", "negative"]},
])  # fmt: skip
def test_names_of_classes_are_found_however_they_are_kept(original, tmp_path, beside):
    path = tmp_path / "model.bin"
    torch.save({"state_dict": original.state_dict(), **beside}, path)
    model, _ = legacy_model(read_legacy(path), heads=4)
    assert torch.allclose(logits(model), original(IDS).flip(1), atol=1e-6)


def test_three_names_of_two_classes_are_refused(original, tmp_path):
    path = tmp_path / "model.bin"
    torch.save({"state_dict": original.state_dict(), "classes": ["neg", "neutral", "pos"]}, path)
    with pytest.raises(InputError, match="classes are called neg, neutral, pos"):
        legacy_model(read_legacy(path), heads=4)


def test_tensors_beside_the_model_are_named(original, tmp_path):
    path = tmp_path / "model.bin"
    lora = {"lora_A": torch.ones(2, 2)}
    torch.save({"model": original.state_dict(), "adapter": lora, "temperature": torch.ones(1)},
               path)  # fmt: skip
    _, notes = legacy_model(read_legacy(path), heads=4)
    assert any("Left out, since it is beside the model: adapter, temperature" in n for n in notes)


@pytest.mark.parametrize(("change", "said"), [
    ({"n_layers": 6}, "says 6 layers, and its weights are 2's"),
    ({"num_attention_heads": 2}, "contradict each other: n_heads is"),
])  # fmt: skip
def test_a_folder_whose_configuration_is_another_models_is_refused(tmp_path, change, said):
    DistilBertForSequenceClassification(CONFIG).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=said):
        legacy_model(read_legacy(tmp_path))


def test_a_folder_with_an_adapter_is_refused(tmp_path):
    DistilBertForSequenceClassification(CONFIG).save_pretrained(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="merge it into the model"):
        read_legacy(tmp_path)


def test_a_number_that_fp32_cannot_hold_is_refused(original, tmp_path):
    tensors = {name: tensor.double() for name, tensor in original.state_dict().items()}
    next(iter(tensors.values()))[0, 0] = 1e300
    torch.save(tensors, tmp_path / "model.bin")
    with pytest.raises(InputError, match="holds NaN or infinite numbers"):
        legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)


def test_a_model_that_gives_no_numbers_is_not_written(tiny_bert, tmp_path):
    """All its weights are finite, but not what comes of them."""
    folder, tokenizer = tmp_path / "model", load_backbone(str(tiny_bert)).tokenizer
    config = CONFIG.to_diff_dict() | {"vocab_size": len(tokenizer)}
    stock = DistilBertForSequenceClassification(DistilBertConfig(**config))
    with torch.no_grad():
        for layer in stock.distilbert.transformer.layer:
            for part in (layer.attention.q_lin, layer.attention.k_lin):
                part.weight.fill_(1e30)
    stock.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    out = run_script("convert-legacy.py", folder, "--output", tmp_path / "new")
    assert "gives no finite numbers" in out.stderr
    assert not (tmp_path / "new").exists()


def test_an_index_of_holes_is_not_read(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with (tmp_path / "model.safetensors.index.json").open("wb") as file:
        file.truncate(20 * 2**30)
    out = run_script("convert-legacy.py", tmp_path, "--output", tmp_path / "new")
    assert "model.safetensors.index.json is damaged" in out.stderr


@pytest.mark.parametrize("beside", [
    {"id2class": {0: "positive", 1: "negative"}}, {"idx_to_label": ["Pos", "Neg"]},
    {"label_encoder": {"classes_": ["positive", "negative"]}}, {"class2idx": {"neg": 1, "pos": 0}},
    {"meta": [{"id2label": {0: "POSITIVE", 1: "NEGATIVE"}}]},
    {"args": ({"label2id": {"positive": 0, "negative": 1}},)},
])  # fmt: skip
def test_names_count_wherever_they_are_and_whatever_they_are_called(original, tmp_path, beside):
    torch.save({"model": original.state_dict(), **beside}, tmp_path / "model.bin")
    flipped, _ = legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)
    torch.save(original.state_dict(), tmp_path / "plain.bin")
    plain, _ = legacy_model(read_legacy(tmp_path / "plain.bin"), heads=4)
    assert torch.allclose(logits(flipped), logits(plain).flip(-1), atol=1e-6)


@pytest.mark.parametrize("beside", [
    {"id2label": [(0, "POSITIVE"), (1, "NEGATIVE")]}, {"classes": [b"positive", b"negative"]},
])  # fmt: skip
def test_names_that_are_not_read_are_asked_for(original, tmp_path, beside):
    torch.save({"model": original.state_dict(), **beside}, tmp_path / "model.bin")
    with pytest.raises(InputError, match="say the names of class 0 and class 1"):
        legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)


def test_one_large_dict_under_many_names_takes_no_time(original, tmp_path):
    many = {n: n for n in range(100_000)}
    torch.save({"model": original.state_dict(), **{f"key{n}": many for n in range(2000)}},
               tmp_path / "model.bin")  # fmt: skip
    started = time.monotonic()
    legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)
    assert time.monotonic() - started < 30  # it took minutes


def test_a_long_history_beside_the_model_does_no_harm(original, tmp_path):
    history = [{"step": step, "loss": 0.5} for step in range(20_000)]
    torch.save({"model": original.state_dict(), "history": history}, tmp_path / "model.bin")
    legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)


def test_a_temperature_beside_the_model_is_named(original, tmp_path):
    torch.save({"model": original.state_dict(), "temperature": 2.0, "threshold": 0.3},
               tmp_path / "model.bin")  # fmt: skip
    _, notes = legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)
    assert any("beside the model: temperature, threshold" in note for note in notes)


def test_a_folder_computes_with_the_activation_that_transformers_takes(tmp_path):
    DistilBertForSequenceClassification(CONFIG).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["activation"]
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    model, _ = legacy_model(read_legacy(tmp_path))
    assert model.config.activation == "gelu"


@pytest.mark.parametrize("beside", [
    {"class_counts": {"negative": 12510, "positive": 12490}},
    {"report": {"support": {"positive": 1800, "negative": 2200}}},
    {"sample_predictions": ["positive", "negative"]},
    {"scheduler": {"patience": 2, "threshold": 1e-4, "threshold_mode": "rel"}},
])  # fmt: skip
def test_counts_and_predictions_name_no_classes(original, tmp_path, beside):
    torch.save({"model": original.state_dict(), **beside}, tmp_path / "model.bin")
    found, notes = legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)
    torch.save(original.state_dict(), tmp_path / "plain.bin")
    plain, _ = legacy_model(read_legacy(tmp_path / "plain.bin"), heads=4)
    assert torch.equal(logits(found), logits(plain))
    assert any("Class 0 is taken for NEGATIVE" in note for note in notes)


def test_a_configuration_of_something_else_is_not_taken_for_the_encoders(original, tmp_path):
    beside = {"hyper_parameters": {"n_layers": 1, "activation": "relu", "lr": 2e-5}}
    torch.save({"model": original.state_dict(), **beside}, tmp_path / "model.bin")
    with pytest.raises(InputError, match="says 1 layers"):
        legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)


def test_a_threshold_is_named_whatever_holds_it(original, tmp_path):
    beside = {"best_threshold": np.float64(0.3), "temperature": 1.0}
    torch.save({"model": original.state_dict(), **beside}, tmp_path / "model.bin")
    _, notes = legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)
    assert any("beside the model: best_threshold." in note for note in notes)


class Shared:
    """Objects of which many share one state."""


def test_a_state_that_many_objects_share_is_read_once(original, tmp_path):
    state = {f"name{n}": n for n in range(20_000)}
    objects = [Shared() for _ in range(2000)]
    for one in objects:
        one.__dict__ = state
    torch.save({"model": original.state_dict(), "more": objects}, tmp_path / "model.bin")
    started = time.perf_counter()
    legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)
    assert time.perf_counter() - started < 20  # forty million names take minutes


def test_long_names_of_classes_are_not_copied(original, tmp_path):
    names = dict.fromkeys(range(1000), "A" * 400_000)
    beside = {"id2label": names, "class_names": names, "categories": names}
    torch.save({"model": original.state_dict(), **beside}, tmp_path / "model.bin")
    with pytest.raises(InputError, match="in id2label, which is not read"):
        legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)
    legacy_model(read_legacy(tmp_path / "model.bin"), 4, ["negative", "positive"])


def test_names_under_any_key_count_where_they_have_the_numbers_of_classes(original, tmp_path):
    for beside in ({"sentiment_map": {"positive": 0, "negative": 1}}, {"names": ["pos", "neg"]}):
        torch.save({"model": original.state_dict(), "more": beside}, tmp_path / "model.bin")
        found, _ = legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)
        torch.save(original.state_dict(), tmp_path / "plain.bin")
        plain, _ = legacy_model(read_legacy(tmp_path / "plain.bin"), heads=4)
        assert torch.allclose(logits(found), logits(plain).flip(-1), atol=1e-6)


def test_another_pooling_that_the_file_names_is_refused(original, tmp_path):
    beside = {"hyper_parameters": {"pooling": "mean"}}
    torch.save({"model": original.state_dict(), **beside}, tmp_path / "model.bin")
    with pytest.raises(InputError, match="pools by 'mean'"):
        legacy_model(read_legacy(tmp_path / "model.bin"), heads=4)


def test_a_long_name_in_many_places_is_not_copied(original, tmp_path):
    key, tensor = "a" * 100_000, torch.zeros(1)
    more = [{key: tensor} for _ in range(1000)]
    torch.save({"model": original.state_dict(), "more": dict(enumerate(more))}, tmp_path / "m.bin")
    with pytest.raises(InputError):
        read_legacy(tmp_path / "m.bin")
    name = "temperature" + "." * 100_000 + "temperature"
    torch.save({"model": original.state_dict(), "more": [{name: 2.0} for _ in range(2000)]},
               tmp_path / "n.bin")  # fmt: skip
    started = time.perf_counter()
    read_legacy(tmp_path / "n.bin")
    assert time.perf_counter() - started < 5
