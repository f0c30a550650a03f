"""The columns of labelled reviews, whatever a file calls and codes them.

`text`; `label`, 0 for negative and 1 for positive; where known `rating`, the reviewer's stars out
of ten, and `group`, what must not be shared between training and test (such as the film).
"""

import re
import unicodedata
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from utils import InputError
from utils.labels import LABEL_OF
from utils.settings import Settings
from utils.tables import separator_hint
from utils.text import is_empty

MISSING = {"", "nan", "na", "n/a", "<na>", "null", "none"}
KAGGLE = {"review": "text", "sentiment": "label"}  # its names of the columns
STARS = 10
WHOLE = re.compile(r"0*(\d+)(?:\.0*)?")  # of a number that pandas or a spreadsheet wrote


@dataclass(frozen=True)
class Part:
    """Rows as a file has them, the name by which messages call it, and its classes' names.

    `classes` are the names of the labels 0, 1, … where the file, or one beside it, says them.
    """

    name: str
    frame: pd.DataFrame
    classes: list[str] | None = None
    notes: tuple[str, ...] = ()  # for the reader


def in_schema(parts: list[Part], settings: Settings) -> tuple[list[pd.DataFrame], list[str]]:
    """Each part in the common columns; and, for the reader, what was done to them.

    Raises InputError at the first row that does not fit, with the part's name, or where a column is
    missing, the label's values are unknown or more than two, or the ratings are of another scale.
    """
    named = [_named(part, settings) for part in parts]
    if len({"group" in part.frame for part in named}) > 1:
        names = " and ".join(part.name for part in parts)
        raise InputError(f"Of {names} only one has a column 'group': give it to both, so that no "
                         "group is in two splits, or rename it.")  # fmt: skip
    labels = _labels(named, settings.positive)
    frames = [_checked(part, found) for part, found in zip(named, labels, strict=True)]
    note = _scale_ratings(frames, [part.name for part in parts])
    notes = [note] if note else []
    for first, second, chosen in (("label", "sentiment", settings.label_column),
                                  ("text", "review", settings.text_column)):  # fmt: skip
        both = [part.name for part in parts if {first, second} <= set(part.frame.columns)]
        if both and not chosen:
            notes.append(f"{' and '.join(both)}: of the columns '{first}' and '{second}' the first "
                         f"is read ({first.upper()}_COLUMN).")  # fmt: skip
    return frames, notes + [note for part in parts for note in part.notes]


def label_column(columns: list[str], settings: Settings) -> str:
    """The name of the column with the labels, among those of a file."""
    kaggles = "sentiment" if "sentiment" in columns and "label" not in columns else "label"
    return settings.label_column or kaggles


def _named(part: Part, settings: Settings) -> Part:
    """The part with its columns under the common names."""
    part = replace(part, frame=part.frame.rename(columns=str))
    columns = list(part.frame.columns)
    said = {"text": settings.text_column, "label": settings.label_column}
    said = {new: old for new, old in said.items() if old}
    free = set(columns) - set(said.values())
    names = {new: old for old, new in KAGGLE.items() if new not in free} | said
    missing = [
        names.get(new, new) for new in ("text", "label") if names.get(new, new) not in columns
    ]
    if missing:
        hint = separator_hint(columns) or (
            "it needs 'text' and 'label' (or 'review' and 'sentiment'; TEXT_COLUMN and "
            "LABEL_COLUMN say other names)"
        )
        shown = ", ".join(n if n == n.strip() else repr(n) for n in columns) or "none"
        raise InputError(f"{part.name} has the columns {shown}: {hint}.")
    if names.get("text", "text") == names.get("label", "label"):
        raise InputError(f"{part.name}: {names.get('text', 'text')} cannot be both the texts and "
                         "the labels (TEXT_COLUMN, LABEL_COLUMN).")  # fmt: skip
    kept = part.frame.drop(columns=names.keys() - set(names.values()), errors="ignore")
    frame = kept.rename(columns={old: new for new, old in names.items()})
    if "group" not in frame:
        frame = frame.rename(columns=lambda name: "group" if name.lower() == "group" else name)
    return replace(part, frame=frame)


def _labels(parts: list[Part], positive: str) -> list[pd.Series]:
    """The labels of each part as 0 and 1; NaN where a row has none.

    `positive` says which value is 1, where there are two; else LABEL_OF knows them.
    """
    named = [part for part in parts if part.classes]
    if named and (len(named) < len(parts) or any(p.classes != named[0].classes for p in parts)):
        raise InputError(f"{named[0].name} names its classes ({', '.join(named[0].classes)}), and "
                         f"{' and '.join(p.name for p in parts if p is not named[0])} otherwise or "
                         "not: save both alike.")  # fmt: skip
    words = [
        part.frame["label"].map(lambda value, part=part: _word(value, part.classes))
        for part in parts
    ]
    values = sorted({word for series in words for word in series.dropna()})
    if positive:
        wanted = _word(positive, None)
        if wanted not in values or len(values) > 2:
            shown = ", ".join(values[:6]) + (", …" if len(values) > 6 else "")
            raise InputError(f"POSITIVE={positive}: the labels are {shown}. Two are needed, of "
                             "which it names one.")  # fmt: skip
        known = {value: int(value == wanted) for value in values}
    else:
        known = LABEL_OF
    for part, series in zip(parts, words, strict=True):
        unknown = series.notna() & ~series.isin(known)
        _require(part, ~unknown, "the label is unknown; use 0 or negative, 1 or positive, or say "
                 "which of two is positive (POSITIVE=…)")  # fmt: skip
        _require(part, series.notna(), "the label is missing")
    return [series.map(known) for series in words]


def _word(value, classes: list[str] | None) -> str | None:
    """A label as a word in small letters, of a number without decimals; None where it is missing.

    A number becomes the class of that number, where the classes have names.
    """
    word = unicodedata.normalize("NFC", str(value)).strip().lower()
    try:
        number = float(word.replace("_", "x"))  # which Python would leave out
        if classes and number.is_integer() and 0 <= number < len(classes):
            return classes[int(number)].strip().lower()
        if classes and number == -1:  # as `datasets` writes a label that is not known
            return None
        word = str(int(number)) if number.is_integer() else word
    except ValueError:
        pass
    return None if word in MISSING else word


def _plain(value) -> str:
    """A value as text, with single spaces; of a whole number just its digits."""
    word = " ".join(unicodedata.normalize("NFKC", str(value)).split())
    if word.lower() in MISSING:
        return ""
    whole = WHOLE.fullmatch(word)
    return whole[1] if whole else word


def _checked(part: Part, labels: pd.Series) -> pd.DataFrame:
    frame = part.frame
    if not len(frame):
        raise InputError(f"{part.name} has no rows.")
    is_text = frame["text"].map(lambda text: isinstance(text, str))
    if not is_text.any():
        kind = type(frame["text"].iloc[0]).__name__
        raise InputError(f"{part.name}: the column of texts holds values of the kind {kind}: name "
                         "the one with the texts (TEXT_COLUMN), or save it as text.")  # fmt: skip
    readable = is_text & ~frame["text"].map(lambda text: isinstance(text, str) and is_empty(text))
    _require(part, readable, "the text is empty or not text")
    # As objects: categories would be drawn in their own order.
    columns = {"text": frame["text"].astype(object), "label": labels.astype(int)}
    if "rating" in frame:
        given = ~frame["rating"].map(lambda value: str(value).strip().lower() in MISSING)
        ratings = pd.to_numeric(frame["rating"].where(given), errors="coerce")
        good = np.isfinite(ratings) | ~given
        _require(part, good, "the rating is not a number; rename the column, if it is no rating",
                 "rating")  # fmt: skip
        inside = ratings.between(0, STARS) | ~given
        _require(part, inside, f"the rating is not one of 0 to {STARS} stars, or of 0 to "
                 f"{STARS // 2}; scale it, or rename the column", "rating")  # fmt: skip
        columns["rating"] = ratings
    if "group" in frame:
        # As text that is the same however a file writes it, so that no group is in two splits.
        columns["group"] = frame["group"].map(_plain).astype("string")
        _require(part, columns["group"] != "", "the group is missing")
    return pd.DataFrame(columns).reset_index(drop=True)


def _require(part: Part, good: pd.Series, what: str, column: str = "label") -> None:
    """Raise InputError at the first row that is not good, with its value in a column."""
    bad = ~good.to_numpy(dtype=bool)
    if bad.any():
        row = int(bad.argmax())
        value = str(part.frame[column].iloc[row])[:40]
        where = f"{part.name}, data row {row + 1} ({column} {value!r})"
        raise InputError(f"{where}: {what} ({int(bad.sum())} such rows).")


def _scale_ratings(frames: list[pd.DataFrame], names: list[str]) -> str | None:
    """Turn ratings out of five into ones out of ten, in place; returns what was done.

    Raises InputError where they are of another scale, or contradict the labels.
    """
    rated = pd.concat([frame for frame in frames if "rating" in frame] or [pd.DataFrame()])
    if "rating" not in rated or rated["rating"].isna().all():
        for frame in frames:
            frame.drop(columns="rating", errors="ignore", inplace=True)
        return None
    where = " and ".join(names)
    tops = [frame["rating"].max() for frame in frames if "rating" in frame]
    if len({top > STARS // 2 for top in tops if not np.isnan(top)}) > 1:
        raise InputError(f"{where}: one has {STARS // 2} stars at most, the other more: give both "
                         "the same scale.")  # fmt: skip
    highest, means = rated["rating"].max(), rated.groupby("label")["rating"].mean()
    if highest <= STARS // 2 - 1:
        raise InputError(
            f"{where}: the highest rating is {highest:g}, so they are not stars out of {STARS} or "
            f"{STARS // 2}: scale them, or rename the column."
        )
    if means.get(0, -np.inf) > means.get(1, np.inf):
        raise InputError(f"{where}: negative reviews have higher ratings than positive ones: the "
                         "labels, or the ratings, are the other way round.")  # fmt: skip
    if highest > STARS // 2:
        return None
    for frame in frames:
        if "rating" in frame:
            frame["rating"] *= 2
    return f"Its ratings, of {highest:g} stars at most, are taken as out of five, and doubled."
