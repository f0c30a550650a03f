"""Models pickled whole, or as a state dict, read without running anything that is in them."""

import pickle
import re
import types
from collections import OrderedDict
from itertools import count, islice
from pathlib import Path

import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from utils import InputError
from utils.manifest import is_pointer
from utils.model import LABELS, CustomHeadDistilBert, fold_head
from utils.text import MAX_TOKENS

# The only things that a file may name and get; each builds or describes a tensor, no more.
ALLOWED = {
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    ("collections", "OrderedDict"): OrderedDict,
}
MOST_NAMES = 10_000  # of a file's containers; a few hundred bytes can describe endlessly many


class Stub:
    """Stands in for whatever else a file names: keeps its state, does nothing."""

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return Stub()

    def __setstate__(self, state):
        if isinstance(state, tuple) and len(state) == 2:  # of a class with slots
            state = {**(state[0] or {}), **(state[1] or {})}
        if isinstance(state, dict):
            self.__dict__["state"] = state

    def append(self, item):
        """A list's part of the pickle protocol, ignored."""

    def extend(self, items):
        """The same, for several."""

    def __setitem__(self, key, value):
        pass


class RestrictedUnpickler(pickle._Unpickler):
    """Rebuilds tensors and containers; every other class or function becomes an inert Stub.

    It derives from the unpickler in Python: the one in C allocates whatever size a file names.
    """

    def find_class(self, module: str, name: str):
        """What a file gets for the name of a class or function."""
        found = ALLOWED.get((module, name))
        if found is None:
            return type(name.rpartition(".")[2], (Stub,), {})
        if isinstance(found, types.FunctionType):
            return lambda *args: found(*args)  # a new one each time: a file may try to change it
        return found


def read_legacy(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """The tensors of a file that `torch.save` wrote, by name, and the pickled configuration.

    The file holds a whole module or a state dict; the configuration is empty where it has none.
    Nothing in the file is run. Raises InputError where the file is missing, cut short, a pointer
    to weights elsewhere, or of another kind.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist.")
    if is_pointer(path):
        raise InputError(f"{path.name} is a Git LFS pointer, no weights: `git lfs pull`.")
    restricted = types.SimpleNamespace(Unpickler=RestrictedUnpickler, __name__="restricted")
    try:
        # Not torch.load: it chooses among formats, of which some run or extract what they hold.
        try:
            reader = torch._C.PyTorchFileReader(str(path))
        except RuntimeError as error:
            raise InputError(
                f"{path.name} ({path.stat().st_size:,} bytes) is no file that torch.save of torch "
                "1.6 or later wrote, or is cut short: download it again."
            ) from error
        if "constants.pkl" in reader.get_all_records():
            raise InputError(f"{path.name} is TorchScript, not weights: export it with torch.save.")
        loaded = torch.serialization._load(reader, "cpu", restricted, encoding="utf-8")
        tensors = dict(islice(_tensors(loaded, "", count()), MOST_NAMES))
        size = path.stat().st_size
        for name, tensor in tensors.items():
            if tensor.numel() * tensor.element_size() > size:
                raise InputError(f"{path.name} says that {name} is larger than the whole file.")
        configuration = _configuration(loaded, count())
    except InputError:
        raise
    except Exception as error:  # a hostile file can make the unpickler raise anything
        raise InputError(
            f"{path.name} cannot be read ({type(error).__name__}: {str(error)[:120]}): it is "
            "damaged, or not what torch.save writes of a model."
        ) from error
    if not tensors:
        raise InputError(f"{path.name} holds no tensors: give a model or a state dict.")
    return tensors, configuration


def _tensors(value, prefix: str, visited: count):
    """Pairs of dotted name and tensor, from a state dict or the state of a pickled module."""
    _visit(visited)
    if isinstance(value, Stub):
        state = vars(value).get("state", {})
        for part in ("_parameters", "_buffers", "_modules"):
            yield from _tensors(state.get(part), prefix, visited)
    elif isinstance(value, dict):
        for name, child in value.items():
            if isinstance(child, torch.Tensor):
                yield f"{prefix}{name}", child.detach()
            elif isinstance(child, Stub | dict):
                yield from _tensors(child, f"{prefix}{name}.", visited)


def _configuration(value, visited: count) -> dict:
    """The state of the first `config` in a pickled module or the modules in it."""
    _visit(visited)
    state = vars(value).get("state", {}) if isinstance(value, Stub) else {}
    config = state.get("config")
    if isinstance(config, Stub):
        return vars(config).get("state", {})
    modules = (state.get("_modules") or {}).values()
    return next(filter(None, (_configuration(child, visited) for child in modules)), {})


def _visit(visited: count) -> None:
    if next(visited) > MOST_NAMES:
        raise ValueError("it nests containers without end")


def legacy_model(
    tensors: dict[str, torch.Tensor], configuration: dict, heads: int | None = None
) -> DistilBertForSequenceClassification:
    """The stock class with the weights of `read_legacy`, whatever the original's names were.

    A head of one linear layer on [CLS] is folded; one of two layers is kept as it is. `heads` is
    needed where the file has no configuration and the width is not DistilBERT's 768. Raises
    InputError where the weights are not those of a DistilBERT with such a head.
    """
    weights = {_name(name): tensor.float() for name, tensor in tensors.items()}
    weights.pop("distilbert.embeddings.position_ids", None)  # a buffer of older versions
    try:
        vocabulary, dim = weights["distilbert.embeddings.word_embeddings.weight"].shape
        positions = len(weights["distilbert.embeddings.position_embeddings.weight"])
        hidden = len(weights["distilbert.transformer.layer.0.ffn.lin1.bias"])
        classes = len(weights["classifier.bias"])
    except KeyError as error:
        raise InputError(
            f"These are not the weights of a DistilBERT classifier: {error} is missing, there are "
            f"{', '.join(sorted(map(str, tensors))[:3])} and others."
        ) from error
    except (TypeError, ValueError) as error:
        raise InputError("The weights have not the shapes of a DistilBERT's.") from error
    heads = heads or configuration.get("n_heads") or (12 if dim == 768 else None)
    if heads is None:
        raise InputError(
            f"The file does not say how many attention heads its {dim} dimensions have: give "
            "--heads, the n_heads of the training's config.json."
        )
    if not isinstance(heads, int) or heads < 1 or dim % heads:
        raise InputError(f"{heads} attention heads do not divide {dim} dimensions.")
    activation = configuration.get("activation", "gelu")
    if activation not in ("gelu", "relu"):
        raise InputError(f"The activation {activation!r} is not one of DistilBERT's, gelu or relu.")
    layers = {m[1] for name in weights if (m := re.search(r"\.layer\.(\d+)\.", name))}
    if classes != len(LABELS):
        raise InputError(f"The head has {classes} classes: two are needed, negative and positive.")
    config = DistilBertConfig(
        vocab_size=vocabulary,
        dim=dim,
        hidden_dim=hidden,
        max_position_embeddings=positions,
        n_layers=len(layers),
        n_heads=heads,
        activation=activation,
        id2label=LABELS,
        label2id={name: number for number, name in LABELS.items()},
    )
    if positions < MAX_TOKENS:
        raise InputError(
            f"The model reads {positions} tokens at most: one that reads {MAX_TOKENS} is needed."
        )
    stock = "pre_classifier.weight" in weights
    if not stock:
        for part in ("weight", "bias"):
            weights[f"head.{part}"] = weights.pop(f"classifier.{part}")
    model = (DistilBertForSequenceClassification if stock else CustomHeadDistilBert)(config).eval()
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"The weights do not fit a DistilBERT of {len(layers)} layers: {str(error)[:400]}"
        ) from error
    return model if stock else fold_head(model)


def _name(name: str) -> str:
    """A parameter's name in today's classes, from the names that the originals gave it."""
    name = name.removeprefix("module.")  # of DataParallel
    name = re.sub(r"^(model|bert)\.(distilbert\.)?", "distilbert.", name)
    name = re.sub(r"^distilbert\.((pre_)?classifier|head)\.", r"\1.", name)
    return re.sub(r"^head\.", "classifier.", name)
