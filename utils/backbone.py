"""The pretrained encoders that the head can stand on, in DistilBERT's layout; and a teacher."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoTokenizer,
    DistilBertTokenizer,
    MPNetForSequenceClassification,
    MPNetTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from utils import InputError
from utils.bert import bert_to_distilbert, distilbert_config
from utils.hardware import attention, device
from utils.hub import HUB_BACKBONE, require_hub
from utils.model import LABELS, CustomHeadDistilBert
from utils.packaged import MINILM, MPNET, minilm_folder, mpnet_folder
from utils.settings import resolve_path
from utils.text import MAX_TOKENS

DROPOUT = 0.1  # before the head


@dataclass(frozen=True)
class Backbone:
    """A pretrained encoder, with its tokenizer: in DistilBERT's layout, but for the teacher."""

    title: str  # says what it is: MiniLM is never called distilbert-base-uncased
    learning_rate: float  # a usual one for its width
    config: PreTrainedConfig
    weights: dict[str, torch.Tensor]  # of a DistilBertModel; of an MPNetModel, for the teacher
    tokenizer: PreTrainedTokenizerBase
    head: dict[str, torch.Tensor] | None = None  # of an earlier training; else a new one


def load_backbone(name: str, teacher: bool = False) -> Backbone:
    """`distilbert` (from the Hub), `minilm` (from its package, else the Hub), or a folder.

    A `teacher` may also be `mpnet`, which is of another architecture and five times as large: the
    research trains it, and nothing else can.

    Raises InputError where the files are missing, are not the pinned ones, or hold another
    architecture.
    """
    if name == "distilbert":
        require_hub(HUB_BACKBONE, "BACKBONE=minilm")
        return _load_checkpoint(HUB_BACKBONE, HUB_BACKBONE)
    if name == "minilm":
        return _load_checkpoint(minilm_folder(), f"{MINILM} in DistilBERT's layout")
    if name == "mpnet":
        if not teacher:
            raise InputError("BACKBONE=mpnet is the research's teacher, which scripts/research.py "
                             "alone trains: give distilbert, minilm or a folder.")  # fmt: skip
        return _load_checkpoint(mpnet_folder(), MPNET, teacher)
    folder = resolve_path(name)
    if not (folder / "config.json").exists():
        raise InputError(f"BACKBONE={name}: there is no folder with a config.json.")
    return _load_checkpoint(folder, folder.name, teacher)


def _load_checkpoint(checkpoint: Path | str, title: str, teacher: bool = False) -> Backbone:
    """A DistilBERT or BERT checkpoint, or a teacher's: a folder, or a repository of the Hub."""
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
            )
        elif config.model_type == "mpnet" and teacher:
            weights = load_file(Path(checkpoint) / "model.safetensors")
            unused = ("pooler.", "embeddings.position_ids")
            weights = {k: v.float() for k, v in weights.items() if not k.startswith(unused)}
            tokenizer = MPNetTokenizer(vocab=str(Path(checkpoint) / "vocab.txt"))
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
    tokenizer.model_max_length = MAX_TOKENS  # where a pipeline cuts, whatever was saved
    # Usual ones: a narrow encoder bears, and needs, larger steps than one of BERT-base's width.
    learning_rate = 3e-5 if config.hidden_size >= 768 else 1e-4
    return Backbone(title, learning_rate, config, weights, tokenizer)


def build_model(backbone: Backbone, seed: int) -> PreTrainedModel:
    """The backbone with a new head, seeded first, so that a seed always gives the same head.

    A `head` that the backbone brings along takes the new one's place.

    On a CPU attention dropout is off: `make bench` measures what it costs there.
    """
    set_seed(seed)
    kind = CustomHeadDistilBert
    if backbone.config.model_type == "mpnet":
        kind = MPNetForSequenceClassification
    config = kind.config_class.from_dict(
        {
            **backbone.config.to_dict(),
            "architectures": [kind.__name__],
            "id2label": LABELS,
            "label2id": {name: number for number, name in LABELS.items()},
            "seq_classif_dropout": DROPOUT,
            "dtype": "float32",
        }
    )
    if device().type == "cpu":
        for name in ("attention_dropout", "attention_probs_dropout_prob"):
            if hasattr(config, name):
                setattr(config, name, 0.0)
    model = kind(config)
    load_encoder(model.base_model, backbone)
    if backbone.head:
        model.head.load_state_dict(backbone.head)
    if kind is CustomHeadDistilBert:  # MPNet's attention has a bias of its own
        model.set_attn_implementation(attention()[0])
    return model


def load_encoder(encoder: torch.nn.Module, backbone: Backbone) -> None:
    """Load the backbone's weights into an encoder of its layout.

    Raises InputError where one is missing, or has no place.
    """
    missing, unexpected = encoder.load_state_dict(backbone.weights, strict=False)
    unexplained = [key for key in missing if not key.endswith("position_ids")]
    if unexplained or unexpected:
        raise InputError(
            f"The backbone {backbone.title} does not fit its own config.json: "
            f"missing {unexplained[:3]}, unexpected {unexpected[:3]}."
        )
