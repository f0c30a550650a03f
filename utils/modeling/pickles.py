"""Files that `torch.save` wrote, read without running anything that is in them.

Tensors are records of what the pickle claims (unpickler.py), which are checked against the file's
size before any memory is asked for.
"""

import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from utils import InputError
from utils.manifest import is_pointer
from utils.modeling.configuration import configuration_of, is_one_of, short
from utils.modeling.unpickler import Budget, Record, Stub, state_of, unpickle

MOST_BYTES = 2**23  # of the pickle, which holds no weights
WORDS = "embeddings.word_embeddings.weight"  # which every BERT has, whatever else it is called
LIBRARIES = {"torch", "transformers", "pytorch_transformers"}
# Settings of torch's modules that change what they compute, with those that change nothing here.
USUAL = {
    "LayerNorm": {"eps": (1e-12,)},
    "Softmax": {"dim": (None, 1, -1)},
    "LogSoftmax": {"dim": (None, 1, -1)},
    "GELU": {"approximate": ("none",)},
    "Embedding": {"max_norm": (None,)},
}
DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class Group:
    """The tensors of one state dict or module, by name.

    `modules` are the names of the classes of a pickled module's parts, by dotted name (the module
    itself has the name ""); empty for a state dict. `configuration` is what the whole file says of
    the model's heads, activation and classes, wherever it says it: see `configuration_of`.
    """

    name: str  # where it lies in the file
    tensors: dict[str, torch.Tensor]
    modules: dict[str, str] = field(default_factory=dict)
    configuration: dict = field(default_factory=dict)


def read_pickle(path: Path) -> list[Group]:
    """Each state dict and module with a BERT's word embeddings that a file of `torch.save` holds.

    Without any, those with other tensors. Weights are read as they are stored, each by itself.

    Raises InputError where the file is missing, cut short, a pointer to weights elsewhere, of
    another kind, or claims more than it holds.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist.")
    if is_pointer(path):
        raise InputError(f"{path.name} is a Git LFS pointer, no weights: `git lfs pull`.")
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":  # zipfile would take one with something before it
                raise zipfile.BadZipFile
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path.name, size)
    except InputError:
        raise
    except zipfile.BadZipFile as error:
        raise InputError(f"{path.name} ({size:,} bytes) {_kind_of(path)}.") from error
    except Exception as error:  # a hostile file can make the unpickler raise anything
        raise InputError(
            f"{path.name} cannot be read ({type(error).__name__}: {str(error)[:120]}): it is "
            "damaged, or not what torch.save writes of a model."
        ) from error


def _kind_of(path: Path) -> str:
    """What a file is that torch.save of torch 1.6 or later did not write, and what to do."""
    with path.open("rb") as file:
        begin = file.read(9)
    if begin[8:] == b"{":
        return "holds safetensors: give its folder, with its config.json"
    if begin[:1] == b"\x80":
        return "is a pickle of another kind, or of torch before 1.6: save it again with torch.save"
    return (
        "is no file that torch.save of torch 1.6 or later wrote, or is cut short: download it again"
    )


def _read(archive: zipfile.ZipFile, name: str, size: int) -> list[Group]:
    entries = {entry.filename: entry for entry in archive.infolist()}
    if any(entry.endswith("constants.pkl") for entry in entries):
        raise InputError(f"{name} is TorchScript, not weights: export it with torch.save.")
    # torch.save stores without compression; one that is compressed may unpack to anything.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise InputError(f"{name} is compressed, which torch.save's files are not: save it again.")
    if sum(entry.file_size for entry in archive.infolist()) > 1.1 * size + 2**20:
        raise InputError(f"{name} unpacks to more than its size, which torch.save's do not.")
    roots = [entry.removesuffix("data.pkl") for entry in entries if entry.endswith("/data.pkl")]
    if len(roots) != 1:
        raise InputError(f"{name} is no file that torch.save wrote: it has no data.pkl.")
    root = roots[0]
    order = entries.get(f"{root}byteorder")
    if order and archive.read(order)[:16] != b"little":
        raise InputError(f"{name} is of a big-endian machine: save it again on another.")
    if entries[f"{root}data.pkl"].file_size > MOST_BYTES:
        raise InputError(f"{name} describes more than the weights of a model: save a state dict.")
    loaded = unpickle(archive.read(f"{root}data.pkl"))
    groups = list(_groups(loaded, "", Budget()))
    configuration = configuration_of(loaded)
    models = [group for group in groups if any(key.endswith(WORDS) for key in group.tensors)]
    if models:  # an optimiser's tensors, twice the size of the weights, stay there
        rest = [name for group in groups if group not in models
                for name in ([group.name] if group.name else group.tensors)]  # fmt: skip
        rest += configuration.get("left_out", [])
        configuration["left_out"] = sorted({name.split(".")[0] for name in rest})
        groups = models
    records = [record for group in groups for record in group.tensors.values()]
    for group in groups:
        for key, record in group.tensors.items():
            entry = entries.get(f"{root}data/{record.storage.key}")
            _check(record, f"{group.name}{key}", name, size, entry)
    if sum(_bytes(record) for record in records) > 4 * size:
        raise InputError(f"{name} says that its tensors are larger together than the whole file.")
    buffers: dict[str, bytearray] = {}

    def tensor(record: Record) -> torch.Tensor:
        storage = record.storage
        if not math.prod(record.shape):
            return torch.empty(record.shape, dtype=DTYPES[storage.kind])
        if storage.key not in buffers:
            buffers[storage.key] = bytearray(archive.read(f"{root}data/{storage.key}"))
        numbers = torch.frombuffer(
            buffers[storage.key], dtype=DTYPES[storage.kind], count=storage.size
        )
        return numbers.as_strided(record.shape, record.stride, record.offset).clone()

    return [
        Group(
            group.name,
            {key: tensor(record) for key, record in group.tensors.items()},
            group.modules,
            configuration,
        )
        for group in groups
    ]


def _bytes(record: Record) -> int:
    return math.prod(record.shape) * DTYPES[record.storage.kind].itemsize


def _check(record: Record, tensor: str, file: str, size: int, entry) -> None:
    """Raise InputError where a tensor is not inside its storage, or that not inside the file."""
    storage = record.storage
    if storage.kind not in DTYPES:
        raise InputError(f"{tensor} in {file} is of the kind {storage.kind}, which is not read.")
    if _bytes(record) > size:
        raise InputError(f"{file} says that {tensor} is larger than the whole file.")
    last = record.offset + sum(
        (n - 1) * step for n, step in zip(record.shape, record.stride, strict=True)
    )
    held = entry.file_size if entry else 0
    if math.prod(record.shape) and (
        last >= storage.size or storage.size * DTYPES[storage.kind].itemsize > held
    ):
        raise InputError(f"{tensor} in {file} reaches beyond its own data: download it again.")


def _groups(value, name: str, budget: Budget):
    """A Group for each state dict or module with tensors, as records, in what was unpickled."""
    budget.spend(name)
    if not budget.is_new(value):
        return
    if _is_module(value):
        tensors = dict(_of_module(value, "", budget))
        modules = dict(_classes(value, "", budget))
        if tensors:
            yield Group(name, tensors, modules)
    elif isinstance(value, dict):
        tensors = {}
        for key, child in value.items():
            if isinstance(child, Record):
                budget.spend(str(key))
                tensors[str(key)] = child
            elif _is_tensor_of_another_kind(child):
                raise InputError(f"{name}{key} is a {type(child).__name__}, which is not read.")
        if tensors:
            yield Group(name, tensors)
        for key, child in value.items():
            if isinstance(child, dict) or _is_module(child):
                yield from _groups(child, f"{name}{key}.", budget)


def _is_module(value) -> bool:
    return isinstance(state_of(value).get("_modules"), dict)


def _is_tensor_of_another_kind(value) -> bool:
    """A sparse or quantised one, say, or of a subclass: its function or class is a Stub here."""
    kind = type(value)
    return isinstance(value, Stub) and (
        kind.__name__.startswith("_rebuild") or kind.__name__.endswith(("Parameter", "Tensor"))
    )


def _of_module(module: Stub, prefix: str, budget: Budget):
    """Pairs of dotted name and record of a module's parameters and buffers."""
    budget.spend(prefix)
    for part in ("_parameters", "_buffers"):
        for name, value in (state_of(module).get(part) or {}).items():
            budget.spend(f"{prefix}{name}")
            if isinstance(value, Record):
                yield f"{prefix}{name}", value
            elif value is not None:
                raise InputError(
                    f"{prefix}{name} is a {type(value).__name__}, which is not read as a tensor."
                )
    for name, child in (state_of(module).get("_modules") or {}).items():
        if isinstance(child, Stub):
            yield from _of_module(child, f"{prefix}{name}.", budget)


def _classes(module: Stub, name: str, budget: Budget):
    """Pairs of a module's dotted name and what it is, of it and those in it."""
    budget.spend(name)
    yield name, _kind(module)
    for part, child in (state_of(module).get("_modules") or {}).items():
        if isinstance(child, Stub):
            yield from _classes(child, f"{name}.{part}" if name else str(part), budget)


def _kind(module: Stub) -> str:
    """The name of a module's class, and how it computes otherwise than that class usually does.

    One that is not a library's has the name of its file before it: it may be called as theirs.
    """
    state, kind, home = state_of(module), type(module).__name__, type(module).__module__
    usual = USUAL.get(kind, {}) | {"temperature": (None, 1)}
    if isinstance(size := state.get("attention_head_size"), int) and size > 0:
        usual["scaling"] = (size**-0.5,)
    odd = [f"{name} {short(state[name])}" for name, values in usual.items()
           if name in state and not is_one_of(state[name], values)]  # fmt: skip
    odd += [name for name in ("forward", "_forward_hooks", "_forward_pre_hooks") if state.get(name)]
    kind = kind if home.split(".")[0] in LIBRARIES else f"{home}.{kind}"
    return f"{kind} with {', '.join(odd)}" if odd else kind
