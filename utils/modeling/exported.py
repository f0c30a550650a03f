"""The model in an exported folder, whose configuration and weights must fit each other."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load
from transformers import DistilBertConfig

from utils import InputError
from utils.labels import LABELS
from utils.modeling.tokenizer import model_config
from utils.text import MAX_TOKENS

if TYPE_CHECKING:  # it takes seconds, which a service that needs no gradients does not have
    from transformers import DistilBertForSequenceClassification

MOST_LAYERS = 48  # of a stranger's model; each takes time to build, whatever is in it


def exported_config(folder: Path) -> DistilBertConfig:
    """The configuration of an exported folder; InputError where it is of anything else.

    transformers would follow some of its keys to other files.
    """
    said = model_config(folder)
    if said["model_type"] != "distilbert":
        raise InputError(f"it holds a {said['model_type']}, no export of a DistilBERT.")
    usual = DistilBertConfig().to_dict()
    if unknown := sorted(said.keys() - usual.keys()):
        raise InputError(f"its config.json has the key {unknown[0]!r}, which no export has.")
    for key in ("return_dict", "chunk_size_feed_forward", "output_attentions",
                "output_hidden_states", "problem_type"):  # fmt: skip
        if said.get(key, usual[key]) != usual[key]:
            raise InputError(f"its config.json has {key}={said[key]!r:.40}, which no export has.")
    config = DistilBertConfig.from_dict(said)
    if config.id2label != LABELS or config.label2id != {name: n for n, name in LABELS.items()}:
        raise InputError(f"its classes are {config.id2label}, and should be {LABELS}.")
    if config.max_position_embeddings < MAX_TOKENS:
        raise InputError(f"it reads {config.max_position_embeddings} tokens, not {MAX_TOKENS}.")
    return config


def exported_model(
    config: DistilBertConfig, safetensors: bytes
) -> "DistilBertForSequenceClassification":
    """The stock class with a folder's weights, in fp32; InputError where they do not fit it.

    transformers would fill up what is missing with random weights.
    """
    from transformers import DistilBertForSequenceClassification

    weights = load(safetensors)
    if whole := [name for name, tensor in weights.items() if not tensor.is_floating_point()]:
        raise InputError(f"{whole[0]} holds whole numbers, no weights: is it quantised?")
    weights = {name: tensor.float() for name, tensor in weights.items()}
    layers = {name.split(".layer.")[1].split(".")[0] for name in weights if ".layer." in name}
    if len(layers) != config.n_layers or len(layers) > MOST_LAYERS:
        raise InputError(f"it has {len(layers)} layers, and its config.json {config.n_layers}.")
    with torch.device("meta"):  # which has shapes, and no memory
        empty = DistilBertForSequenceClassification(config).state_dict()
    for name in sorted(empty.keys() | weights.keys()):
        shapes = [list(part[name].shape) if name in part else "none" for part in (empty, weights)]
        if shapes[0] != shapes[1]:
            raise InputError(f"{name} should have the shape {shapes[0]}, and has {shapes[1]}.")
    if wrong := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise InputError(f"{wrong[0]} holds NaN or infinite numbers.")
    return DistilBertForSequenceClassification.from_pretrained(
        None, config=config, state_dict=weights, dtype=torch.float32
    )
