"""Which labels may be wrong: cleanlab's ranking, by a model trained on the other half of them."""

import json

import numpy as np
import pandas as pd

from utils import InputError
from utils.data import Reviews
from utils.evaluation import share
from utils.results import Run
from utils.steps import PARTS, result_name

STEP = "short"  # of the research, trained on either half of the labels
SHOWN = 20
# Northcutt et al., "Pervasive Label Errors" (2021), of IMDB's 25,000 test reviews: those that an
# algorithm flagged and people judged, and those whose label most of these people did not confirm.
JUDGED = {"reviews": 25_000, "flagged": 1310, "unconfirmed": 725}


def out_of_fold(run: Run, reviews: Reviews) -> pd.DataFrame:
    """The label budget with `probability` of positive from the model not trained on it.

    Raises InputError where there is none that was trained on the other half.
    """
    parts = []
    for number in range(PARTS["half"]):
        fold = reviews.fold(number, PARTS["half"])
        labels = len(reviews.train) + len(reviews.validation)
        name = result_name(STEP, run.name, f"half{number}", labels)
        path = run.folder.parent / "research" / name
        result = json.loads(path.read_text()) if path.exists() else {}
        if result.get("training_sha256") != fold.training_sha256 or (
            "validation_as_served" not in result
        ):
            raise InputError(
                f"{path.name} is missing, or of other reviews: run scripts/research.py {STEP} "
                "--halves with these settings first."
            )
        probability = result["validation_as_served"]["probabilities"]
        parts.append(fold.validation.assign(probability=probability))
    return pd.concat(parts, ignore_index=True)


def rank_labels(run: Run, reviews: Reviews) -> dict:
    """How many labels cleanlab doubts, and those it doubts most (Northcutt et al., 2021).

    Reviews are named by the hash of their text.
    """
    from cleanlab.filter import find_label_issues  # of requirements-evaluate.txt

    budget = out_of_fold(run, reviews)
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
