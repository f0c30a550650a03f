"""Which labels may be wrong: cleanlab's ranking, by a model trained on the other half of them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from utils.data.reviews import Reviews
from utils.evaluation.metrics import share

SHOWN = 20
# Northcutt et al., "Pervasive Label Errors" (2021), of IMDB's 25,000 test reviews: those that an
# algorithm flagged and people judged, and those whose label most of these people did not confirm.
JUDGED = {"reviews": 25_000, "flagged": 1310, "unconfirmed": 725}


def out_of_fold(folds: list[Path], reviews: Reviews) -> pd.DataFrame:
    """The label budget with `probability` of positive from the model not trained on it.

    `folds` are the results of an experiment that held out either fold, in their order.
    """
    parts = []
    for number, path in enumerate(folds):
        served = json.loads(path.read_text(encoding="utf-8"))["validation_as_served"]
        held_out = reviews.fold(number, len(folds)).validation
        parts.append(held_out.assign(probability=served["probabilities"]))
    return pd.concat(parts, ignore_index=True)


def rank_labels(folds: list[Path], reviews: Reviews) -> dict:
    """How many labels cleanlab doubts, and those it doubts most (Northcutt et al., 2021).

    `folds` are those of `out_of_fold`. Reviews are named by the hash of their text.
    """
    from cleanlab.filter import find_label_issues  # of the extra evaluate

    budget = out_of_fold(folds, reviews)
    positive = budget["probability"].to_numpy()
    doubted = find_label_issues(
        budget["label"].to_numpy(),
        np.stack([1 - positive, positive], axis=1),
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    right = (positive >= 0.5) == budget["label"]
    worst = budget.iloc[doubted[:SHOWN]]
    result = {
        "out_of_fold_accuracy": share(int(right.sum()), len(budget)),
        "doubted": len(doubted),
        "most_doubted": [
            {"hash": row.hash, "label": int(row.label), "probability_positive": row.probability}
            for row in worst.itertuples()
        ],
    }  # fmt: skip
    if reviews.name == "imdb":
        right = 1 - JUDGED["unconfirmed"] / JUDGED["reviews"]
        result["test_judged_by_people"] = {**JUDGED, "right_if_those_are_wrong": right}
    return result
