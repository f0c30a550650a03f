"""The names of the classes 0, 1, … that a table's own metadata, or a file beside it, gives."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import ClassLabel, Features

from utils import InputError
from utils.data.schema import label_column
from utils.labels import LABEL_OF
from utils.modeling.tokenizer import read_json
from utils.settings import Settings
from utils.tables import table_format

INFOS = ("dataset_info.json", "dataset_infos.json")
MOST_METADATA = 2**16  # characters of a page's front matter: YAML takes their square in time
MOST_CONFIGS = 1000  # of a page, and features of each
HUB_FOLDERS = ("data", "default", "plain_text")  # in which the Hub's data sets have their tables
Classes = tuple[tuple[str, ...] | None, str | None]


def classes_of(file: Path, columns: list[str], settings: Settings) -> Classes:
    """The names of the classes 0, 1, …, and the file beside this one that says them, or None.

    `columns` are those of the file. A parquet file's own metadata may say them, as `datasets`
    writes it, else dataset_info.json or the Hub's README.md beside it. Raises InputError where they
    are said in a way that is not read.
    """
    column = label_column([str(name) for name in columns], settings)
    if table_format(file) != ".parquet":
        return _classes_beside(file.parent, column)
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError):
        return None, None  # reading its rows will say why
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = said.get("info", {}).get("features", {})
        named = {name: kind for name, kind in features.items() if kind["_type"] == "ClassLabel"}
        names = names_in(Features.from_arrow_schema(schema), column)
    except Exception as error:  # of whatever stands there instead, or by a later `datasets`
        raise InputError(f"{file.name}: its metadata cannot be read ({type(error).__name__}: "
                         f"{str(error)[:80]}): save it anew, without.") from error  # fmt: skip
    for name, kind in named.items():
        if name not in schema.names or not pa.types.is_integer(schema.field(name).type):
            raise InputError(f"{file.name}: its metadata names the classes {kind.get('names')} of "
                             f"a column {name!r}, which it has not, or not as numbers: save it "
                             "anew, without that metadata.")  # fmt: skip
    return (tuple(names), None) if names else _classes_beside(file.parent, column)


def _classes_beside(folder: Path, column: str) -> Classes:
    """The classes' names in files of the Hub's data sets, in the folder or in one of two above it.

    What stands above counts where the folder is one of such a data set, by its name or the page's.
    Raises InputError where it may be of other data and names the classes in another order.
    """
    for place in (folder, folder.parent, folder.parent.parent):
        of_data = place == folder or (place == folder.parent and folder.name in HUB_FOLDERS)
        for file in sorted(place.glob("*")) if place.is_dir() else []:
            names, mine = None, False
            if file.name in INFOS and file.is_file():
                names = _classes_of_info(read_json(file), column, folder.name)
            elif file.name.lower() == "readme.md" and file.is_file():
                names, mine = _classes_of_page(file, column, folder.name, of_data)
            if names and (of_data or mine):
                return names, file.name
            if names and [LABEL_OF.get(name.lower()) for name in names] != [0, 1]:
                raise InputError(f"{place.name}/{file.name} names the classes {', '.join(names)}, "
                                 "and may be of these reviews: put it beside them, or move it "
                                 "away.")  # fmt: skip
    return None, None


def _classes_of_info(info: dict, column: str, config: str) -> tuple[str, ...] | None:
    """The names in a dataset_info.json, or in the older form with a part for each configuration."""
    parts = [info] if "features" in info else [info.get(config), *info.values()]
    for part in parts:
        features = part.get("features") if isinstance(part, dict) else None
        kind = features.get(column) if isinstance(features, dict) else None
        if isinstance(kind, dict) and isinstance(kind.get("names"), list):
            return tuple(map(_class_name, kind["names"]))
    return None


def _classes_of_page(
    page: Path, column: str, config: str, of_data: bool
) -> tuple[tuple[str, ...] | None, bool]:
    """The classes' names in the metadata of a data set's page; whether of a configuration so named.

    Of several configurations that of the name counts, else what all of them say.
    """
    front = _front_matter(page)
    unread = InputError(f"{page.name} names classes in a way that is not read: write it out, or "
                        "move the page away.")  # fmt: skip
    try:
        said = (yaml.load(front, _NoMerge) or {}).get("dataset_info") or []
        configs = (said if isinstance(said, list) else [said])[:MOST_CONFIGS]
        mine = [one for one in configs if one.get("config_name") == config]
        found = set()
        for one in mine or configs:
            kinds = (feature["dtype"] for feature in one.get("features", [])[:MOST_CONFIGS]
                     if feature.get("name") == column)  # fmt: skip
            kind = next(kinds, None)
            if isinstance(kind, dict) and "class_label" in kind:
                names = kind["class_label"]["names"]
                numbered = names if isinstance(names, list) else [
                    names[number] for number in sorted(names, key=int)
                ]  # fmt: skip
                found.add(tuple(map(_class_name, numbered)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError,
            yaml.YAMLError) as error:  # fmt: skip
        if of_data and "class_label" in front:
            raise unread from error
        return None, False
    if len(found) > 1:
        raise unread
    return next(iter(found), None), bool(mine)


class _NoMerge(yaml.SafeLoader):
    """Without keys that merge others, by which a few lines could stand for any number of them."""

    def flatten_mapping(self, node):
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.constructor.ConstructorError(problem="merge keys are not read")
        super().flatten_mapping(node)


def _front_matter(page: Path) -> str:
    """The YAML between the first lines of dashes; InputError where it is very long."""
    with page.open(encoding="utf-8-sig", errors="replace") as file:
        text = file.read(MOST_METADATA + 1)
    parts = re.split(r"^---\s*$", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) == 1 or parts[0].strip():
        return ""
    if len(text) > MOST_METADATA and len(parts) == 2:
        raise InputError(f"{page.name} has over {MOST_METADATA:,} characters of metadata: write it "
                         "out, or move the page away.")  # fmt: skip
    return parts[1]


def _class_name(value) -> str:
    """A name as text; of a page's aliases a few bytes could make gigabytes of any other value."""
    if not isinstance(value, str) and not (isinstance(value, int) and abs(value) < 10**9):
        raise InputError("The names of the classes beside the data are no texts: correct them.")
    return str(value)


def names_in(features: Features, column: str = "label") -> list[str] | None:
    """The names of a column's classes, where it is of a `ClassLabel`."""
    kind = features.get(column)
    return kind.names if isinstance(kind, ClassLabel) else None
