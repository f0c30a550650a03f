"""The research's trainings as tables: by fold, by seed, by epoch, and against the usual way."""

import json
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path

import numpy as np

from utils.evaluation.metrics import paired_interval, share
from utils.formatting import markdown_table, said
from utils.paths import RESEARCH as FOLDER
from utils.paths import ROOT
from utils.research.experiments import (
    MLM,
    MLM_SEED,
    STEPS,
    Step,
    describe,
    is_of,
    recipe_of,
    result_name,
)
from utils.results import Run
from utils.settings import Settings


def read(path: Path) -> dict:
    """The result in a file; empty where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def results_in(
    folder: Path, run: str, which: str, labels: int = Settings.labels
) -> Iterator[tuple[str, str, dict]]:
    """Of each result of a run with these labels its step, its seed or part, and itself, by name.

    `which` is a pattern, as seed*, half*. A run's name is none, whatever characters it holds.
    """
    for path in sorted(folder.glob("*.json")):
        step, part = path.stem.split("-")[0], path.stem.split("-")[-1]
        if fnmatchcase(part, which) and path.name == result_name(step, run, part, labels):
            yield step, part, read(path)


def results_of(
    step: str, run: str, which: str, folder: Path = FOLDER, labels: int = Settings.labels
) -> list[dict]:
    """The results that were trained as the step now says; `which` is a pattern, as seed*, half*."""
    found = results_in(folder, run, which, labels)
    return [result for of, _, result in found if of == step and is_of(step, result)]


def pretrained(run: str = "imdb-minilm", folder: Path = FOLDER) -> dict | None:
    """The result of pretraining on the reviews without labels, if it was run."""
    return next(iter(results_of(MLM, run, f"seed{MLM_SEED}", folder)), None)


def cross_validated(dataset: str = "imdb-minilm") -> str:
    """One row a recipe that was cross-validated, by its last epoch, as Markdown.

    Rows of the same folds, and order of batches, stand together, the best last.
    """
    found: dict[tuple[str, bool], dict[int, dict]] = {}
    for step, part, result in results_in(FOLDER, dataset, "fold*"):
        recipe = replace(recipe_of(result), best_epoch=False)
        about = describe(recipe, STEPS.get(step, Step()))
        name = about, "best_epoch" not in result["recipe"]
        found.setdefault(name, {})[int(part.removeprefix("fold"))] = result
    rows = []
    for (recipe, earlier), results in found.items():
        last = [result["validation"][-1] for result in results.values()]
        accuracy = [epoch["accuracy"] for epoch in last]
        mean = np.mean(accuracy)
        reviews = sum(result["validation_reviews"] for result in results.values())
        order = "an earlier one" if earlier else "ours, unless said"
        cells = [recipe, order, ", ".join(map(str, results))]
        cells += [", ".join(f"{value:.1%}" for value in accuracy)]
        cells += [said(share(round(mean * reviews), reviews))]
        cells += [f"{np.mean([epoch['loss'] for epoch in last]):.3f}"]
        rows.append((earlier, len(results), mean, cells))
    head = "recipe", "order of batches", "folds", "accuracy of each", "mean, 95% interval", "loss"
    return markdown_table(head, (cells for *_, cells in sorted(rows)))


def by_epoch(dataset: str = "imdb-minilm") -> str:
    """Mean validation accuracy after each epoch, over trainings with nine tenths of the labels.

    Without those whose batches went from long to short, which is not done any more.
    """
    main = Run(ROOT / "artifacts" / dataset).load("training")
    others = chain(*(results_in(FOLDER, dataset, which) for which in ("fold*", "seed*")))
    trained = [main, *(result for *_, result in others if "validation" in result)]
    trained = [result for result in trained if recipe_of(result).shuffled]
    # A training of which two epochs were kept is one training: its losses are the same.
    histories = {
        tuple((epoch["loss"], epoch["accuracy"]) for epoch in result["validation"]): result
        for result in trained
    }
    histories = [[accuracy for _, accuracy in history] for history in histories]
    histories = np.array([history for history in histories if len(history) == 3])
    means = ", ".join(f"{mean:.1%}" for mean in histories.mean(0))
    before = histories[:, :2].max(1)
    best, tied = (int(rows.sum()) for rows in (histories[:, 2] > before, histories[:, 2] == before))
    return (
        f"Over the {len(histories)} trainings here with batches in random order, validation "
        f"accuracy after each of three epochs was {means} in the mean; the last epoch was the best "
        f"of its training {best} times, and as good as the best {tied} times."
    )


def scored(run: str = "imdb-minilm") -> str:
    """One row a seed of fine-tuning alone that was scored, each recipe's mean ± sample s.d.

    The mean is over seeds: of one that was trained by earlier code, too, the notebooks' run counts.
    """
    main = Run(ROOT / "artifacts" / run)
    trained = main.load("training")
    found = {describe(recipe_of(trained), Step()): []}
    for name, _, result in results_in(FOLDER, run, "seed*"):
        step = STEPS.get(name, Step())
        if "test" not in result or "fingerprint" not in result or step.start or step.teachers:
            continue
        if result["fingerprint"] != trained["fingerprint"]:
            found.setdefault(describe(recipe_of(result), step), []).append((result, result["test"]))
    found[next(iter(found))].append((trained, main.load("evaluation")["model"]))
    lines = []
    for recipe, rows in found.items():
        values: dict[str, dict[int, float]] = {"accuracy": {}, "f1": {}}
        for result, test in sorted(rows, key=lambda row: row[0]["recipe"]["seed"]):
            cells = []
            for metric, of_all in values.items():
                value, (low, high) = test["metrics"][metric].values()
                of_all[result["recipe"]["seed"]] = value
                cells.append(f"{value:.4f} [{low:.3f}, {high:.3f}]")
            epochs = ", ".join(f"{epoch['accuracy']:.1%}" for epoch in result["validation"])
            about = [recipe, result["recipe"]["seed"], result["versions"]["precision"], epochs]
            lines.append([*about, result["kept_epoch"], *cells])
        if len(values["accuracy"]) > 1:
            of_seeds = [list(by_seed.values()) for by_seed in values.values()]
            spread = [f"{np.mean(x):.4f} ± {np.std(x, ddof=1):.4f}" for x in of_seeds]
            seeds = f"mean ± s.d. of {len(of_seeds[0])} seeds"
            lines.append([recipe, seeds, "", "", "", *spread])
    head = "recipe", "seed", "precision", "epochs on validation", "kept", "test accuracy", "F1"
    return markdown_table(head, lines)


def self_taught_on_gpu(path: Path = FOLDER / "gpu" / "self_taught_halves.json") -> str:
    """A student of its own kind's answers, which was tried on a GPU, against other models.

    Each was trained twice, with the labels of one half, and has answered the other half.
    """
    models = {made["model"]: made for made in read(path)["models"]}
    student, lines = models["self_taught, seed 42"], []
    for name, made in models.items():
        pairs = list(zip(made["halves"], student["halves"], strict=True))
        reviews, (accuracy, _), gain = _paired_gain(pairs)
        lines.append([name, accuracy, "" if made is student else gain])
    head = "model", f"accuracy on {reviews:,} reviews", "`self_taught` is better by, 95% interval"
    return markdown_table(head, lines)


def said_unlabelled(pretrained: dict) -> str:
    """Which reviews without a label there are, from the result of pretraining, as a sentence."""
    found = pretrained["unlabelled"]
    dropped = {
        "that stand in the test": found["in_test_dropped"],
        f"of the {pretrained['labels']:,} labelled ones": found["in_budget_dropped"],
        "copies": found["duplicates_dropped"],
    }
    all_of_them = found["without_label"] + found["beyond_the_budget"]
    held_out = all_of_them - sum(dropped.values()) - pretrained["reviews"]
    left_out = ", ".join(f"{count:,} {which}" for which, count in dropped.items())
    return (
        f"{found['without_label']:,} that come without one, and {found['beyond_the_budget']:,} of "
        f"the training set beyond the {pretrained['labels']:,}, whose labels are not read. Left "
        f"out are {left_out}, and the last {held_out:,}, on which students are compared: "
        f"{pretrained['reviews']:,} remain."
    )


def against_ours(
    steps: tuple[str, ...],
    runs: tuple[str, ...] = ("imdb-minilm", "rotten-tomatoes-minilm"),
    folder: Path = FOLDER,
) -> str:
    """Other ways of training against ours, on the parts of the labels that both were trained on.

    The interval is of paired answers: where two models differ on a review, exactly one is right.
    It does not know what another seed would have changed.
    """
    lines = []
    for run in runs:
        for kind in ("half*", "fold*"):
            for step in steps:
                if pairs := _pairs(step, "short", run, kind, folder):
                    lines.append(_compared(step, pairs))
    head = ("reviews", "trained on", "validated on", "step", "what it changes", "ours",
            "its accuracy", "better than ours by, 95% interval")  # fmt: skip
    return markdown_table(head, lines)


def against(step: str, other: str, run: str = "imdb-minilm") -> str:
    """The same of two steps, on halves of the labels, as a sentence."""
    reviews, accuracies, gain = _paired_gain(_pairs(other, step, run, "half*"))
    return f"`{step}` {accuracies[1]}, `{other}` {accuracies[0]}: {gain} on {reviews:,} reviews."


def _pairs(step: str, other: str, run: str, kind: str, folder: Path = FOLDER) -> list[list[dict]]:
    """Results of two steps, of one part of the labels each, that were trained on the same."""
    theirs, ours = (
        {found["training_sha256"]: found for found in results_of(name, run, kind, folder)}
        for name in (step, other)
    )
    return [[found, ours[key]] for key, found in theirs.items() if key in ours]


def _compared(step: str, pairs: list[list[dict]]) -> list[str]:
    reviews, accuracies, gain = _paired_gain([pair[::-1] for pair in pairs])
    theirs, ours = map(recipe_of, pairs[0])
    change = describe(theirs, STEPS[step], beside=ours)
    trained_on = f"{len(pairs)} x {pairs[0][0]['train_reviews']:,}"
    return [pairs[0][0]["dataset"], trained_on, f"{reviews:,}", step, change, *accuracies, gain]


def _paired_gain(pairs: list[list[dict]]) -> tuple[int, list[str], str]:
    """Reviews, both accuracies, and how much better the second is, with its 95% interval."""
    served = [[result["validation_as_served"] for result in pair] for pair in pairs]
    answers = [[np.array(x["probabilities"]) >= 0.5 for x in pair] for pair in served]
    reviews = sum(len(theirs) for theirs, _ in answers)
    right = np.sum([[x["accuracy"] * len(a) for x, a in zip(*both, strict=True)]
                    for both in zip(served, answers, strict=True)], axis=0)  # fmt: skip
    differ = sum(int((theirs != ours).sum()) for theirs, ours in answers)
    gain = (right[1] - right[0]) / reviews
    half = paired_interval(gain, differ, reviews)[1] - gain
    accuracies = [f"{value / reviews:.1%}" for value in right]
    return reviews, accuracies, f"{100 * gain:+.1f} ± {100 * half:.1f} points"
