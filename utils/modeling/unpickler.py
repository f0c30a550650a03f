"""An unpickler that runs nothing of a file: classes are Stubs, tensors are what it claims of them.

The pickle gets no function of torch's, and no class. torch's own `weights_only` reads neither a
class that is gone nor pickles of protocol 4, and lets a few bytes ask for any amount of memory.
"""

import io
import pickle
import pickletools
from dataclasses import dataclass
from typing import ClassVar

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
MOST_NAMES = 10_000  # of a file's containers; a few hundred bytes can describe endlessly many


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


def state_of(value) -> dict:
    """The attributes of what a file made; none of what is no Stub."""
    return value.state if isinstance(value, Stub) else {}


def unpickle(data: bytes):
    """What a pickle holds, as Stubs and records; ValueError where it uses other operations."""
    known = set(OPERATIONS.split())
    for number, (operation, _, _) in enumerate(pickletools.genops(data)):
        if operation.name not in known:
            raise ValueError(f"it uses the operation {operation.name}")
        if number > MOST_OPERATIONS:
            raise ValueError("it describes more than a model")
    return InertUnpickler(data).load()


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
