"""The pretrained encoders that the head can stand on, in DistilBERT's layout; and a teacher."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from transformers import (
    CONFIG_MAPPING,
    DistilBertModel,
    MPNetForSequenceClassification,
    MPNetModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from utils import InputError
from utils.hardware import device
from utils.hub import HUB_BACKBONE, HUB_REVISIONS, require_hub
from utils.labels import LABELS
from utils.manifest import is_pointer
from utils.modeling.attention import attention
from utils.modeling.bert import bert_to_distilbert, distilbert_config
from utils.modeling.exported import MOST_LAYERS
from utils.modeling.model import CustomHeadDistilBert
from utils.modeling.pickles import read_pickle
from utils.modeling.pretrained import MINILM, MPNET, minilm_folder, mpnet_folder
from utils.modeling.tokenizer import load_tokenizer, model_config, read_json
from utils.paths import resolve_path
from utils.text import MAX_TOKENS

DROPOUT = 0.1  # before the head
HUB_NAMES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


@dataclass(frozen=True)
class Backbone:
    """A pretrained encoder, with its tokenizer: in DistilBERT's layout, but for the teacher."""

    title: str  # says what it is: MiniLM is never called distilbert-base-uncased
    learning_rate: float  # a usual one for its width
    config: PreTrainedConfig
    weights: dict[str, torch.Tensor]  # of a DistilBertModel; of an MPNetModel, for the teacher
    tokenizer: PreTrainedTokenizerBase


def load_backbone(name: str, teacher: bool = False) -> Backbone:
    """`distilbert` (from the Hub), `minilm` (from its package, else the Hub), or a folder.

    A `teacher` may also be `mpnet`, which is of another architecture and five times as large: the
    research trains it, and nothing else can.

    Raises InputError where the files are missing, are not the pinned ones, or hold another
    architecture.
    """
    if known := NAMED.get(name):
        if known.teacher and not teacher:
            raise InputError(f"BACKBONE={name} is the research's teacher, which "
                             "scripts/research.py alone trains: give distilbert, minilm or a "
                             "folder.")  # fmt: skip
        return _load_checkpoint(known.folder(), known.title, teacher)
    folder = resolve_path(name)
    if not (folder / "config.json").exists():
        raise InputError(f"BACKBONE={name}: there is no folder with a config.json.")
    return _load_checkpoint(folder, folder.name, teacher)


def _hub_folder() -> Path:
    """The folder of the Hub's cache with the backbone's files, which are fetched where missing."""
    require_hub(HUB_BACKBONE, "BACKBONE=minilm")
    revision = HUB_REVISIONS[HUB_BACKBONE]
    try:
        files = [hf_hub_download(HUB_BACKBONE, name, revision=revision) for name in HUB_NAMES]
    except Exception as error:
        raise InputError(
            f"The Hub did not give {HUB_BACKBONE} ({type(error).__name__}: {str(error)[:200]}). "
            "Try again later, or use BACKBONE=minilm."
        ) from error
    return Path(files[0]).parent


@dataclass(frozen=True)
class Named:
    """A backbone that has a name; a new one is one entry in NAMED."""

    title: str
    hub_name: str
    licence: str
    folder: Callable[[], Path]  # with its files
    teacher: bool = False  # of another architecture, for the research alone


NAMED = {
    "distilbert": Named(
        HUB_BACKBONE, "distilbert/distilbert-base-uncased", "Apache 2.0", _hub_folder
    ),
    "minilm": Named(
        f"{MINILM} in DistilBERT's layout", f"sentence-transformers/{MINILM}", "Apache 2.0",
        minilm_folder,
    ),
    "mpnet": Named(
        MPNET, f"sentence-transformers/{MPNET}", "Apache 2.0", mpnet_folder, teacher=True
    ),
}  # fmt: skip


def _load_checkpoint(folder: Path, title: str, teacher: bool = False) -> Backbone:
    """The checkpoint of a DistilBERT or BERT in a folder, or a teacher's."""
    said = model_config(folder)
    kind = said["model_type"]
    if kind == "mpnet" and not teacher:
        raise InputError(f"{title} is a {kind} checkpoint: give a DistilBERT or BERT one.")
    try:
        config = CONFIG_MAPPING[kind].from_dict(own_keys(said, CONFIG_MAPPING[kind]))
        weights = load_weights(folder)
        _check_numbers(weights, kind, title)
        weights = {name: tensor.float() for name, tensor in weights.items()}
        if kind == "bert":
            config, weights = distilbert_config(config), bert_to_distilbert(weights)
        else:
            config.dtype = torch.float32
            weights = _encoder(weights, kind)
        heads = config.num_attention_heads
        if heads < 1 or config.hidden_size % heads:
            raise InputError(f"{title}: its config.json says {heads} attention heads, or none, "
                             f"which do not divide its width, {config.hidden_size}: correct it."
                             )  # fmt: skip
        _check_shapes(config, weights, title)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"The backbone {title} cannot be loaded ({type(error).__name__}: {str(error)[:200]}). "
            "Check the folder, or use BACKBONE=minilm."
        ) from error
    if config.max_position_embeddings < MAX_TOKENS:
        raise InputError(
            f"{title} reads {config.max_position_embeddings} tokens at most: give one that reads "
            f"{MAX_TOKENS}."
        )
    tokenizer = load_tokenizer(folder, config.vocab_size)
    # Usual ones: a narrow encoder bears, and needs, larger steps than one of BERT-base's width.
    learning_rate = 3e-5 if config.hidden_size >= 768 else 1e-4
    return Backbone(title, learning_rate, config, weights, tokenizer)


def own_keys(said: dict, kind: type[PreTrainedConfig]) -> dict:
    """What a configuration says of a type's own shape: nothing that has any model answer otherwise.

    Published ones hold keys of older releases, too, which an export would be refused for.
    """
    known = {*kind().to_dict(), *kind.attribute_map} - PreTrainedConfig().to_dict().keys()
    return {key: value for key, value in said.items() if key in known}


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint's folder, by name: safetensors or a pickle, whole or in shards.

    Nothing in a pickle is run. Raises InputError where there are none, a shard is missing, a file
    is damaged or holds something else, or an adapter lies beside them.
    """
    if adapters := sorted(file.name for file in folder.glob("adapter_*")):
        raise InputError(f"{folder.name} holds an adapter, {adapters[0]}: merge it into the "
                         "model (merge_and_unload), and save that.")  # fmt: skip
    files, expected = weight_files(folder)
    weights = {}
    for file in files:
        found = _read_file(file)
        if twice := weights.keys() & found.keys():
            raise InputError(f"Two shards in {folder} hold {min(twice)}: download them again.")
        weights |= found
    if absent := sorted(expected - set(weights)):
        raise InputError(f"The shards in {folder} lack {absent[0]}: download them again.")
    return weights


def weight_files(folder: Path) -> tuple[list[Path], set[str]]:
    """The files in which a checkpoint's tensors are, and the names that an index says they have.

    Raises InputError where there are none, or a shard is missing.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return [folder / name], set()
        if index.is_file():
            try:
                places = dict(read_json(index)["weight_map"])
                shards = sorted(set(map(str, places.values())))
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(f"{index} is damaged: download the folder again.") from error
            for shard in shards:
                # A name only: an index may not lead out of its folder.
                if Path(shard).name != shard or not (folder / shard).is_file():
                    raise InputError(f"{folder / shard} is missing, which {index.name} lists: "
                                     "download the folder again.")  # fmt: skip
            return [folder / shard for shard in shards], set(places)
    raise InputError(
        f"{folder} holds no weights: neither model.safetensors nor pytorch_model.bin, nor shards."
    )


def _read_file(path: Path) -> dict[str, torch.Tensor]:
    read = load_file if path.suffix == ".safetensors" else _load_pickle
    if is_pointer(path):
        raise InputError(f"{path} is a Git LFS pointer, no weights: `git lfs pull`.")
    try:
        weights = read(path)
    except InputError:
        raise
    except Exception as error:  # of several libraries
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {str(error)[:200]}): it is damaged, "
            "or holds more than weights."
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(k, str) for k in weights):
        raise InputError(f"{path} is no state dict: save model.state_dict().")
    return {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)}


def _load_pickle(path: Path):
    groups = read_pickle(path)
    if len(groups) != 1:
        raise InputError(f"{path} holds {len(groups)} models: one state dict is needed.")
    return groups[0].tensors


def _encoder(weights: dict[str, torch.Tensor], kind: str) -> dict[str, torch.Tensor]:
    """The encoder's part of a DistilBERT's weights, or of an MPNet's; heads are left out."""
    prefix = f"{kind}."
    if any(name.startswith(prefix) for name in weights):
        weights = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    unused = ("pooler.", "embeddings.position_ids")
    return {name: value for name, value in weights.items() if not name.startswith(unused)}


def _check_numbers(weights: dict[str, torch.Tensor], kind: str, title: str) -> None:
    """Raise InputError where weights are of two encoders, not finite, or whole numbers."""
    inside = {True: set(), False: set()}
    for name, tensor in weights.items():
        if re.match(rf"({kind}\.)?(embeddings|encoder|transformer)\.", name):
            inside[name.startswith(f"{kind}.")].add(name)
            if not name.endswith("position_ids") and not tensor.is_floating_point():
                raise InputError(f"{title}: {name} holds whole numbers: is it quantised? Give the "
                                 "checkpoint that is not.")  # fmt: skip
            if not tensor.isfinite().all():
                raise InputError(f"{title}: {name} holds NaN or infinite numbers: its training had "
                                 "failed.")  # fmt: skip
    if all(inside.values()):
        raise InputError(f"{title} holds two encoders, one of names that begin with {kind}. and "
                         "one without: save one alone.")  # fmt: skip


def _check_shapes(config: PreTrainedConfig, weights: dict[str, torch.Tensor], title: str) -> None:
    """Raise InputError where weights are missing, have no place, or are not of their shapes."""
    layers = getattr(config, "n_layers", None) or config.num_hidden_layers
    held = {name.split("layer.")[1].split(".")[0] for name in weights if "layer." in name}
    if len(held) != layers or layers > MOST_LAYERS:
        raise InputError(f"The backbone {title} does not fit its own config.json: it has "
                         f"{len(held)} layers, and should have {layers}, of {MOST_LAYERS} "
                         "at most.")  # fmt: skip
    with torch.device("meta"):  # which has shapes, and no memory
        encoder = (MPNetModel if config.model_type == "mpnet" else DistilBertModel)(config)
    shapes = {name: value.shape for name, value in encoder.state_dict().items()}
    shapes = {k: shape for k, shape in shapes.items() if not k.startswith("pooler.")}
    found = {name: value.shape for name, value in weights.items()}
    names = sorted(shapes.keys() | found.keys())
    if wrong := [name for name in names if shapes.get(name) != found.get(name)]:
        say = {shape: list(shape) for shape in (*shapes.values(), *found.values())}
        name = wrong[0]
        raise InputError(
            f"The backbone {title} does not fit its own config.json: {name} should be "
            f"{say.get(shapes.get(name), 'absent')} and is {say.get(found.get(name), 'missing')}."
        )


def build_model(backbone: Backbone, seed: int) -> PreTrainedModel:
    """The backbone with a new head, seeded first, so that a seed always gives the same head.

    On a CPU attention dropout is off: `make bench` measures what it costs there.
    """
    set_seed(seed)
    kind = CustomHeadDistilBert
    if backbone.config.model_type == "mpnet":
        kind = MPNetForSequenceClassification
    config = kind.config_class.from_dict(
        {
            **own_keys(backbone.config.to_dict(), kind.config_class),
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
