"""What the research found: the ladder of steps and the learning curve, from saved results."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from utils.evaluation.metrics import share
from utils.formatting import said
from utils.paths import RESEARCH
from utils.research.costs import minutes_of
from utils.research.experiments import FIRST_REVIEWS, STEPS, TFIDF, describe, recipe_of
from utils.research.tables import results_of
from utils.settings import Settings

BASELINE_RUNG = "the baseline"
TEACHER = "mpnet"
TEACHERS_RUNG = "the teacher, MPNet"
FINE_TUNING = "2 · another fine-tuning"
PRETRAINED = "3 · pretrained further"
RUNGS = {
    "1 · plain": ("short_head", "short", "middle", "plain"),
    FINE_TUNING: (
        "short_random", "short_slow", "short_fast", "short_fast_averaged", "short_fast_layers",
        "fast_layers",
    ),
    PRETRAINED: ("adapted_short", "adapted_short_fast_layers", "adapted"),
    "4 · taught by itself": ("self_taught", "self_taught_gold"),
    "5 · taught by MPNet": (
        "taught_few", "taught_few_gold", "taught_few_fast", "taught_few_adapted", "taught_few_slow",
        "taught", "taught_by_three", "taught_by_three_then_512",
    ),
    TEACHERS_RUNG: ("teacher",),
}  # fmt: skip
# What is compared with `short` on parts of the labels.
FINE_TUNED = ("short_head", *RUNGS[FINE_TUNING], *RUNGS[PRETRAINED])
TITLES = {  # of what may be scored
    TFIDF: "TF-IDF, logistic regression",
    "plain": "fine-tuned",
    "fast_layers": "fine-tuned, layer-wise decay",
    "adapted": "pretrained further, then fine-tuned",
    "self_taught": "pretrained further, taught by 3 of its kind",
    "self_taught_gold": "… and by the labels again",
    "taught_few": f"taught by MPNet, {FIRST_REVIEWS:,} reviews",
    "taught_few_gold": "… and by the labels again",
    "taught": "pretrained further, taught by MPNet",
    "taught_by_three": "pretrained further, taught by 3 MPNets",
    "taught_by_three_then_512": "… and with 512 tokens",
    "teacher": "MPNet, five times as large",
}
CURVE = ("plain", "adapted")  # steps that are trained on fewer labels, too
VALIDATED = {"half": "halves", "seed": "seeds"}
# Test accuracy on IMDB with all of its 25,000 labels, as others published it.
REFERENCES = {
    "BERT-base, 25,000 labels (Sanh et al., 2019)": 0.9346,
    "DistilBERT, 25,000 labels (Sanh et al., 2019)": 0.9282,
}


def ladder(dataset: str = "imdb", backbone: str = "minilm", folder: Path = RESEARCH) -> list[dict]:
    """One row a step that has results: what it changes, its validation, its test, its minutes.

    The baseline is the first, where it was scored. `plain` is described whole, and the others,
    where it was run, by what they change in it. Minutes are of training; `predicting_minutes`, of
    the whole test, are the least of its seeds, since some were beside other work.
    Validation is of either half of the labels, of models trained on the other, and of each seed on
    the same tenth. Results of an earlier recipe of a step are not its own.
    """
    rows = []
    plain = next(map(recipe_of, results_of("plain", f"{dataset}-{backbone}", "*", folder)), None)
    listed = [step for steps in RUNGS.values() for step in steps]
    rungs = RUNGS | {"others": tuple(step for step in STEPS if step not in listed)}
    for rung, steps in rungs.items():
        run = f"{dataset}-{TEACHER if rung == TEACHERS_RUNG else backbone}"
        for step in steps:
            by_kind = {
                kind: [result for result in results_of(step, run, f"{kind}*", folder)
                       if "validation_as_served" in result]
                for kind in VALIDATED
            }  # fmt: skip
            found = [result for results in by_kind.values() for result in results]
            if not found:
                continue
            rows.append({
                "rung": rung,
                "step": step,
                "recipe": describe(
                    recipe_of(found[0]), STEPS[step], None if step == "plain" else plain
                ),
                **{kind: _validation(results, disjoint=kind != "seed")
                   for kind, results in by_kind.items()},
                "test": _test([result["test"] for result in by_kind["seed"] if "test" in result]),
                "minutes": minutes_of(step, dataset, run, folder),
                "predicting_minutes": min(
                    (result["predicting_minutes"] for result in by_kind["seed"]
                     if "predicting_minutes" in result), default=None,
                ),
            })  # fmt: skip
    return [*_baseline(f"{dataset}-{backbone}", folder), *rows]


def _baseline(run: str, folder: Path) -> list[dict]:
    """The baseline's row, if it was scored."""
    return [
        {
            "rung": BASELINE_RUNG,
            "step": TFIDF,
            "recipe": "TF-IDF over words and pairs, logistic regression",
            **dict.fromkeys((*VALIDATED, "minutes", "predicting_minutes")),
            "test": _test([result["test"]]),
        }
        for result in results_of(TFIDF, run, f"seed{Settings.seed}", folder)
    ]


def learning_curve(
    steps: tuple[str, ...] = CURVE, run: str = "imdb-minilm", folder: Path = RESEARCH
) -> dict[str, list[dict]]:
    """Test accuracy of TF-IDF and of some steps with each label budget that was scored."""
    found = {}
    for step in (TFIDF, *steps):
        start = f"{step}-{run}-labels"
        names = [path.name for path in folder.glob("*.json") if path.name.startswith(start)]
        budgets = {name.removeprefix(start).split("-")[0] for name in names}
        budgets = {int(labels) for labels in budgets if labels.isdecimal()} | {Settings.labels}
        rows = []
        for labels in sorted(budgets):
            results = results_of(step, run, "seed*", folder, labels)
            if tests := [result["test"] for result in results if "test" in result]:
                rows.append({"labels": labels, **_test(tests)})
        if rows:
            found["TF-IDF" if step == TFIDF else step] = rows
    return found


def learning_curve_table(curves: dict[str, list[dict]]) -> pd.DataFrame:
    """The learning curve as a table to be read: one row a budget, one column a step."""
    tests = {
        (row["labels"], name): _said_test(row) for name, rows in curves.items() for row in rows
    }
    return pd.DataFrame(
        {"labels": f"{labels:,}", **{name: tests.get((labels, name), "") for name in curves}}
        for labels in sorted({labels for labels, _ in tests})
    )


def points_gained(test: dict, over: dict) -> float:
    """Points of accuracy between the means of two steps' tests."""
    return 100 * (test["mean"] - over["mean"])


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

    def percent(found: dict | None) -> str:
        return "" if found is None else f"{said(found)}, {found['trainings']}"

    return pd.DataFrame(
        {
            "rung": row["rung"],
            "step": row["step"],
            "what is done": row["recipe"],
            **{f"validation, by {name}": percent(row[kind]) for kind, name in VALIDATED.items()},
            "test accuracy": _said_test(row["test"]),
            "minutes": _said_minutes(row["minutes"]),
        }
        for row in rows
    )


def scored_table(rows: list[dict]) -> pd.DataFrame:
    """What was scored, in short: one row a step, its test accuracy, and what it costs."""
    return pd.DataFrame(
        {
            "step": row["step"],
            "what it is": TITLES.get(row["step"], row["recipe"]),
            "test accuracy": _said_test(row["test"]),
            "minutes to train": _said_minutes(row["minutes"]),
            "minutes to predict the test": _said_minutes(row["predicting_minutes"]),
        }
        for row in rows
        if row["test"]
    )


def _said_minutes(found: float | None) -> str:
    return "" if found is None else f"{found:.0f}"


def _said_test(found: dict | None) -> str:
    """A test accuracy as text: the mean, the seeds' spread, the interval, and how many seeds."""
    if found is None:
        return ""
    spread = "" if found["spread"] is None else f" ± {found['spread']:.4f}"
    low, high = found["interval"]
    seeds = "1 seed" if found["seeds"] == 1 else f"{found['seeds']} seeds"
    return f"{found['mean']:.4f}{spread} [{low:.3f}, {high:.3f}], {seeds}"


def _validation(results: list[dict], disjoint: bool) -> dict | None:
    """Mean accuracy over parts, or over seeds on the same reviews, with its 95% interval."""
    if not results:
        return None
    accuracy = [result["validation_as_served"]["accuracy"] for result in results]
    reviews = [result["validation_reviews"] for result in results]
    total = sum(reviews) if disjoint else reviews[0]
    mean = float(np.average(accuracy, weights=reviews))
    return {**share(round(mean * total), total), "share": mean, "trainings": len(results)}


def _test(reports: list[dict]) -> dict | None:
    """Mean accuracy on the test, the sample s.d. over seeds, and the interval of its size.

    Of reports on tests of several sizes those on the largest count.
    """
    if not reports:
        return None
    largest = max(report["reviews"] for report in reports)
    reports = [report for report in reports if report["reviews"] == largest]
    values = [report["metrics"]["accuracy"]["value"] for report in reports]
    mean, total = float(np.mean(values)), reports[0]["reviews"]
    return {
        "seeds": len(values),
        "values": values,
        "mean": mean,
        "spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "interval": share(round(mean * total), total)["interval"],
    }
