"""Reviews without labels, for pretraining and for a teacher's labels: none stands in the test."""

import hashlib
import html
import re
from pathlib import Path

import pandas as pd

from utils import InputError
from utils.data.reviews import Reviews, ordered
from utils.data.sources import NAMED, read_frame, read_text
from utils.paths import resolve_path
from utils.settings import Settings
from utils.text import is_empty

FILES = ("unsup.parquet", "unsupervised.parquet")  # beside train.parquet
FEWEST = 20  # a tenth is learnt from by none, and the loss watched on a tenth of the rest


def load_unlabelled(settings: Settings, reviews: Reviews) -> tuple[pd.DataFrame, dict[str, int]]:
    """`text` and `hash` of every review without a label, and how many were found and left out.

    These are the source's own unlabelled reviews, where it has any, and its training reviews
    beyond the label budget, whose labels are not looked at, without those of the budget's groups,
    such as films, where groups are known. Left out is what stands in the test or in the budget, or
    twice, also where only case, spaces, markup or punctuation differ. Raises InputError where
    hardly any are left, or they cannot be read.
    """
    texts, unused = _texts(settings.source), reviews.unused
    if "group" in unused:
        groups = {*reviews.train["group"], *reviews.validation["group"]}
        unused = unused[~unused["group"].isin(groups)]
    frame = pd.concat([unused[["text"]], pd.DataFrame({"text": texts})])
    frame = ordered(frame.assign(label=0))[["text", "hash"]]
    counts = {"without_label": len(texts), "beyond_the_budget": len(unused)}
    keys = frame["text"].map(_key)
    drops = {
        "in_test_dropped": keys.isin({_key(text) for text in reviews.test_texts}),
        "in_budget_dropped": keys.isin(
            {_key(text) for part in (reviews.train, reviews.validation) for text in part["text"]}
        ),
        "duplicates_dropped": keys.duplicated(),
    }
    kept = pd.Series(True, index=frame.index)
    for name, dropped in drops.items():
        counts[name] = int((kept & dropped).sum())
        kept &= ~dropped
    if kept.sum() < FEWEST:
        raise InputError(
            f"There are {kept.sum()} reviews without a label, fewer than {FEWEST}: lower LABELS, "
            f"or put a file {FILES[0]} with the column 'text' beside train.parquet."
        )
    return frame[kept].reset_index(drop=True), counts


def hash_of(texts: pd.DataFrame) -> str:
    """Of the texts and their order, by their column `hash`."""
    return hashlib.sha256("".join(texts["hash"]).encode()).hexdigest()


def _key(text: str) -> str:
    """Letters and digits alone, in one case, without markup."""
    text = re.sub(r"<[^>]{0,200}>", " ", html.unescape(text))
    return "".join(character for character in text.casefold() if character.isalnum())


def _texts(source: str) -> list[str]:
    if source in NAMED:
        return [text for text in NAMED[source].unlabelled() if not is_empty(text)]
    folder = resolve_path(source)
    for file in FILES:
        if (folder / file).exists():
            frame = read_frame(folder / file)
            if "text" not in frame:
                raise InputError(f"{file} has no column 'text'.")
            texts = frame["text"].dropna().tolist()
            if any(not isinstance(text, str) for text in texts):
                raise InputError(f"{file}: the column 'text' holds other things than text.")
            break
    else:
        files = sorted(Path(folder, "train", "unsup").glob("[!.]*.txt"))
        texts = [read_text(path) for path in files]
    return [text for text in texts if not is_empty(text)]
