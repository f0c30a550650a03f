"""Pairs of texts that differ a little: does the model read, or count words?"""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from utils import InputError
from utils.evaluation.metrics import mcnemar, share
from utils.text import clean

FILE = Path(__file__).with_name("minimal_pairs.tsv")
TOLERANCE = 0.01  # of a probability: less is no difference
Predict = Callable[[list[str]], np.ndarray]  # texts -> probabilities of positive


def load_pairs() -> pd.DataFrame:
    """The project's own pairs: `kind`, `expected`, `label` (of `text`), `text` and `edited`.

    Written in the manner of CheckList (Ribeiro et al., 2020) before any model saw them. `expected`
    is what the edit should do to the label: flip it, leave it the same, or make it stronger; it is
    one for all pairs of a kind. Raises InputError at the first row that is not so.
    """
    pairs = pd.read_csv(FILE, sep="\t", keep_default_na=False, quoting=csv.QUOTE_NONE)
    columns = ["kind", "expected", "label", "text", "edited"]
    if list(pairs) != columns:
        raise InputError(f"{FILE.name} has the columns {', '.join(pairs)}: it needs "
                         f"{', '.join(columns)}, separated by tabs.")  # fmt: skip
    first = pairs["kind"].map(pairs.groupby("kind")["expected"].first())
    for bad, what in (
        ((pairs == "").any(axis=1), "a column is empty"),
        (~pairs["label"].isin(["POSITIVE", "NEGATIVE"]), "the label is not POSITIVE or NEGATIVE"),
        (~pairs["expected"].isin(["flip", "same", "stronger"]),
         "what is expected is not flip, same or stronger"),
        (pairs["expected"] != first, "another pair of its kind expects something else"),
    ):  # fmt: skip
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise InputError(f"{FILE.name}, data row {row + 1}: {what}.")
    return pairs


def score_pairs(pairs: pd.DataFrame, predict: Predict) -> pd.DataFrame:
    """The pairs with `before` and `after`, the probabilities of the label, and `passed`.

    A pair is passed where `text` gets its label, and `edited` the other one (flip), the same one
    (same), or the same one with a probability that does not sink (stronger).
    """
    positive = predict([*pairs["text"], *pairs["edited"]]).reshape(2, -1)
    is_positive = (pairs["label"] == "POSITIVE").to_numpy()
    before, after = np.where(is_positive, positive, 1 - positive)
    flips, stronger = (pairs["expected"].to_numpy() == name for name in ("flip", "stronger"))
    # A probability of exactly a half counts as positive, as in the evaluation.
    kept = (positive[1] >= 0.5) == is_positive
    as_expected = np.where(flips, ~kept, kept & (~stronger | (after >= before - TOLERANCE)))
    passed = ((positive[0] >= 0.5) == is_positive) & as_expected
    return pairs.assign(before=before, after=after, passed=passed)


def passed_by_kind(scored: pd.DataFrame) -> dict[str, dict]:
    """How many pairs of each kind are passed, with 95% intervals; and of those of one effect.

    `flip` are those whose edit should flip the answer, `keep` those whose edit should not, which a
    model that cannot read the edit passes, too. Of both there is also the share `of_first_right`,
    of the pairs whose text before the edit gets its label. What no pair belongs to is left out.
    """
    flips = scored["expected"] == "flip"
    parts = {**dict(list(scored.groupby("kind"))), "flip": scored[flips], "keep": scored[~flips],
             "all": scored}  # fmt: skip
    found = {name: share(int(part["passed"].sum()), len(part))
             for name, part in parts.items() if len(part)}  # fmt: skip
    for name in {"flip", "keep"} & set(found):
        right = parts[name][parts[name]["before"] >= 0.5]
        if len(right):
            found[name]["of_first_right"] = share(int(right["passed"].sum()), len(right))
    return found


def read_published(path: Path) -> pd.DataFrame:
    """A file of published pairs, tab-separated: `Sentiment` (Positive or Negative) and `Text`.

    Such are the contrast sets of Gardner et al. (2020) and the counterfactual reviews of Kaushik
    et al. (2020). Raises InputError where it is not such a file.
    """
    try:
        frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except Exception as error:
        raise InputError(f"{path} cannot be read: {str(error)[:200]}.") from error
    if not {"Sentiment", "Text"} <= set(frame.columns):
        raise InputError(f"{path.name} has the columns {', '.join(frame.columns)}: it needs "
                         "Sentiment and Text, separated by tabs.")  # fmt: skip
    label = frame["Sentiment"].str.strip().str.lower().map({"negative": 0, "positive": 1})
    if label.isna().any():
        row = int(label.isna().to_numpy().argmax())
        value = frame["Sentiment"].iloc[row]
        raise InputError(f"{path.name}, data row {row + 1}: Sentiment is {value!r}, not Positive "
                         "or Negative.")  # fmt: skip
    return pd.DataFrame({"text": frame["Text"].map(clean), "label": label.astype(int)})


def score_published(
    originals: Path, edits: Path, predict: Predict, known: set[str]
) -> dict[str, dict]:
    """Accuracy on originals and on edits, and the share of pairs of which both are right.

    Pairs of which a text is among the `known` ones, which the model was trained on, are left out.
    Raises InputError where the rows of the two files do not belong together, or none is left.
    """
    frames = [read_published(path) for path in (originals, edits)]
    if len(frames[0]) != len(frames[1]):
        raise InputError(
            f"{originals.name} has {len(frames[0]):,} rows and {edits.name} {len(frames[1]):,}: "
            "row by row they must be an original and its edit."
        )
    new = ~(frames[0]["text"].isin(known) | frames[1]["text"].isin(known))
    if not new.any():
        raise InputError(f"{originals.name}: the model was trained on all of these reviews.")
    frames = [frame[new] for frame in frames]
    right = [(predict(f["text"].tolist()) >= 0.5) == f["label"].to_numpy() for f in frames]
    parts = {"originals": right[0], "edits": right[1], "both of a pair": right[0] & right[1]}
    return {name: share(int(part.sum()), len(part)) for name, part in parts.items()}


def pair_results(models: dict[str, Predict]) -> dict:
    """The project's minimal pairs: passed by kind, and each pair, for every model."""
    own = load_pairs()
    scored = {name: score_pairs(own, predict) for name, predict in models.items()}
    rows = json.loads(own.to_json(orient="records"))
    for name, frame in scored.items():
        for row, found in zip(rows, frame.itertuples(), strict=True):
            row[name] = {"before": round(float(found.before), 4),
                         "after": round(float(found.after), 4),
                         "passed": bool(found.passed)}  # fmt: skip
    ours, theirs = (frame["passed"].to_numpy().astype(float) for frame in scored.values())
    flips = (own["expected"] == "flip").to_numpy()
    return {
        "by_kind": {name: passed_by_kind(frame) for name, frame in scored.items()},
        "first_right": {
            name: share(int((frame["before"] >= 0.5).sum()), len(frame))
            for name, frame in scored.items()
        },
        "mcnemar": {
            part: mcnemar(np.ones(rows.sum(), dtype=int), ours[rows], theirs[rows])
            for part, rows in (("flip", flips), ("keep", ~flips))
            if rows.any()
        },
        "pairs": rows,
    }
