"""Files that `torch.save` wrote, read without running anything that is in them.

The pickle in such a file gets no function of torch's, and no class: tensors become records of what
it claims, which are checked against the file's size before any memory is asked for. torch's own
`weights_only` reads neither a class that is gone nor pickles of protocol 4, and lets a few bytes
ask for any amount of memory.
"""

import io
import math
import pickle
import pickletools
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from utils import InputError
from utils.manifest import is_pointer

# What torch.save uses for weights and modules, with any protocol from 2 to 5. No others are read:
# BYTEARRAY8, for one, allocates whatever size it names.
OPERATIONS = """
    PROTO FRAME STOP MARK POP POP_MARK BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET NONE NEWTRUE
    NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2
    TUPLE3 EMPTY_DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET GLOBAL STACK_GLOBAL REDUCE
    NEWOBJ NEWOBJ_EX BUILD BINPERSID
"""
MOST_OPERATIONS = 500_000  # a whole BERT needs some 20,000
LONGEST_NAME = 1000  # of a class with its module
MOST_BYTES = 2**23  # of the pickle, which holds no weights
MOST_NAMES = 10_000  # of a file's containers; a few hundred bytes can describe endlessly many
WORDS = "embeddings.word_embeddings.weight"  # which every BERT has, whatever else it is called
# What an encoder's configuration says, by DistilBERT's names or BERT's, and what gives it away.
SAYS = {
    "n_heads": "n_heads",
    "num_attention_heads": "n_heads",
    "activation": "activation",
    "hidden_act": "activation",
    "problem_type": "problem_type",
    "n_layers": "n_layers",
    "num_hidden_layers": "n_layers",
}
# Where classes are named: by number, or the numbers by name, or in their order. Of the others,
# what names no classes is something else.
MAPS = {"id2label", "label2id", "class_to_idx", "idx_to_class", "label_map", "label_to_id",
        "id_to_label", "label2idx", "idx2label", "label_mapping"}  # fmt: skip
NAMES = MAPS | {"classes", "class_names", "label_names", "labels", "target_names", "label_list",
                "categories", "classes_", "idx2class", "class2idx"}  # fmt: skip
POSITIVE = {"positive", "pos"}
CLASSES = POSITIVE | {"negative", "neg"}  # which, in a pair, name classes anywhere
# What a pair of these words is called where it names the classes, whatever else the name says.
NAMING = re.compile("class|label|categor|target|idx|id2|2id|^names$|^vocab$|^mapping$|^itos$")
NO_NAMING = re.compile("pred|sample|example|count|support|weight|distribution")
CALIBRATION = re.compile("(temperature|threshold)$")
POOLING = ("pooling", "pooling_mode", "pooling_strategy")
LONGEST_CLASS = 100  # letters of a class's name
MOST_CLASSES = 10
MOST_NAMED = 1000  # classes, each of which is looked at
LIBRARIES = {"torch", "transformers", "pytorch_transformers"}
CONFIGURATION = {"n_heads", "num_attention_heads", "hidden_act", "n_layers", "vocab_size"}
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
class Storage:
    """What a pickle claims of some numbers, which lie in the file as `data/<key>`."""

    key: str
    kind: str  # the name of its class
    size: int


@dataclass(frozen=True)
class Record:
    """What a pickle claims of a tensor: the part of a storage that it shows."""

    storage: Storage
    offset: int
    shape: tuple
    stride: tuple


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


class Stub:
    """Stands in for whatever a file names: keeps what the file says of it, does nothing."""

    def __init__(self):
        self.state, self.slots = {}, {}  # its attributes
        self.entries = {}  # as of a dict
        self.more = ()  # any other state
        self.parts = ()  # as of a list, or what it was called with

    def append(self, item):
        """A list's part of the pickle protocol."""
        if type(self.parts) is tuple:
            self.parts = []
        self.parts.append(item)

    def add(self, item):
        """A set's, ignored."""


class Unnamed(str):
    """Stands for a name that a file does not have, as of a namedtuple's fields."""


class InertUnpickler(pickle._Unpickler):
    """Every class or function that a file names is a Stub; tensors are records.

    It derives from the unpickler in Python, whose operations can be replaced one by one.
    """

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self.known: dict[tuple[str, str], type] = {}

    def find_class(self, module: str, name: str):
        """What a file gets for the name of a class or function."""
        if len(str(module)) + len(str(name)) > LONGEST_NAME:
            raise ValueError("it names a class by more than a name")
        if (module, name) in REBUILD:
            return REBUILD[module, name]
        if (module, name) == ("collections", "OrderedDict"):
            return _new_dict
        if (module, name) not in self.known:
            if len(self.known) == MOST_NAMES:
                raise ValueError("it names too many classes")
            short = str(name).rpartition(".")[2]
            self.known[module, name] = type(short, (Stub,), {"__module__": str(module)})
        return self.known[module, name]

    def persistent_load(self, pid):
        """A storage; nothing else is stored outside the pickle."""
        kind, cls, key, _, size = pid
        if kind != "storage" or type(key) is not str or type(size) is not int:
            raise ValueError("it refers to something that is no storage")
        return Storage(key, getattr(cls, "__name__", "?"), size)

    def load_reduce(self):
        """Call what a file names, which is ours or a Stub, but nothing else that can be called."""
        args, func = self.stack.pop(), self.stack[-1]
        if type(args) is not tuple:
            raise ValueError(f"it calls something with a {type(args).__name__}")
        ours = func is _new_dict or func in REBUILD.values()
        if ours:
            self.stack[-1] = func(*args)
        elif isinstance(func, Stub):
            self.stack[-1] = _called(Stub, (func, args))
        else:
            self.stack[-1] = _called(func, args)

    def load_newobj(self):
        """A new Stub; what other classes would be, a file cannot name."""
        args, cls = self.stack.pop(), self.stack.pop()
        self.append(cls() if cls is _new_dict else _called(cls, args))

    def load_newobj_ex(self):
        """The same, with arguments by name."""
        named = self.stack.pop()
        self.load_newobj()
        if isinstance(self.stack[-1], Stub) and isinstance(named, dict):
            self.stack[-1].slots = named

    def load_build(self):
        """State is kept by Stubs alone: a tensor's could claim more than the file holds."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Stub):
            # Not copied: a file may set the same large state many times.
            pair = isinstance(state, tuple) and len(state) == 2
            if pair and all(isinstance(part, dict | None) for part in state):  # of one with slots
                target.state, target.slots = (part or {} for part in state)
            elif isinstance(state, dict):
                target.state = state
            else:
                target.more = state
        elif type(target) is not dict:
            raise ValueError(f"it sets the state of a {type(target).__name__}")

    def load_setitem(self):
        """An entry of a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self):
        """Several."""
        self._set(self.pop_mark())

    def load_empty_set(self):
        """A set is a Stub: what is in it is never needed, and need not be hashed."""
        self.append(Stub())

    def load_frozenset(self):
        """The same."""
        self.pop_mark()
        self.append(Stub())

    def _set(self, items: list) -> None:
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing tuples of tuples would take for ever, and so would numbers of one hash.
            if type(key) not in (str, bool, type(None)) and not (
                type(key) is int and abs(key) < 2**60
            ):
                raise ValueError(f"a dictionary has a {type(key).__name__} as key")
            if type(target) is dict:
                target[key] = value
            elif isinstance(target, Stub):
                target.entries[key] = value
            else:
                raise ValueError(f"it sets an item of a {type(target).__name__}")

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.EMPTY_SET[0]] = load_empty_set
    dispatch[pickle.FROZENSET[0]] = load_frozenset


def _is_stub(value) -> bool:
    return isinstance(value, type) and issubclass(value, Stub)


def _called(cls, args) -> Stub:
    """A Stub of that class, with what it was called with; by reference: many may be called so."""
    if not _is_stub(cls):
        raise ValueError(f"it makes a {type(cls).__name__}")
    made = cls()
    made.parts = args if type(args) is tuple else ()
    return made


def _new_dict() -> dict:
    return {}  # its entries follow, one by one


def _tensor(storage, offset, shape, stride, requires_grad=False, hooks=None, metadata=None):
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or any(
        type(n) is not int or not 0 <= n < 2**63 for n in numbers
    ):
        raise ValueError("a tensor's storage, size or stride is none")
    if len(shape) > 8:  # a weight has two dimensions at most
        raise ValueError(f"a tensor has {len(shape)} dimensions")
    if len(shape) != len(stride) or metadata:
        raise ValueError("a tensor is a view of another kind, conjugated or negated")
    return Record(storage, offset, tuple(shape), tuple(stride))


def _first(value, *rest):
    return value  # a parameter without its attributes in Python, a compiled module as it was


def _of_type(rebuild, kind, args, state):
    """A tensor with attributes in Python, which are left out; of torch's own class alone."""
    if rebuild is not _tensor or getattr(kind, "__name__", "") not in ("Tensor", "Parameter"):
        raise ValueError(f"a tensor is of the class {getattr(kind, '__name__', kind)}")
    return _tensor(*args)


REBUILD = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._dynamo.eval_frame", "OptimizedModule"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
}


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
    loaded = _unpickle(archive.read(f"{root}data.pkl"))
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


def _unpickle(data: bytes):
    known = set(OPERATIONS.split())
    for number, (operation, _, _) in enumerate(pickletools.genops(data)):
        if operation.name not in known:
            raise ValueError(f"it uses the operation {operation.name}")
        if number > MOST_OPERATIONS:
            raise ValueError("it describes more than a model")
    return InertUnpickler(data).load()


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


class Budget:
    """Counts what is visited, and the letters of its names: parts may lie in many others."""

    def __init__(self, most: int = MOST_NAMES):
        self.left, self.letters = most, 100 * most
        self.seen: set[int] = set()

    def is_new(self, value) -> bool:
        """Whether a container was not met before: one may stand in many places."""
        known = id(value) in self.seen
        self.seen.add(id(value))
        return not known

    def spend(self, name: str = "", count: int = 1) -> None:
        """Raise ValueError once there were too many."""
        self.left -= count
        self.letters -= len(name)
        if min(self.left, self.letters) < 0:
            raise ValueError("it nests containers without end")


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


def _state(value) -> dict:
    return value.state if isinstance(value, Stub) else {}


def _is_module(value) -> bool:
    return isinstance(_state(value).get("_modules"), dict)


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
        for name, value in (_state(module).get(part) or {}).items():
            budget.spend(f"{prefix}{name}")
            if isinstance(value, Record):
                yield f"{prefix}{name}", value
            elif value is not None:
                raise InputError(
                    f"{prefix}{name} is a {type(value).__name__}, which is not read as a tensor."
                )
    for name, child in (_state(module).get("_modules") or {}).items():
        if isinstance(child, Stub):
            yield from _of_module(child, f"{prefix}{name}.", budget)


def _classes(module: Stub, name: str, budget: Budget):
    """Pairs of a module's dotted name and what it is, of it and those in it."""
    budget.spend(name)
    yield name, _kind(module)
    for part, child in (_state(module).get("_modules") or {}).items():
        if isinstance(child, Stub):
            yield from _classes(child, f"{name}.{part}" if name else str(part), budget)


def _is_one_of(value, usual: tuple) -> bool:
    return type(value) in (int, float, str, type(None)) and value in usual


def _short(value) -> str:
    """A plain value as text, of another one its class: written out, that might be endless."""
    plain = type(value) in (str, int, float, bool, type(None))
    return repr(value)[:20] if plain else f"a {type(value).__name__}"


def _kind(module: Stub) -> str:
    """The name of a module's class, and how it computes otherwise than that class usually does.

    One that is not a library's has the name of its file before it: it may be called as theirs.
    """
    state, kind, home = _state(module), type(module).__name__, type(module).__module__
    usual = USUAL.get(kind, {}) | {"temperature": (None, 1)}
    if isinstance(size := state.get("attention_head_size"), int) and size > 0:
        usual["scaling"] = (size**-0.5,)
    odd = [f"{name} {_short(state[name])}" for name, values in usual.items()
           if name in state and not _is_one_of(state[name], values)]  # fmt: skip
    odd += [name for name in ("forward", "_forward_hooks", "_forward_pre_hooks") if state.get(name)]
    kind = kind if home.split(".")[0] in LIBRARIES else f"{home}.{kind}"
    return f"{kind} with {', '.join(odd)}" if odd else kind


def configuration_of(loaded) -> dict:
    """What a file says of its model: `n_heads` and `activation` of the encoder, `names`, and more.

    `names` are all ways in which it names its classes, each as a list. A configuration may lie in
    a module, as an attribute of one, or beside a state dict. Raises InputError where two contradict
    each other.
    """
    found: dict = {"names": []}
    names = Budget(MOST_OPERATIONS)
    for said in _facts(loaded, Budget(MOST_OPERATIONS)):  # histories are long
        found["names"] += class_names(said, names)
        # What the labels, or their probabilities, may depend on, if it is more than 1.
        beside = [name for name, value in said.items()
                  if isinstance(name, str) and len(name) <= LONGEST_NAME
                  and CALIBRATION.search(name)
                  and not _is_one_of(value, (None, 1, ""))
                  and "patience" not in said]  # of a learning rate's schedule  # fmt: skip
        if beside:
            found.setdefault("left_out", {}).update(dict.fromkeys(beside))  # once each
        pooling = [said[name] for name in POOLING if type(said.get(name)) is str]
        if pooling and not re.search("cls|first", pooling[0][:LONGEST_NAME].lower()):
            raise InputError(f"The file says that it pools by {_short(pooling[0])}: a head on "
                             "[CLS] is needed.")  # fmt: skip
        of_encoder = not CONFIGURATION.isdisjoint(said)
        for name, key in SAYS.items():
            value = said.get(name)
            if value is None or not of_encoder:
                continue
            if type(value) not in (str, int):  # which may be endless, once written out
                raise InputError(f"The configuration's {name} is a {type(value).__name__}.")
            if found.setdefault(key, value) != value:
                raise InputError(f"Two configurations in the file contradict each other: {key} is "
                                 f"{found[key]!r:.40} and {value!r:.40}.")  # fmt: skip
    return found


def _facts(value, budget: Budget):
    """Each dict in what was unpickled, and what is like one in a Stub."""
    budget.spend()
    if not budget.is_new(value):
        return
    if isinstance(value, dict):
        if value:
            yield value
        children = value.values()
    elif isinstance(value, Stub):
        children = [value.state, value.slots, value.entries]
        yield dict(zip(map(Unnamed, "abc"), children, strict=True))
        for parts in (value.parts, value.more):
            if isinstance(parts, tuple | list) and budget.is_new(parts):
                yield {Unnamed(number): part for number, part in enumerate(parts)}
                children += parts
            elif isinstance(parts, Stub):
                children.append(parts)
    else:
        children = value
    for child in children:
        if isinstance(child, dict | Stub | list | tuple):
            yield from _facts(child, budget)


def class_names(said: dict, budget: "Budget") -> list[list[str]]:
    """The ways in which a configuration names the classes 0, 1, …, in small letters."""
    found = []
    for key, names in said.items():
        if isinstance(key, Unnamed):
            # It may be anything, two predictions say, so it is only asked about.
            if _is_pair("classes", names) and _words_of(names)[0].strip().lower() in POSITIVE:
                found.append(["in an object, by no name"])
            continue
        known = key.lower() if isinstance(key, str) and len(key) <= LONGEST_NAME else None
        if known not in NAMES and not (known and _is_pair(known, names)):
            continue
        budget.spend(count=len(names) if isinstance(names, dict) else 1)
        if isinstance(names, Stub):  # numpy's array, say, whose values are not read
            found.append([f"in a {type(names).__name__}, which is not read"])
        elif isinstance(names, str):
            if CLASSES & set(re.findall(r"\w+", names[:LONGEST_NAME].lower())):
                found.append(["in a text, which is not read"])
        elif isinstance(names, list | tuple):
            kinds = {type(name) for name in names[: MOST_CLASSES + 1]}
            if (len(names) in range(2, MOST_CLASSES + 1) and kinds == {str}
                    and max(map(len, names)) <= LONGEST_CLASS):  # fmt: skip
                found.append([name.strip().lower() for name in names])
            elif len(names) in range(2, MOST_CLASSES + 1) and not kinds <= {int, dict, Stub}:
                found.append(["in a list, which is not read"])
        elif names and (in_order := _in_order(names)):
            found.append(in_order)
        elif names and known in MAPS:
            found.append([f"in {known}, which is not read"])
    return found


def _is_pair(known: str, names) -> bool:
    """Whether a list or dict is of two words that name the classes, by whatever such name."""
    if not isinstance(names, dict | list | tuple) or len(names) != 2:
        return False
    # Of a dict the numbers are 0 and 1, so it is no count.
    if isinstance(names, list | tuple) and (not NAMING.search(known) or NO_NAMING.search(known)):
        return False
    words = _words_of(names)
    return (
        words is not None
        and {type(word) for word in words} == {str}
        and max(map(len, words)) <= LONGEST_CLASS
        and {word.strip().lower() for word in words} <= CLASSES
    )


def _words_of(names: dict | list | tuple) -> list | tuple | None:
    return _in_order(names) if isinstance(names, dict) else names


def _in_order(names) -> list[str] | None:
    """The names of the classes 0, 1, … in a dict by number, or of numbers by name; else None."""
    plain = (str, int, bool)  # of others, writing or hashing them might never end
    if not isinstance(names, dict) or len(names) > MOST_NAMED:
        return None
    both = [name for pair in names.items() for name in pair]
    if any(type(name) not in plain or not _is_short(name) for name in both):
        return None
    if not any(str(number).isdecimal() for number in names):
        names = {number: name for name, number in names.items()}
    if not all(str(number).isdecimal() for number in names):
        return None
    names = {int(number): str(name).strip().lower() for number, name in names.items()}
    if sorted(names) != list(range(len(names))):  # counts, say
        return None
    return [names[number] for number in range(len(names))]


def _is_short(value: str | int) -> bool:
    return len(value) <= LONGEST_CLASS if isinstance(value, str) else abs(value) < 10**9
