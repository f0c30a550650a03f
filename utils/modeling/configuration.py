"""What a pickled file says of its model, wherever it says it: heads, activation, classes."""

import re

from utils import InputError
from utils.modeling.unpickler import (
    LONGEST_NAME,
    MOST_OPERATIONS,
    Budget,
    Stub,
)

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
CONFIGURATION = {"n_heads", "num_attention_heads", "hidden_act", "n_layers", "vocab_size"}


class Unnamed(str):
    """Stands for a name that a file does not have, as of a namedtuple's fields."""


def is_one_of(value, usual: tuple) -> bool:
    """Whether a plain value is one of the usual ones."""
    return type(value) in (int, float, str, type(None)) and value in usual


def short(value) -> str:
    """A plain value as text, of another one its class: written out, that might be endless."""
    plain = type(value) in (str, int, float, bool, type(None))
    return repr(value)[:20] if plain else f"a {type(value).__name__}"


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
                  and not is_one_of(value, (None, 1, ""))
                  and "patience" not in said]  # of a learning rate's schedule  # fmt: skip
        if beside:
            found.setdefault("left_out", {}).update(dict.fromkeys(beside))  # once each
        pooling = [said[name] for name in POOLING if type(said.get(name)) is str]
        if pooling and not re.search("cls|first", pooling[0][:LONGEST_NAME].lower()):
            raise InputError(f"The file says that it pools by {short(pooling[0])}: a head on "
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
