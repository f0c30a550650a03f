"""The model class and the backbones."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    GPT2Config,
    MPNetConfig,
)

from utils import InputError
from utils.export.folder import write_model
from utils.inference.classifier import Classifier
from utils.modeling.backbones import (
    bert_to_distilbert,
    build_model,
    distilbert_config,
    load_backbone,
)
from utils.modeling.model import CustomHeadDistilBert, fold_head, unfold_head
from utils.paths import ROOT
from utils.text import tokenize

IDS = torch.tensor([[2, 9, 12, 20, 25, 3], [2, 7, 30, 11, 5, 3]])


@pytest.fixture
def model(tiny_bert):
    return build_model(load_backbone(str(tiny_bert)), seed=0).eval()


def test_conversion_is_exact_in_float64(tiny_bert):
    bert = BertModel.from_pretrained(tiny_bert, dtype=torch.float64).eval()
    model = CustomHeadDistilBert(distilbert_config(bert.config)).double().eval()
    model.distilbert.load_state_dict(bert_to_distilbert(bert.state_dict()), strict=False)
    mask = torch.tensor([[1] * 6, [1, 1, 1, 0, 0, 0]])
    with torch.no_grad():
        expected = bert(IDS, attention_mask=mask).last_hidden_state
        found = model.distilbert(IDS, attention_mask=mask).last_hidden_state
    assert (found - expected)[mask.bool()].abs().max() < 1e-9


def test_the_older_names_of_a_norms_weights_are_known(tiny_bert):
    """Those of bert-base-uncased, for one."""
    weights = load_file(tiny_bert / "model.safetensors")
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for name, value in weights.items():
        for new, old in older.items():
            name = name.replace(new, old)
        renamed[name] = value
    assert renamed.keys() != weights.keys()
    expected, found = bert_to_distilbert(weights), bert_to_distilbert(renamed)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("width", "rate"), [(768, 3e-5), (384, 1e-4)])
def test_the_learning_rate_is_the_usual_one_of_the_width(tiny_bert, tmp_path, width, rate):
    config = DistilBertConfig(vocab_size=40, dim=width, hidden_dim=64, n_layers=1, n_heads=12)
    CustomHeadDistilBert(config).save_pretrained(tmp_path)
    for path in tiny_bert.glob("*token*"):
        shutil.copy(path, tmp_path)
    assert load_backbone(str(tmp_path)).learning_rate == rate


@pytest.mark.parametrize(("kind", "dropout"), [("cpu", 0.0), ("cuda", 0.1)])
def test_attention_dropout_is_off_on_a_cpu_alone(backbone, monkeypatch, kind, dropout):
    monkeypatch.setattr("utils.modeling.backbones.device", lambda: torch.device(kind))
    attention = build_model(backbone, seed=0).distilbert.transformer.layer[0].attention
    assert attention.dropout.p == dropout


def test_saved_model_gives_the_same_logits_in_a_fresh_process(model, tmp_path):
    model.save_pretrained(tmp_path)
    code = (
        "import json, sys, torch\n"
        "from utils.modeling.model import CustomHeadDistilBert\n"
        f"model = CustomHeadDistilBert.from_pretrained({str(tmp_path)!r}).eval()\n"
        f"print(json.dumps(model(torch.tensor({IDS.tolist()})).logits.tolist()))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with torch.no_grad():
        assert torch.allclose(
            torch.tensor(json.loads(out.stdout)), model(IDS).logits, rtol=0, atol=1e-6
        )
    assert "MISSING" not in out.stderr


def test_head_and_backbone_receive_gradient(model):
    model(IDS, labels=torch.tensor([0, 1])).loss.backward()
    assert model.head.weight.grad.abs().sum() > 0
    assert model.distilbert.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def test_loss_is_cross_entropy_and_only_there_with_labels(model):
    output = model(IDS, labels=torch.tensor([0, 1]))
    expected = torch.nn.functional.cross_entropy(output.logits, torch.tensor([0, 1]))
    assert torch.equal(output.loss, expected)
    assert model(IDS).loss is None


def test_padding_does_not_change_logits(model):
    padded = torch.nn.functional.pad(IDS, (0, 7))
    mask = (padded != 0).long()
    with torch.no_grad():
        assert torch.allclose(model(padded, mask).logits, model(IDS).logits, rtol=0, atol=1e-6)


def test_hidden_states_and_attentions_come_through(model):
    model.set_attn_implementation("eager")
    output = model(IDS, output_hidden_states=True, output_attentions=True)
    assert [h.shape for h in output.hidden_states] == [(2, 6, 32)] * 3
    assert [a.shape for a in output.attentions] == [(2, 4, 6, 6)] * 2


def test_labels_have_names(model, tmp_path):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"] == {"0": "NEGATIVE", "1": "POSITIVE"}
    assert config["seq_classif_dropout"] == 0.1
    assert config["architectures"] == ["CustomHeadDistilBert"]


def test_the_seed_decides_the_head(tiny_bert):
    backbone = load_backbone(str(tiny_bert))
    first, again, other = (build_model(backbone, seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_only_the_head_of_a_distilbert_checkpoint_is_new(model, tmp_path):
    saved = DistilBertForMaskedLM(model.config)
    saved.save_pretrained(tmp_path)
    loaded, report = CustomHeadDistilBert.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) == {"head.weight", "head.bias"}
    assert not report["unexpected_keys"]
    name = "distilbert.transformer.layer.1.ffn.lin1.weight"
    assert torch.equal(loaded.state_dict()[name], saved.state_dict()[name])


def test_minilm_reads_long_reviews_although_its_saved_tokenizer_cuts_at_128():
    tokenizer = load_backbone("minilm").tokenizer
    short, long = tokenize(tokenizer, ["good", "good " * 400]).ids
    assert len(short) == 3
    assert len(long) == 402


def test_minilm_is_not_called_distilbert():
    assert "MiniLM" in load_backbone("minilm").title


def test_changed_weights_are_refused_with_both_hashes(tiny_bert, monkeypatch):
    package = SimpleNamespace(locate_file=lambda _: tiny_bert)
    monkeypatch.setattr("utils.modeling.pretrained.distribution", lambda _: package)
    with pytest.raises(InputError, match=r"SHA-256 [0-9a-f]{64}, expected 53aa51"):
        load_backbone("minilm")


def test_another_architecture_is_refused(tmp_path):
    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="gpt2 checkpoint: give a DistilBERT or BERT"):
        load_backbone(str(tmp_path))


def test_the_teacher_is_refused_where_its_architecture_does_not_fit(tmp_path):
    with pytest.raises(InputError, match=r"BACKBONE=mpnet is the research's teacher"):
        load_backbone("mpnet")
    MPNetConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="mpnet checkpoint: give a DistilBERT or BERT"):
        load_backbone(str(tmp_path))


def test_a_pipeline_cuts_at_512_whatever_a_checkpoint_says(model, tiny_bert, tmp_path):
    model.save_pretrained(tmp_path)
    load_backbone(str(tiny_bert)).tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    saved = json.loads(path.read_text())
    for length in (None, 128):
        changed = saved | {"model_max_length": length}
        path.write_text(json.dumps({k: v for k, v in changed.items() if v is not None}))
        tokenizer = load_backbone(str(tmp_path)).tokenizer
        assert len(tokenizer("great " * 600, truncation=True)["input_ids"]) == 512
        tokenizer.save_pretrained(tmp_path / "again")
        again = AutoTokenizer.from_pretrained(tmp_path / "again")
        assert len(again("great " * 600, truncation=True)["input_ids"]) == 512


@pytest.fixture
def masked(tiny_bert, tmp_path) -> Path:
    """The folder of a BERT with a masked-language head, as save_pretrained leaves it."""
    folder = tmp_path / "masked"
    torch.manual_seed(3)
    config = BertConfig.from_pretrained(tiny_bert)
    BertForMaskedLM(config).save_pretrained(folder)
    for path in tiny_bert.glob("*token*"):
        shutil.copy(path, folder)
    return folder


def same_weights(folder: Path, expected: dict) -> bool:
    found = load_backbone(str(folder)).weights
    same = all(torch.equal(found[name], value) for name, value in expected.items())
    return same and found.keys() == expected.keys()


def test_any_layout_of_a_bert_gives_the_same_weights_without_its_heads(masked):
    bert = BertForMaskedLM.from_pretrained(masked)
    expected = bert_to_distilbert(bert.bert.state_dict())
    assert same_weights(masked, expected)
    bert.save_pretrained(masked, max_shard_size="10KB")
    (masked / "model.safetensors").unlink()
    assert len(list(masked.glob("model-*-of-*.safetensors"))) > 2
    assert same_weights(masked, expected)
    first = min(masked.glob("model-*"))
    index = masked / "model.safetensors.index.json"
    before = index.read_text()
    for name in ("../elsewhere.safetensors", "/elsewhere.safetensors", "absent.safetensors"):
        index.write_text(before.replace(first.name, name))
        with pytest.raises(InputError, match=r"is missing, which model.safetensors.index"):
            load_backbone(str(masked))
    index.write_text(before)
    shutil.copy(max(masked.glob("model-*")), first)
    with pytest.raises(InputError, match=r"Two shards in .* hold"):
        load_backbone(str(masked))
    for path in masked.glob("model*"):
        path.unlink()
    torch.save(bert.state_dict(), masked / "pytorch_model.bin")
    assert same_weights(masked, expected)
    torch.save(bert.state_dict(), masked / "pytorch_model.bin",
               _use_new_zipfile_serialization=False)  # fmt: skip
    # torch's reader of that format takes sizes on trust, and would fill tensors with old memory
    with pytest.raises(InputError, match=r"before 1.6: save it again"):
        load_backbone(str(masked))
    (masked / "pytorch_model.bin").unlink()
    with pytest.raises(InputError, match="holds no weights"):
        load_backbone(str(masked))


def test_a_checkpoint_in_a_pickle_runs_nothing(masked, tmp_path):
    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (masked / "model.safetensors").unlink()
    torch.save({"a": Payload()}, masked / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model.bin holds 0 models"):
        load_backbone(str(masked))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("change", [{"num_hidden_layers": 3}, {"num_hidden_layers": 1},
                                    {"intermediate_size": 99}])  # fmt: skip
def test_weights_that_do_not_fit_their_configuration_are_refused(masked, change):
    path = masked / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=r"does not fit its own config.json"):
        load_backbone(str(masked))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_checkpoint_with_code_of_its_own_is_refused(masked, name):
    saved = json.loads((masked / name).read_text())
    (masked / name).write_text(json.dumps(saved | {"auto_map": {"AutoConfig": "code.Mine"}}))
    with pytest.raises(InputError, match=f"{name} names code .*auto_map"):
        load_backbone(str(masked))


def doubled(weights):
    return weights | {name.removeprefix("bert."): value for name, value in weights.items()}


def with_nan(weights):
    return weights | {
        name: value * float("nan") for name, value in weights.items() if "dense" in name
    }


def quantised(weights):
    return {name: (50 * value).to(torch.int8) for name, value in weights.items()}


@pytest.mark.parametrize(("change", "why"), [
    (doubled, "holds two encoders"), (with_nan, "holds NaN"), (quantised, "is it quantised")
])  # fmt: skip
def test_weights_that_are_not_those_of_one_encoder_are_refused(masked, change, why):
    weights = change(load_file(masked / "model.safetensors"))
    save_file({k: v.clone() for k, v in weights.items()}, masked / "model.safetensors")
    with pytest.raises(InputError, match=why):
        load_backbone(str(masked))


def test_a_decoder_is_refused(masked):
    path = masked / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"is_decoder": True}))
    with pytest.raises(InputError, match="is a decoder"):
        load_backbone(str(masked))


def test_a_backbone_without_a_tokenizer_is_refused(masked):
    """transformers would make one up, of five words, and all others would be [UNK]."""
    for path in masked.glob("*token*"):
        path.unlink()
    with pytest.raises(InputError, match="has no tokenizer"):
        load_backbone(str(masked))


def test_weights_that_are_no_bert_are_refused(tiny_bert):
    weights = load_file(tiny_bert / "model.safetensors")
    weights["encoder.layer.0.strange.weight"] = torch.zeros(1)
    with pytest.raises(InputError, match="not the weights of a BERT"):
        bert_to_distilbert(weights)


def test_a_missing_folder_is_named():
    with pytest.raises(InputError, match="BACKBONE=no/such/folder"):
        load_backbone("no/such/folder")


def test_saved_tokenizer_reads_the_same(tmp_path):
    tokenizer = load_backbone("minilm").tokenizer
    tokenizer.save_pretrained(tmp_path)
    texts = ["Café, naïve & GOOD!", "word " * 600]
    assert tokenize(AutoTokenizer.from_pretrained(tmp_path), texts) == tokenize(tokenizer, texts)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_folding_the_head_is_exact_in_float64(model, temperature):
    torch.nn.init.normal_(model.head.bias)  # a zero bias would hide a mistake
    model = model.double()
    mask = torch.tensor([[1] * 6, [1, 1, 1, 0, 0, 0]])
    with torch.no_grad():
        expected = model(IDS, mask).logits / temperature
        found = fold_head(model, temperature)(IDS, mask).logits
    assert (found - expected).abs().max() < 1e-9


def test_a_folded_model_stays_on_its_device(model):
    assert fold_head(model.to("meta")).device.type == "meta"


def test_unfolding_gives_our_class_again(model):
    torch.nn.init.normal_(model.head.bias)
    again = unfold_head(fold_head(model))
    assert isinstance(again, CustomHeadDistilBert)
    assert all(torch.equal(again.state_dict()[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("part", ["pre_classifier.weight", "pre_classifier.bias",
                                  "classifier.weight", "classifier.bias"])  # fmt: skip
def test_a_head_that_is_not_folded_is_refused(model, part):
    stock = fold_head(model)
    with torch.no_grad():
        stock.get_parameter(part).view(-1)[-1] += 0.1
    with pytest.raises(InputError, match="not a folded linear layer"):
        unfold_head(stock)


@pytest.mark.parametrize("change", [{"num_labels": 10**9}, {"num_labels": "2"},
                                    {"num_hidden_layers": 3000}])  # fmt: skip
def test_a_configuration_that_only_costs_time_is_refused(masked, change):
    path = masked / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=r"num_labels=|should have 3000, of 48 at most"):
        load_backbone(str(masked))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "vocab.txt"])
def test_a_link_to_a_device_is_not_read(masked, name):
    for path in masked.glob("tokenizer.json"):
        path.unlink()
    (masked / name).unlink(missing_ok=True)
    (masked / name).symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is no regular file"):
        load_backbone(str(masked))


def test_a_backbone_that_cannot_be_what_it_says_is_one_sentence(masked):
    config = json.loads((masked / "config.json").read_text())
    (masked / "config.json").write_text(json.dumps(config | {"num_attention_heads": 7}))
    with pytest.raises(InputError, match="7 attention heads, or none, which do not divide"):
        load_backbone(str(masked))
    (masked / "adapter_model.safetensors").touch()
    with pytest.raises(InputError, match="holds an adapter"):
        load_backbone(str(masked))


# What the Hub's distilbert-base-uncased says, but smaller, with a key of older releases.
PUBLISHED = {
    "activation": "gelu", "architectures": ["DistilBertForMaskedLM"], "attention_dropout": 0.1,
    "dim": 32, "dropout": 0.1, "hidden_dim": 64, "initializer_range": 0.02,
    "max_position_embeddings": 512, "model_type": "distilbert", "n_heads": 4, "n_layers": 2,
    "pad_token_id": 0, "qa_dropout": 0.1, "seq_classif_dropout": 0.2,
    "sinusoidal_pos_embds": False, "tie_weights_": True, "transformers_version": "4.10.0.dev0",
}  # fmt: skip


@pytest.mark.parametrize("more", [{}, {"return_dict": False, "output_past": True}])
def test_a_published_backbone_can_be_exported_and_loaded(tiny_bert, tmp_path, more):
    tokenizer = load_backbone(str(tiny_bert)).tokenizer
    folder = tmp_path / "published"
    config = DistilBertConfig(**PUBLISHED | {"vocab_size": len(tokenizer)})
    DistilBertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    said = PUBLISHED | {"vocab_size": len(tokenizer)} | more
    (folder / "config.json").write_text(json.dumps(said))
    backbone = load_backbone(str(folder))
    model = fold_head(build_model(backbone, seed=0))
    write_model(model, backbone.tokenizer, "# A card", {}, tmp_path / "exported")
    found = Classifier.from_folder(tmp_path / "exported").predict("great film")
    assert len(found) == 1


def test_a_configuration_that_leads_to_another_file_is_not_followed(masked):
    config = json.loads((masked / "config.json").read_text())
    (masked / "config.4.0.0.json").write_text(json.dumps(config | {"num_labels": 3_000_000}))
    leads = config | {"configuration_files": ["config.4.0.0.json"]}
    (masked / "config.json").write_text(json.dumps(leads))
    assert load_backbone(str(masked)).config.num_labels == 2


@pytest.mark.parametrize("change", [
    {"num_attention_heads": 0}, {"hidden_act": "nothing"}, {"pad_token_id": 99_999},
    {"hidden_dropout_prob": 5}, {"vocab_size": 0},
])  # fmt: skip
def test_a_configuration_that_cannot_be_is_one_sentence(masked, change):
    config = json.loads((masked / "config.json").read_text())
    (masked / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError):
        load_backbone(str(masked))
