"""Classifiers that others saved, by torch.save or save_pretrained, as transformers' own class."""

import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn.functional import pad
from transformers import DistilBertConfig, DistilBertForSequenceClassification, DistilBertModel

from utils import InputError
from utils.labels import LABEL_OF, LABELS
from utils.modeling.backbones import load_weights
from utils.modeling.configuration import configuration_of
from utils.modeling.exported import MOST_LAYERS
from utils.modeling.model import CustomHeadDistilBert, fold_head
from utils.modeling.pickles import WORDS, read_pickle
from utils.modeling.tokenizer import model_config
from utils.text import MAX_TOKENS

STOCK = DistilBertForSequenceClassification.__name__
STOCK_HEAD = ["pre_classifier", "classifier"]
# The modules of a DistilBERT, in each release of transformers.
PARTS = {"DistilBertModel", "Embeddings", "Transformer", "TransformerBlock", "FFN", "ModuleList"}
PARTS |= {"Embedding", "LayerNorm", "Linear", "Dropout", "MultiHeadSelfAttention"}
PARTS |= {"DistilBertSelfAttention", "DistilBertSdpaAttention", "DistilBertFlashAttention2"}
ACTIVATIONS = {"gelu": {"GELUActivation", "GELU"}, "relu": {"ReLU"}}
# Modules without an effect on what is predicted; losses and all kinds of dropout are known by name.
IDLE = {"Identity", "Sequential", "ModuleList", "ModuleDict"}
REGRESSION = {"MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"}
EACH_ALONE = {"BCELoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"}  # a yes or no a class
SILENT = (["label_0"], ["label_0", "label_1"], ["0"], ["0", "1"])  # names that say nothing
SAY_IT = "say the names of class 0 and class 1, for example --labels negative positive"


class Legacy(NamedTuple):
    """A model's tensors by name, its configuration, and its modules' classes by dotted name.

    The module itself has the name "". The configuration and the modules of a state dict are empty.
    """

    tensors: dict[str, torch.Tensor]
    configuration: dict
    modules: dict[str, str]


def read_legacy(path: Path) -> Legacy:
    """The one model in a file that `torch.save` wrote, or in a folder of `save_pretrained`.

    A file holds a whole module or a state dict, alone or beside other things. Nothing in it is run.
    Raises InputError where it is missing, damaged, of another kind, or holds two models.
    """
    if path.is_dir():
        config = model_config(path)
        if config["model_type"] != "distilbert":
            raise InputError(f"{path.name} is a {config['model_type']}, and only a DistilBERT "
                             "classifier can be converted.")  # fmt: skip
        names = config.get("architectures")
        name = str(names[0]) if isinstance(names, list) and names else ""
        layers = config.get("n_layers", config.get("num_hidden_layers"))
        config.pop("hidden_act", None)  # BERT's: transformers has DistilBERT's `activation` alone
        return Legacy(load_weights(path), configuration_of(config) | {"n_layers": layers},
                      {"": name})  # fmt: skip
    groups = read_pickle(path)
    if not groups:
        raise InputError(f"{path.name} holds no tensors: give a model or a state dict.")
    if len(groups) > 1 and any(key.endswith(WORDS) for key in groups[0].tensors):
        first, second = (group.name.rstrip(".") or "the outermost" for group in groups[:2])
        raise InputError(f"{path.name} holds two models, {first} and {second}: save one alone.")
    return Legacy(groups[0].tensors, groups[0].configuration, groups[0].modules)


def legacy_model(
    legacy: Legacy, heads: int | None = None, labels: list[str] | None = None
) -> tuple[DistilBertForSequenceClassification, list[str]]:
    """The stock class with the weights of `read_legacy`, and notes on what had to be assumed.

    Class 0 is NEGATIVE in it and class 1 POSITIVE. A head of one linear layer on [CLS] is folded;
    one of two, with ReLU between them, is kept. `heads` is needed where the file has no
    configuration and the width is not DistilBERT's 768; `labels`, the names of class 0 and class 1,
    where the file has others than usual. Raises InputError where the weights are not those of a
    DistilBERT with such a head.
    """
    tensors = {name.replace("_orig_mod.", ""): tensor for name, tensor in legacy.tensors.items()}
    modules = {f"{name}.".replace("_orig_mod.", "")[:-1]: kind
               for name, kind in legacy.modules.items()}  # fmt: skip
    if len(tensors) < len(legacy.tensors):
        raise InputError("The file has a compiled model and the same not compiled: which one is "
                         "meant? Save its state dict alone.")  # fmt: skip
    prefix = _prefix(tensors)
    inside = (f"{prefix}embeddings.", f"{prefix}transformer.")
    encoder = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(inside)}
    encoder.pop("embeddings.position_ids", None)  # a buffer of older versions
    floats = {name: t.float() for name, t in tensors.items() if t.is_floating_point()}  # as written
    if wrong := [name for name, tensor in floats.items() if not tensor.isfinite().all()]:
        raise InputError(f"{wrong[0]} holds NaN or infinite numbers: the training had failed.")
    config = _config(encoder, legacy.configuration, heads)
    assumed = {
        "n_heads": None if heads else f"{config.n_heads} attention heads a layer",
        "activation": f"{config.activation} as its activation",
    }
    silent = [text for key, text in assumed.items() if text and key not in legacy.configuration]
    notes = [f"The encoder is taken to have {text}: the file does not say." for text in silent]
    if left_out := legacy.configuration.get("left_out"):
        notes.append(f"Left out, since it is beside the model: {', '.join(left_out)}.")
    stock = [_check_class(kind) for kind in modules.values() if "DistilBertFor" in kind]
    stock = bool(stock) and modules.get("") == STOCK
    for name in [name for name in modules if name]:
        if f"{name}.".startswith(inside) or f"{name}." == prefix:
            kind = modules.pop(name)
            if kind not in PARTS | ACTIVATIONS[config.activation]:
                raise InputError(f"The encoder was changed: its {name} is a {kind}, which is none "
                                 f"of a DistilBERT's with {config.activation}.")  # fmt: skip
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(inside)}
    head = _head(rest, modules, config.dim)
    layers, places = list(head.values()), list(head)
    if stock and (len(places) != 2 or [p.rpartition(".")[2] for p in places] != STOCK_HEAD):
        raise InputError(f"This is a {STOCK} of which a part was changed: its head is "
                         f"{', '.join(places)}, not {', '.join(STOCK_HEAD)}.")  # fmt: skip
    notes += _check_modules(modules, places, len(layers[-1][1]), stock)
    flipped, said = _classes(legacy.configuration, labels, len(layers[-1][1]))
    weight, bias = layers[-1]
    if len(bias) == 1:  # softmax of 0 and z is the sigmoid of z
        weight, bias = pad(weight, (0, 0, 1, 0)), pad(bias, (1, 0))
    if flipped:
        weight, bias = weight.flip(0), bias.flip(0)
    if len(layers) == 1:
        ours = CustomHeadDistilBert(config).eval()
        ours.distilbert.load_state_dict(encoder)
        ours.head.load_state_dict({"weight": weight, "bias": bias})
        return fold_head(ours), notes + said
    model = DistilBertForSequenceClassification(config).eval()
    model.distilbert.load_state_dict(encoder)
    first, first_bias = layers[0]
    missing = config.dim - len(first)  # units that the stock class has: zeros, which change nothing
    model.pre_classifier.load_state_dict(
        {"weight": pad(first, (0, 0, 0, missing)), "bias": pad(first_bias, (0, missing))}
    )
    model.classifier.load_state_dict({"weight": pad(weight, (0, missing)), "bias": bias})
    return model, notes + said


def _check_class(kind: str) -> bool:
    """Whether a model is of the stock class; InputError where it is of one for something else."""
    if kind.startswith("DistilBertFor") and kind != STOCK:
        raise InputError(f"This is a {kind}, which does not label texts: a {STOCK} is needed, or a "
                         "class of one's own with a head on [CLS].")  # fmt: skip
    return kind == STOCK


def _prefix(tensors: dict[str, torch.Tensor]) -> str:
    """What the names of the encoder's weights begin with."""
    found = [name.removesuffix(WORDS) for name in tensors if name.endswith(WORDS)]
    if not found:
        raise _not_distilbert(f"{WORDS} is missing, there are "
                              f"{', '.join(sorted(map(str, tensors))[:3])} and others")  # fmt: skip
    if len(found) > 1:
        raise InputError(f"There are two encoders, {found[0] or '(none)'} and {found[1]}: one is "
                         "needed.")  # fmt: skip
    if any(name.startswith(f"{found[0]}encoder.layer.") for name in tensors):
        raise _not_distilbert("it is a BERT classifier")
    return found[0]


def _not_distilbert(why: str) -> InputError:
    return InputError(f"These are not the weights of a DistilBERT classifier: {why}.")


def _config(encoder: dict, configuration: dict, heads: int | None) -> DistilBertConfig:
    """The configuration that an encoder's shapes say, which must fit each other."""
    wrong = [name for name, tensor in encoder.items() if not tensor.is_floating_point()]
    if wrong:
        raise InputError(f"{wrong[0]} holds whole numbers, no weights: is it quantised?")
    try:
        vocabulary, dim = encoder[WORDS].shape
        positions = len(encoder["embeddings.position_embeddings.weight"])
        hidden = len(encoder["transformer.layer.0.ffn.lin1.bias"])
    except KeyError as error:
        raise _not_distilbert(f"{error} is missing") from error
    except (TypeError, ValueError) as error:
        raise InputError("The weights have not the shapes of a DistilBERT's.") from error
    known = configuration.get("n_heads")
    if heads and known and heads != known:
        raise InputError(f"--heads {heads} contradicts the file, which says {known}: leave it out.")
    heads = heads or known or (12 if dim == 768 else None)
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
    if positions < MAX_TOKENS:
        raise InputError(
            f"The model reads {positions} tokens at most: one that reads {MAX_TOKENS} is needed."
        )
    layers = {m[1] for name in encoder if (m := re.match(r"transformer\.layer\.(\d+)\.", name))}
    if configuration.get("n_layers") not in (None, len(layers)):
        raise InputError(f"The file says {configuration['n_layers']} layers, and its weights are "
                         f"{len(layers)}'s: save it again.")  # fmt: skip
    if len(layers) > MOST_LAYERS:
        raise InputError(f"The model has {len(layers)} layers, of {MOST_LAYERS} at most.")
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
    with torch.device("meta"):  # no memory yet: the shapes may be claims of a file of few bytes
        expected = {k: v.shape for k, v in DistilBertModel(config).state_dict().items()}
    found = {name: tensor.shape for name, tensor in encoder.items()}
    names = sorted(expected.keys() | found.keys())
    if wrong := [name for name in names if expected.get(name) != found.get(name)]:
        shapes = [list(shapes[wrong[0]]) if wrong[0] in shapes else None
                  for shapes in (found, expected)]  # fmt: skip
        raise InputError(
            f"The weights do not fit a DistilBERT of {len(layers)} layers: {wrong[0]} is "
            f"{shapes[0] or 'missing'} and should be {shapes[1] or 'absent'}."
        )
    return config


def _head(rest: dict, modules: dict[str, str], dim: int) -> dict[str, tuple]:
    """Weight and bias, by name, of the one or two linear layers on the encoder, in their order."""
    parts: dict[str, dict] = {}
    for name, tensor in rest.items():
        module, _, part = name.rpartition(".")
        if modules.get(module, "").endswith("Loss"):
            continue
        if tensor.dim() == 1 and part == "weight" and re.search("loss|criterion", module.lower()):
            continue  # the classes' weights in a loss
        fits = (part, tensor.dim()) in (("weight", 2), ("bias", 1)) and tensor.is_floating_point()
        if not fits or modules.get(module, "Linear") != "Linear":
            raise InputError(f"{name} ({modules.get(module, list(tensor.shape))}) is no part of a "
                             "head of one or two linear layers, which alone is known.")  # fmt: skip
        parts.setdefault(module, {})[part] = tensor.float()
    if lonely := [module for module, found in parts.items() if "weight" not in found]:
        raise InputError(f"{lonely[0]}.weight is missing, of which there is a bias.")
    if not parts:
        raise _not_distilbert("there is an encoder, but no layer on it that gives two classes")
    if len(parts) > 2:
        raise InputError(f"The head has {len(parts)} layers, {', '.join(sorted(parts))}: one or "
                         "two linear ones are known.")  # fmt: skip
    layers: dict[str, tuple] = {}
    for module, found in parts.items():
        bias = found.get("bias", torch.zeros(len(found["weight"])))
        if len(bias) != len(found["weight"]):
            raise InputError(f"{module}.bias has not the length of {module}.weight.")
        layers[module] = (found["weight"], bias)
    order = sorted(layers, key=lambda m: (layers[m][0].shape[1] != dim, -len(layers[m][0])))
    layers = {module: layers[module] for module in order}
    widths = [dim, *(len(weight) for weight, _ in layers.values())]
    inputs = [weight.shape[1] for weight, _ in layers.values()]
    if any(given != width for given, width in zip(inputs, widths, strict=False)):
        shapes = {module: list(found["weight"].shape) for module, found in parts.items()}
        raise InputError(f"The head's layers do not follow on each other, nor on {dim} dimensions: "
                         f"{shapes}.")  # fmt: skip
    if widths[-1] not in (1, 2):
        raise InputError(f"The head has {widths[-1]} classes: two are needed, negative and "
                         "positive.")  # fmt: skip
    if max(widths) > dim:
        raise InputError(f"The head's first layer has {max(widths)} units, of {dim} at most.")
    return layers


def _check_modules(
    modules: dict[str, str], places: list[str], outputs: int, stock: bool
) -> list[str]:
    """Notes on what a head does that is not in the file; InputError where it is, and is otherwise.

    `modules` are those outside the encoder; of a state dict or a folder there is one at most.
    `places` are the names of the head's linear layers, the first one first.
    """
    layers = len(places)
    apart = len(modules) < 2  # a state dict, which has names alone
    if apart and layers == 2 and places[0].rpartition(".")[0] == places[1].rpartition(".")[0]:
        numbers = [place.rpartition(".")[2] for place in places]
        if all(map(str.isdecimal, numbers)) and int(numbers[1]) == int(numbers[0]) + 1:
            raise InputError(f"There is nothing between the layers {' and '.join(places)}: ReLU is "
                             "needed.")  # fmt: skip
    # What may follow the last layer: the probability of a class is the same with it and without.
    lasts = ("Sigmoid",) if outputs == 1 else ("Softmax", "LogSoftmax")
    between = ["ReLU"] if layers == 2 else []
    ends = [name for name in modules if name and not _within(name, modules)]
    leaves = {name: kind for name in ends if (kind := modules[name]) not in IDLE
              and "Dropout" not in kind and not kind.endswith("Loss")}  # fmt: skip
    for name, kind in modules.items():
        if kind.endswith("Loss") and (kind in REGRESSION or (outputs == 2 and kind in EACH_ALONE)):
            raise InputError(f"The model was trained by {kind}, not to choose between two classes.")
        if " with " in kind:
            raise InputError(f"The module {name or 'itself'} is a {kind}: what that changes is "
                             "lost.")  # fmt: skip
    for name, kind in leaves.items():
        if kind not in {"Linear", "ReLU", *lasts}:
            raise InputError(f"The module {name} is a {kind}: a head of one linear layer, or of "
                             "two with ReLU between them, is needed.")  # fmt: skip
    kinds = list(leaves.values())
    if kinds.count("ReLU") > len(between) or sum(kind in lasts for kind in kinds) > 1:
        raise InputError(f"The head has the modules {', '.join(kinds)}: one linear layer, or two "
                         "with ReLU between them, are needed.")  # fmt: skip
    # Only a Sequential says in which order its modules are used, which is to be a part of these.
    orders = [[places[0], *between, *places[1:], last] for last in lasts]
    for parent, kind in modules.items():
        inside = _within(parent, modules)
        if kind != "Sequential" or any(modules[n] not in IDLE for n in inside if n not in ends):
            continue
        order = [name if leaves[name] == "Linear" else leaves[name] for name in inside
                 if name in leaves]  # fmt: skip
        starts = range(len(orders[0]))
        if not any(order == needed[i : i + len(order)] for needed in orders for i in starts):
            raise InputError(f"The modules of {parent} are {', '.join(order)} in this order: one "
                             "linear layer is needed, or two with ReLU between.")  # fmt: skip
    if stock and layers == 2:
        return []
    if stock:  # whose own code puts ReLU before the last layer
        raise InputError(f"This is a {STOCK} of which one layer was taken away.")
    notes = ["The head is taken to stand on [CLS], the first token: the file does not say."]
    ordered = any(kind == "Sequential" and {*places} <= {*_within(name, modules)}
                  for name, kind in modules.items())  # fmt: skip
    if layers == 2 and not ordered:
        notes.append(f"ReLU is taken to be between the head's layers {' and '.join(places)}, as in "
                     "transformers' class: the file does not say.")  # fmt: skip
    return notes


def _within(parent: str, modules: dict[str, str]) -> list[str]:
    """The names of the modules in another one, at any depth, in their order."""
    start = f"{parent}." if parent else ""
    return [name for name in modules if name != parent and name.startswith(start)]


def _classes(configuration: dict, labels: list[str] | None, outputs: int) -> tuple[bool, list[str]]:
    """Whether class 0 is the positive one, and notes on what was taken for which."""
    kind = configuration.get("problem_type")
    if kind == ("regression" if outputs == 1 else "multi_label_classification"):
        raise InputError(f"The configuration says that it was trained for {kind}, not to choose "
                         "between two classes.")  # fmt: skip
    given = [LABEL_OF.get(name.lower()) for name in labels or []]
    if labels and set(given) != {0, 1}:
        raise InputError(f"--labels {' '.join(labels)}: one negative and one positive name are "
                         "needed, for example --labels negative positive.")  # fmt: skip
    named = [names for names in configuration.get("names", []) if names not in SILENT]
    readings = [_reading(names, outputs) for names in named]
    if readings and (None in readings or any(one != readings[0] for one in readings)):
        if not labels:
            shown = " and ".join(sorted({", ".join(names) for names in named}))
            raise InputError(f"The classes are called {shown}: {SAY_IT}.")
        readings = []
    known = readings[0] if readings else []
    names = named[0] if named else []
    if given and known and given != known:
        raise InputError(f"The file says that its classes are {', '.join(names)}, which --labels "
                         "contradicts.")  # fmt: skip
    order = given or known or [0, 1]
    notes = []
    if outputs == 1:
        notes.append(f"The one output is taken for {LABELS[order[1]]}'s: of one that is high the "
                     "sigmoid is near 1.")  # fmt: skip
    elif not given and not known:
        notes.append("Class 0 is taken for NEGATIVE and class 1 for POSITIVE: no names of "
                     "theirs were found. If not, give --labels positive negative.")  # fmt: skip
    elif order == [1, 0] and not given:
        notes.append(f"The file calls its classes {', '.join(names)}: they change places.")
    return order == [1, 0], notes


def _reading(names: list[str], outputs: int) -> list[int] | None:
    """Which classes names are, 0 for negative and 1 for positive; None where they do not tell."""
    # LABEL_1 as class 0 says nothing that can be trusted.
    found = [None if name.startswith("label_") else LABEL_OF.get(name) for name in names]
    if outputs == len(found) == 1 and found[0] is not None:
        return [1 - found[0], found[0]]
    return found if len(found) == 2 and set(found) == {0, 1} else None
