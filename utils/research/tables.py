"""What the experiments found, as tables made from saved results alone."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from utils.cards import card
from utils.evaluation.metrics import mcnemar, share
from utils.formatting import bullets, percentage_points, said
from utils.paths import RESEARCH
from utils.research.experiments import (
    BASELINE,
    CASCADE,
    EXPERIMENTS,
    TAPT,
    TAPT_SEED,
    Experiment,
    Teacher,
    is_of,
)
from utils.settings import Settings

TITLES = {BASELINE: "TF-IDF, logistic regression"}
TITLES |= {name: experiment.title for name, experiment in EXPERIMENTS.items()}
CURVE = (BASELINE, "fine_tuned", "tapt")  # with fewer labels, too
TEACHERS_BACKBONE = "mpnet"
# Test accuracy on IMDB with all of its 25,000 labels, as others published it.
REFERENCES = {
    "BERT-base, 25,000 labels (Sanh et al., 2019)": 0.9346,
    "DistilBERT, 25,000 labels (Sanh et al., 2019)": 0.9282,
}


class Results:
    """The saved results of the experiments on one data set and backbone."""

    def __init__(self, dataset: str = "imdb", backbone: str = "minilm", folder: Path = RESEARCH):
        self.dataset, self.backbone = dataset, backbone
        read = (
            json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))
        )
        self.all = list(read)

    def of(self, name: str, **fields) -> list[dict]:
        """Those of an experiment as it is now, with these fields; of the usual budget of labels."""
        backbone = fields.pop("backbone", None) or self.backbone
        if name == "teacher":
            backbone = TEACHERS_BACKBONE
        same = {"experiment": name, "run": f"{self.dataset}-{backbone}",
                "labels": Settings.labels, **fields}  # fmt: skip
        found = [result for result in self.all if same.items() <= result.items()]
        return [r for r in found if name not in EXPERIMENTS or is_of(EXPERIMENTS[name], r)]

    def pretrained(self) -> dict | None:
        """The result of task-adaptive pretraining, if it was run."""
        return next(iter(self.of(TAPT, seed=TAPT_SEED)), None)

    def minutes(self, name: str) -> float | None:
        """Minutes of a model with all that it builds on; None where some is not known."""
        costs = self._costs(EXPERIMENTS[name])
        return None if None in costs.values() else float(sum(costs.values()))

    def _costs(self, experiment: Experiment, backbone: str | None = None) -> dict[tuple, float]:
        """Minutes of each part, by what it is: what several build on is there once.

        Medians over seeds; a result without minutes was made on a busy processor.
        """
        trained = self.of(experiment.name, fold=None, backbone=backbone)
        own = [result["minutes"] for result in trained if result["minutes"] is not None]
        costs = {(experiment.name, backbone): float(np.median(own)) if own else None}
        if experiment.tapt:
            found = self.pretrained()
            costs[TAPT, backbone] = found["minutes"] if found else None
        for teacher in experiment.teachers:
            made = self._costs(EXPERIMENTS[teacher.experiment], teacher.backbone)
            for part, minutes in made.items():
                own_seed = part[0] == teacher.experiment
                costs[(*part, teacher.seed) if own_seed else part] = minutes
            labelled = self._labels_of(teacher)
            key = "labels of", teacher
            costs[key] = None
            if labelled and trained:
                share_of = trained[0]["softly_labelled_reviews"] / labelled["labelled"]
                costs[key] = labelled["minutes"] * share_of
        return costs

    def _labels_of(self, teacher: Teacher) -> dict | None:
        run = f"{self.dataset}-{teacher.backbone or self.backbone}"
        same = {"experiment": teacher.experiment, "run": run, "seed": teacher.seed}
        found = (r for r in self.all if same.items() <= r.get("soft_labels_of", {}).items())
        return next(found, None)

    def rows(self) -> list[dict]:
        """One row an experiment that has results, the baseline first.

        `cross_validated` is over both folds, `validation` over seeds on the same tenth of the
        labels, `test` over seeds; `predicting_minutes`, of the whole test, are the least of them.
        """
        rows = []
        for name in (BASELINE, *EXPERIMENTS):
            found = self.of(name)
            if not found:
                continue
            of_seeds = [result for result in found if result["fold"] is None]
            validated = [result for result in found if "validation_as_served" in result]
            rows.append({
                "name": name,
                "title": TITLES[name],
                "group": EXPERIMENTS[name].group if name in EXPERIMENTS else "baseline",
                "cross_validated": _validation(
                    [result for result in validated if result["fold"] is not None], disjoint=True
                ),
                "validation": _validation(
                    [result for result in validated if result["fold"] is None], disjoint=False
                ),
                "test": _test([result["test"] for result in of_seeds if "test" in result]),
                "minutes": self.minutes(name) if name in EXPERIMENTS else None,
                "predicting_minutes": min(
                    (result["predicting_minutes"] for result in of_seeds
                     if "predicting_minutes" in result), default=None,
                ),
            })  # fmt: skip
        return rows

    def learning_curve(self) -> dict[str, list[dict]]:
        """Test accuracy with each label budget that was scored, by title."""
        run = f"{self.dataset}-{self.backbone}"
        found = {}
        for name in CURVE:
            own = [r for r in self.all if r.get("experiment") == name and r["run"] == run]
            rows = []
            for labels in sorted({result["labels"] for result in own}):
                tests = [r["test"] for r in self.of(name, labels=labels, fold=None) if "test" in r]
                if tests:
                    rows.append({"labels": labels, **_test(tests)})
            if rows:
                found["TF-IDF" if name == BASELINE else TITLES[name]] = rows
        return found

    def agreement(self) -> pd.DataFrame:
        """How near students come to their teachers on unlabelled reviews that none learns from."""
        rows = []
        for name in EXPERIMENTS:
            for result in self.of(name, fold=None):
                if found := result.get("agreement"):
                    rows.append({
                        "student": TITLES[name],
                        "seed": result["seed"],
                        "same label as its teachers": said(found),
                        "divergence, nats": f"{np.mean(found['divergences']):.4f}",
                    })  # fmt: skip
        return pd.DataFrame(rows)

    def cascade(self) -> dict | None:
        """The result of the cascade, if it was measured."""
        return next(iter(self.of(CASCADE, seed=Settings.seed)), None)

    def cascade_table(self) -> pd.DataFrame:
        """The linear student, the cascade and the encoder, each alone: accuracy, pairs, speed.

        Empty where the cascade was not measured.
        """
        found = self.cascade()
        linear = self.of("linear_student", seed=Settings.seed)
        if not found or not linear:
            return pd.DataFrame()
        trade = {row["left_to_linear"]: row for row in found["trade"]}
        left = found["chosen"]["left_to_linear"]
        parts = {
            "linear student": (linear[0], trade[1]),
            f"cascade, {left:.0%} left to the linear student": (found, found["chosen"]),
            "released encoder": (found["encoder_alone"], trade[0]),
        }
        return pd.DataFrame(
            {
                "model": name,
                "same label as the teachers": said(row),
                "test accuracy": said(result["test"]["metrics"]["accuracy"]),
                "pairs passed that should flip": said(result["minimal_pairs"]["flip"]),
                "pairs passed that should not flip": said(result["minimal_pairs"]["keep"]),
                "reviews/s": f"{row['reviews_per_second']:,.1f}",
            }
            for name, (result, row) in parts.items()
        )

    def neighbours(self, labels: np.ndarray) -> pd.DataFrame:
        """Each scored method against the one before it, by test accuracy.

        `labels` are those of validation, (reviews,). There the comparison is paired, of seed 42 of
        both. On the test it takes the mean over seeds as two independent samples, which makes its
        interval too wide: predictions of each review are not kept.
        """
        scored = [row for row in self.rows() if row["test"]]
        scored.sort(key=lambda row: row["test"]["mean"])
        rows = []
        for before, row in pairwise(scored):
            pair = [self.of(one["name"], seed=Settings.seed, fold=None) for one in (row, before)]
            served = [one[0].get("validation_as_served") if one else None for one in pair]
            paired = None
            if all(served):
                paired = mcnemar(labels, *(np.array(one["probabilities"]) for one in served))
            rows.append({
                "method": row["title"],
                "against": before["title"],
                "test gain, pp": percentage_points(_unpaired(row["test"], before["test"])),
                "validation gain, pp": percentage_points(
                    {"value": paired["gain"], "interval": paired["gain_interval"]}
                ) if paired else "",
                "McNemar's p": f"{paired['p_value']:.2g}" if paired else "",
                "minutes": _said_minutes(row["minutes"]),
            })  # fmt: skip
        return pd.DataFrame(rows)


def best_card(rows: list[dict]) -> str:
    """The most accurate method in three numbers; nothing where none is scored."""
    scored = {row["name"]: row for row in rows if row["test"] and row["name"] != "teacher"}
    if not scored:
        return ""
    best = max(scored.values(), key=lambda row: row["test"]["mean"])
    numbers = {f"test accuracy of *{best['title']}*": f"{best['test']['mean']:.1%}"}
    if plain := scored.get("fine_tuned"):
        numbers["percentage points over fine-tuning"] = f"{gain(best['test'], plain['test']):+.1f}"
    if best["minutes"]:
        numbers["minutes to train, teachers included"] = f"{best['minutes']:.0f}"
    return card(numbers)


def scored_findings(rows: list[dict]) -> str:
    """What each scored method gives, over fine-tuning, and what it costs."""
    plain = next((row["test"] for row in rows if row["name"] == "fine_tuned"), None)
    lines = []
    for row in rows:
        if test := row["test"]:
            line = f"{row['title']}: **{test['mean']:.1%}** test accuracy"
            if plain and row["name"] != "fine_tuned":
                line += f", {gain(test, plain):+.1f} pp against fine-tuning"
            if row["minutes"]:
                line += f", {row['minutes']:.0f} minutes to train"
            lines.append(f"{line}.")
    return bullets(lines or ["No method has a test score yet."])


def linear_findings(results: Results) -> str:
    """What the linear student's accuracy is worth, as a sentence; nothing where it was not run."""
    rows = {row["name"]: row["test"] for row in results.rows()}
    linear, plain = rows.get("linear_student"), rows.get("fine_tuned")
    if not linear or not plain:
        return ""
    pairs = results.of("linear_student", seed=Settings.seed)[0]["minimal_pairs"]
    return (
        f"The linear student labels **{linear['mean']:.1%}** of the test split correctly, "
        f"{gain(linear, plain):+.1f} pp against fine-tuning. It passes "
        f"**{pairs['flip']['share']:.0%}** of the minimal pairs that should flip a label, and "
        f"{pairs['keep']['share']:.0%} of those that should not."
    )


def cascade_findings(found: dict) -> str:
    """What the chosen cascade gives and costs, as sentences."""
    alone, chosen = found["encoder_alone"], found["chosen"]
    accuracy, without = (one["test"]["metrics"]["accuracy"]["value"] for one in (found, alone))
    flips, kept = (one["minimal_pairs"]["flip"]["share"] for one in (found, alone))
    times = chosen["reviews_per_second"] / found["trade"][0]["reviews_per_second"]
    return (
        f"The cascade labels **{accuracy:.1%}** of the test split correctly, the encoder alone "
        f"{without:.1%}. The cascade is **{times:.1f} times as fast**. But it passes {flips:.0%} "
        f"of the minimal pairs that should flip a label, the encoder alone {kept:.0%}."
    )


def experiments_table(rows: list[dict]) -> pd.DataFrame:
    """All rows: cross-validation, validation, test and cost."""

    def percent(found: dict | None) -> str:
        return "" if found is None else said(found)

    return pd.DataFrame(
        {
            "experiment": row["name"],
            "method": row["title"],
            "2-fold cross-validation": percent(row["cross_validated"]),
            "validation": percent(row["validation"]),
            "test accuracy": said_test(row["test"]),
            "minutes to train": _said_minutes(row["minutes"]),
        }
        for row in rows
    )


def scored_table(rows: list[dict]) -> pd.DataFrame:
    """What was scored, in short: test accuracy and cost."""
    return pd.DataFrame(
        {
            "method": row["title"],
            "test accuracy": said_test(row["test"]),
            "minutes to train": _said_minutes(row["minutes"]),
            "minutes to predict the test": _said_minutes(row["predicting_minutes"]),
        }
        for row in rows
        if row["test"]
    )


def learning_curve_table(curves: dict[str, list[dict]]) -> pd.DataFrame:
    """The learning curve as a table: one row a budget, one column a method."""
    tests = {(row["labels"], name): said_test(row) for name, rows in curves.items() for row in rows}
    return pd.DataFrame(
        {"labels": f"{labels:,}", **{name: tests.get((labels, name), "") for name in curves}}
        for labels in sorted({labels for labels, _ in tests})
    )


def tried_table(folder: Path = RESEARCH) -> pd.DataFrame:
    """Experiments that gave nothing and are not in the code any more, one row a comparison."""
    rows = []
    tried = json.loads((folder / "tried.json").read_text(encoding="utf-8"))
    for experiment in tried["experiments"]:
        for found in experiment.get("cross_validated", [{}]):
            agreed = (experiment.get("agreement") or experiment.get("agreement_on_gpu") or [{}])[0]
            gain = found.get("gain")
            rows.append({
                "experiment": experiment["what"],
                "against": TITLES.get(found.get("against"), found.get("against", "")),
                "reviews": f"{found['reviews']:,}, {found['dataset']}" if found else "",
                "gain, pp": percentage_points(gain) if gain else "",
                "validation": said(experiment["validation"]) if "validation" in experiment else "",
                "divergence from its teachers, nats": f"{agreed['divergence']:.4f}"
                if agreed else "",
                "test accuracy": said_test(experiment.get("test")),
            })  # fmt: skip
    return pd.DataFrame(rows)


def said_unlabelled(pretrained: dict) -> str:
    """Which unlabelled reviews there are, from the result of pretraining, as a sentence."""
    found = pretrained["unlabelled"]
    dropped = {
        "that are also in the test split": found["in_test_dropped"],
        "that are also among the labelled reviews": found["in_budget_dropped"],
        "duplicates": found["duplicates_dropped"],
    }
    all_of_them = found["without_label"] + found["beyond_the_budget"]
    held_out = all_of_them - sum(dropped.values()) - pretrained["reviews"]
    left_out = ", ".join(f"{count:,} {which}" for which, count in dropped.items())
    return (
        f"{found['without_label']:,} are published unlabelled. {found['beyond_the_budget']:,} "
        f"come from the training split, beyond the {pretrained['labels']:,} labelled reviews, and "
        f"their labels are ignored. Removed: {left_out}. The last {held_out:,} are held out to "
        f"compare students. This leaves {pretrained['reviews']:,}."
    )


def pretraining(found: dict) -> str:
    """On which reviews TAPT learnt, and what its loss became."""
    text = f"Of the unlabelled reviews, {said_unlabelled(found)}"
    if losses := found["held_out_loss"]:
        first, last = losses[0], losses[-1]
        text += f" Held-out loss fell from {first['loss']:.2f} after {first['epoch']:.2f} epochs "
        text += f"to {last['loss']:.2f}."
    return text


def gain(test: dict, over: dict) -> float:
    """Percentage points between the mean test accuracies of two experiments."""
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


def said_test(found: dict | None) -> str:
    """A test accuracy as text: the mean, the seeds' spread, the interval, and how many seeds."""
    if found is None:
        return ""
    spread = "" if found["spread"] is None else f" ± {100 * found['spread']:.2f}"
    low, high = found["interval"]
    seeds = "1 seed" if found["seeds"] == 1 else f"{found['seeds']} seeds"
    return f"{100 * found['mean']:.2f}{spread}% [{low:.1%}, {high:.1%}], {seeds}"


def _unpaired(test: dict, other: dict) -> dict:
    """The difference of two accuracies, with the 95% interval of independent samples."""
    value = test["mean"] - other["mean"]
    halves = [(found["interval"][1] - found["interval"][0]) / 2 for found in (test, other)]
    half = float(np.hypot(*halves))
    return {"value": value, "interval": [value - half, value + half]}


def _said_minutes(found: float | None) -> str:
    return "" if found is None else f"{found:.0f}"


def _validation(results: list[dict], disjoint: bool) -> dict | None:
    """Mean accuracy over folds, or over seeds on the same reviews, with its 95% interval."""
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
    mean = float(np.mean(values))
    return {
        "seeds": len(values),
        "values": values,
        "mean": mean,
        "spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "interval": share(round(mean * largest), largest)["interval"],
    }
