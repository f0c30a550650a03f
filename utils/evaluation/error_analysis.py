"""Where a model fails: accuracy by kind of review, kinds of errors, and what a small test hides."""

import re

import numpy as np
import pandas as pd
from scipy.stats import binom, chi2_contingency

from utils.data.reviews import Reviews
from utils.evaluation.metrics import paired_interval, share
from utils.results import Run
from utils.text import Tokens

RESAMPLES = 100_000
SMALL = 300  # reviews of a small test, as usual notebooks have
SIZES = (100, SMALL, 1000, 3000, 10_000)  # SMALL, and those smaller than the whole test
KINDS = (  # of hard reviews, in the order of the rules
    "middling stars (4 to 7)",
    "the baseline contradicts it, with 75% confidence or more",
    "part of it is truncated",
    "it changes direction (three or more of but, however, although, …)",
    "none of these",
)
TURNS = re.compile(r"\b(but|however|although|though|despite|yet|unfortunately|except)\b", re.I)


def accuracy_by(groups: pd.Series, right: dict[str, np.ndarray]) -> dict:
    """Accuracy of each model in each group, in the groups' order, and whether the groups differ.

    `right` is bool, shape (reviews,), for each model. `p_value` is the chi-squared test's, that one
    accuracy holds in all groups, for the first model. `gain` is its lead over the second one, with
    the 95% interval of paired answers.
    """
    frame = pd.DataFrame(right).groupby(groups.reset_index(drop=True), observed=True)
    rows = [
        {"group": str(name), "reviews": len(part),
         "models": {model: share(int(part[model].sum()), len(part)) for model in right}}
        for name, part in frame
    ]  # fmt: skip
    first, second = right  # the names of the two
    for row, (_, part) in zip(rows, frame, strict=True):
        gain = float(part[first].mean() - part[second].mean())
        differ = int((part[first] != part[second]).sum())
        row["gain"] = {"value": gain, "interval": paired_interval(gain, differ, len(part))}
    hits = frame[next(iter(right))].agg(["sum", "count"])
    counts = np.array([hits["sum"], hits["count"] - hits["sum"]])
    test = len(rows) > 1 and counts.sum(1).all()
    return {"groups": rows, "p_value": float(chi2_contingency(counts).pvalue) if test else None}


def by_stars(ratings: pd.Series) -> pd.Series:
    """A group for each number of stars, in their order; some sources give half ones, some none."""
    names = {value: f"{value:g}" for value in sorted(ratings.dropna().unique())}
    return ratings.map(names).astype(pd.CategoricalDtype(list(names.values()), ordered=True))


def by_length(tokens: Tokens) -> pd.Series:
    """Five groups of about as many reviews each, by their number of tokens before truncation.

    There are fewer where so many have the same length that they fill a group alone.
    """
    lengths = pd.Series(tokens.lengths)
    groups = pd.qcut(lengths, 5, labels=False, duplicates="drop")
    names = {
        number: f"{part.min():,} to {part.max():,}" for number, part in lengths.groupby(groups)
    }
    return pd.Series(pd.Categorical(groups.map(names), categories=names.values(), ordered=True))


def by_loss(tokens: Tokens) -> pd.Series:
    """Groups by the share of a review that is truncated."""
    lost = [1 - len(ids) / length for ids, length in zip(tokens.ids, tokens.lengths, strict=True)]
    names = ["nothing", "up to a quarter", "up to half", "more than half"]
    return pd.Series(pd.cut(lost, [-1, 0, 0.25, 0.5, 1], labels=names))


def contradicted(ours: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Where the baseline predicts the other label with 75% confidence or more, bool, (reviews,).

    Both are probabilities of positive. The true label plays no part, so that being contradicted may
    explain an error, and does not follow from it.
    """
    return np.where(ours >= 0.5, baseline <= 0.25, baseline >= 0.75)


def kind_of(row: pd.Series, contradicted: bool, shortened: bool) -> str:
    """What may make a review hard, by the first of these rules that holds.

    `row` is a review of the test with `text` and, where known, `rating`; `contradicted` says
    whether the baseline does so.
    """
    if 4 <= row.get("rating", 0) <= 7:
        return KINDS[0]
    if contradicted:
        return KINDS[1]
    if shortened:
        return KINDS[2]
    if len(TURNS.findall(row["text"])) >= 3:
        return KINDS[3]
    return KINDS[4]


def small_tests(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> dict:
    """What tests of fewer reviews would tell of two models, drawn many times from this one.

    For each size: the 95% range of our accuracy; how often the model that is worse on the whole
    test would look better, or as good; and how often McNemar's test would find the better one
    better (p < 0.05). Draws are with replacement: a multinomial over whether both models, one or
    neither is right.
    """
    right, other = (ours >= 0.5) == labels, (theirs >= 0.5) == labels
    shares = np.bincount(2 * right + other, minlength=4) / len(labels)
    random = np.random.default_rng(seed)
    found = {}
    for size in [size for size in SIZES if size == SMALL or size < len(labels)]:
        draws = random.multinomial(size, shares, RESAMPLES)
        lead = draws[:, 2] - draws[:, 1]  # only ours is right, only theirs is
        if shares[2] < shares[1]:
            lead = -lead
        accuracy = (draws[:, 2] + draws[:, 3]) / size
        differ = draws[:, 1] + draws[:, 2]
        p_value = np.minimum(1, 2 * binom.cdf((differ - np.abs(lead)) // 2, differ, 0.5))
        found[str(size)] = {
            "accuracy_range": np.percentile(accuracy, [2.5, 97.5]).tolist(),
            "ranked_wrongly": float((lead < 0).mean()),
            "tied": float((lead == 0).mean()),
            "found": float(((lead > 0) & (p_value < 0.05)).mean()),
        }
    return found


def find_failures(
    run: Run, reviews: Reviews, probabilities: np.ndarray, baseline: np.ndarray, tokens: Tokens
) -> dict:
    """Accuracy by length, truncation and stars, errors by kind, and what small tests hide.

    `probabilities` and `baseline` are two models' on the test, `tokens` those of its reviews.
    Saved as `results/failures.json`.
    """
    test, labels = reviews.test, reviews.test["label"].to_numpy()
    right = (probabilities >= 0.5) == labels
    both = {"fine-tuned": right, "TF-IDF": (baseline >= 0.5) == labels}
    accuracy = {"tokens": accuracy_by(by_length(tokens), both)}
    if any(tokens.shortened):
        accuracy["truncated"] = accuracy_by(by_loss(tokens), both)
    if "rating" in test:
        accuracy["stars"] = accuracy_by(by_stars(test["rating"]), both)
    other = contradicted(probabilities, baseline)
    facts = zip((row for _, row in test.iterrows()), other, tokens.shortened, strict=True)
    kinds = pd.Series([kind_of(*fact) for fact in facts])
    result = {
        **reviews.provenance,
        "model_sha256": run.load("predictions")["model_sha256"],
        "accuracy_by": accuracy,
        "errors": int((~right).sum()),
        "kinds": {
            kind: {"errors": int((~part).sum()), **share(int((~part).sum()), len(part))}
            for kind, part in pd.Series(right).groupby(kinds)
        },
        "small_tests": small_tests(labels, probabilities, baseline),
    }
    run.save("failures", result)
    return result
