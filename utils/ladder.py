"""What the research found: the ladder of steps and the learning curve, from saved results."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from utils.evaluation import share
from utils.research_tables import FOLDER
from utils.steps import MLM, MLM_SEED, STEPS, TFIDF, describe, recipe_of

RUNGS = {
    "1 · plain": ("short_head", "short", "middle", "plain"),
    "2 · another fine-tuning": (
        "short_slow", "short_fast", "short_fast_averaged", "short_fast_layers",
    ),
    "3 · pretrained further": ("adapted_short", "adapted"),
    "4 · taught by itself": ("self_taught", "self_taught_gold"),
    "5 · taught by MPNet": ("taught_few", "taught_few_gold", "taught", "taught_gold"),
    "the teacher, MPNet": ("teacher",),
}  # fmt: skip
# Test accuracy on IMDB with all of its 25,000 labels, as others published it.
REFERENCES = {
    "BERT-base, 25,000 labels (Sanh et al., 2019)": 0.9346,
    "DistilBERT, 25,000 labels (Sanh et al., 2019)": 0.9282,
}


def ladder(run: str = "imdb-minilm", folder: Path = FOLDER) -> list[dict]:
    """One row a step that has results: what it changes, its validation, its test, its minutes.

    Validation is of ten disjoint folds, or as many as were trained; else of each seed on the same
    tenth. A step without a test was not chosen.
    """
    rows = []
    for rung, steps in RUNGS.items():
        of = run if not rung.startswith("the teacher") else f"{run.split('-')[0]}-mpnet"
        for step in steps:
            folds, seeds = (
                [result for result in _read(folder, f"{step}-{of}-{kind}*")
                 if "validation_as_served" in result]
                for kind in ("fold", "seed")
            )  # fmt: skip
            if not folds and not seeds:
                continue
            recipe = recipe_of((seeds or folds)[0])
            rows.append({
                "rung": rung,
                "step": step,
                "recipe": describe(recipe, STEPS[step]),
                "folds": _validation(folds) if folds else None,
                "seeds": _validation(seeds) if seeds else None,
                "test": _test([result["test"] for result in seeds if "test" in result]),
                "minutes": _minutes(step, of, folder),
            })  # fmt: skip
    return rows


def learning_curve(
    steps: tuple[str, ...], run: str = "imdb-minilm", folder: Path = FOLDER
) -> dict[str, list[dict]]:
    """Test accuracy of TF-IDF and of some steps with each label budget that was scored."""
    found = {}
    for step in (TFIDF, *steps):
        rows = []
        for path in sorted(folder.glob(f"{step}-{run}-labels*-seed42.json")):
            labels = int(path.stem.split("-labels")[1].split("-")[0])
            rows.append({"labels": labels, **_test([json.loads(path.read_text())["test"]])})
        if usual := [r["test"] for r in _read(folder, f"{step}-{run}-seed*") if "test" in r]:
            rows.append({"labels": 4000, **_test(usual)})
        if rows:
            name = "TF-IDF" if step == TFIDF else step
            found[name] = sorted(rows, key=lambda row: row["labels"])
    return found


def worth(curve: list[dict], accuracy: float) -> int | None:
    """How many labels a learning curve needs for an accuracy, between its points on a log scale.

    None where it does not reach it, or where its first point is already above it.
    """
    for low, high in pairwise(curve):
        if low["mean"] <= accuracy <= high["mean"]:
            way = (accuracy - low["mean"]) / max(high["mean"] - low["mean"], 1e-9)
            return round(low["labels"] * (high["labels"] / low["labels"]) ** way)
    return None


def ladder_table(rows: list[dict]) -> pd.DataFrame:
    """The ladder as a table to be read, the steps in their order."""

    def percent(found: dict | None, of: str) -> str:
        if found is None:
            return ""
        low, high = found["interval"]
        return f"{found['share']:.1%} [{low:.1%}, {high:.1%}], {found[of]} {of}"

    def test(found: dict | None) -> str:
        if found is None:
            return ""
        spread = "" if found["spread"] is None else f" ± {found['spread']:.4f}"
        low, high = found["interval"]
        seeds = "1 seed" if found["seeds"] == 1 else f"{found['seeds']} seeds"
        return f"{found['mean']:.4f}{spread} [{low:.3f}, {high:.3f}], {seeds}"

    return pd.DataFrame(
        {
            "rung": row["rung"],
            "step": row["step"],
            "what is done": row["recipe"],
            "validation, by folds": percent(row["folds"], "folds"),
            "validation, by seeds": percent(row["seeds"], "seeds"),
            "test accuracy": test(row["test"]),
            "minutes": "" if row["minutes"] is None else f"{row['minutes']:.0f}",
        }
        for row in rows
    )


def _read(folder: Path, pattern: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{pattern}.json"))]


def _validation(results: list[dict]) -> dict:
    """Mean accuracy over folds, or over seeds on the same reviews, with its 95% interval."""
    accuracy = [result["validation_as_served"]["accuracy"] for result in results]
    reviews = [result["validation_reviews"] for result in results]
    folds = len({result["split_sha256"] for result in results}) > 1
    total = sum(reviews) if folds else reviews[0]
    mean = float(np.average(accuracy, weights=reviews))
    return {**share(round(mean * total), total), "folds": len(results), "seeds": len(results)}


def _test(reports: list[dict]) -> dict | None:
    """Mean accuracy on the test, the sample s.d. over seeds, and the interval of its size."""
    if not reports:
        return None
    values = [report["metrics"]["accuracy"]["value"] for report in reports]
    mean, total = float(np.mean(values)), reports[0]["reviews"]
    return {
        "seeds": len(values),
        "values": values,
        "mean": mean,
        "spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "interval": share(round(mean * total), total)["interval"],
    }


def _minutes(step: str, run: str, folder: Path) -> float | None:
    """What a model of the step costs with all that it builds on; None where some is not known."""
    costs = _costs(step, run, folder)
    return None if None in costs.values() else float(sum(costs.values()))


def _costs(step: str, run: str, folder: Path) -> dict[tuple, float | None]:
    """Minutes of each part, by name: what several build on is there once. Medians over seeds."""
    trained = _read(folder, f"{step}-{run}-seed*") or _read(folder, f"{step}-{run}-fold*")
    own = [result["minutes"] for result in trained if "validation" in result]
    costs = {(step, run): float(np.median(own)) if own and None not in own else None}
    if STEPS[step].start == MLM:
        (pretrained,) = _read(folder, f"{MLM}-{run}-seed{MLM_SEED}")
        costs[MLM, run] = pretrained["minutes"]
    elif STEPS[step].start:
        costs |= _costs(STEPS[step].start, run, folder)
    for teacher, backbone, seed in STEPS[step].teachers:
        of = run if backbone is None else f"{run.split('-')[0]}-{backbone}"
        for part, minutes in _costs(teacher, of, folder).items():
            costs[(*part, seed) if part[0] == teacher else part] = minutes
        (labels,) = _read(folder, f"{teacher}-{of}-seed{seed}-labels")
        reviews = min(STEPS[step].unlabelled or labels["labelled"], labels["labelled"])
        costs["labels of", teacher, seed] = labels["minutes"] * reviews / labels["labelled"]
    return costs
