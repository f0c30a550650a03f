"""What an export changes, as sentences and tables for notebook 05 to show."""

import pandas as pd

from utils.formatting import bullets

NAMES = {"pipeline": "a plain pipeline", "fp16": "weights stored in fp16"}


def changed(measured: dict) -> pd.DataFrame:
    """What each way to predict changes against our inference in fp32, on validation."""
    rows = {
        name: {
            "accuracy": f"{measured[key]['accuracy']:.1%}",
            "ours": f"{measured[key]['our_accuracy']:.1%}",
            "labels that differ": measured[key]["label_flips"],
            "largest difference of a probability": f"{measured[key]['largest_difference']:.4f}",
        }
        for key, name in NAMES.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def exported(result: dict, measured: dict) -> str:
    """What notebook 05 found."""
    plain, half = measured["pipeline"], measured["fp16"]
    return bullets([
        f"The zip has {result['megabytes']} MB and transformers' own layout: no code of ours is "
        "needed to load it.",
        f"A fresh process predicts the same labels. Probabilities differ by at most "
        f"{result['largest_difference']:.1e}.",
        f"A plain pipeline has {plain['accuracy']:.1%} validation accuracy, our inference "
        f"{plain['our_accuracy']:.1%} (McNemar's p = {plain['mcnemar']['p_value']:.2g}). "
        f"{plain['label_flips']} of {plain['reviews']} labels differ, {plain['flips_where_cut']} "
        "of them on truncated reviews.",
        f"Weights in fp16 change {half['label_flips']} of {half['reviews']} labels.",
    ])  # fmt: skip
