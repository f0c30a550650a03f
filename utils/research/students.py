"""How near students come to their teachers, on reviews without labels, as tables."""

from itertools import chain
from pathlib import Path

import numpy as np
from scipy.stats import ttest_rel

from utils.formatting import markdown_table, said
from utils.paths import RESEARCH
from utils.research.experiments import STEPS, is_of, recipe_of
from utils.research.tables import read, results_of

HEAD = ("step", "seed", "answers as its teachers do", "divergence, nats",
        "farther than the nearest by")  # fmt: skip


def students(run: str = "imdb-minilm", folder: Path = RESEARCH) -> str:
    """One row a student, on the reviews without labels that none learnt from.

    Of the students of the same answers the nearest to the teacher is last; how much farther the
    others are has its paired 95% interval, from Student's t.
    """
    groups: dict[tuple, list[tuple[np.ndarray, str, dict]]] = {}
    for step, made in STEPS.items():
        for result in results_of(step, run, "seed*", folder):
            if found := result.get("against_teachers"):
                row = np.array(found["divergences"]), step, result
                first = STEPS.get(made.start, made)  # the student that it started from, if any
                same = made.teachers, first.unlabelled, found.get("texts_sha256")
                groups.setdefault(same, []).append(row)
    return markdown_table(HEAD, chain(*map(_by_distance, groups.values())))


def farther(step: str, other: str, on_gpu: bool = False, run: str = "imdb-minilm") -> str:
    """How much farther a student is from its teachers than another of the same seed, in nats.

    As text, with the paired 95% interval of Student's t. The other one was trained on the CPU.
    """
    gpu = RESEARCH / "gpu" / f"{step}.json"
    pairs = [read(gpu)] if on_gpu else results_of(step, run, "seed42")
    pairs += results_of(other, run, "seed42")
    own, others = (np.array(found["against_teachers"]["divergences"]) for found in pairs)
    names = f"`{step}` there less `{other}` here" if on_gpu else f"`{step}` less `{other}`"
    return f"{names}: {_less(own, others, '+.4f')}"


def tried_on_gpu(folder: Path = RESEARCH / "gpu") -> str:
    """The same of the steps that were tried on a GPU."""
    rows = []
    for step in STEPS:
        result = read(folder / f"{step}.json")
        if is_of(step, result):
            divergences = np.array(result["against_teachers"]["divergences"])
            rows.append((divergences, step, result))
    return markdown_table(HEAD, _by_distance(rows))


def _less(own: np.ndarray, other: np.ndarray, form: str) -> str:
    """The mean of paired differences with its 95% interval, from Student's t."""
    interval = ttest_rel(own, other).confidence_interval()
    return said({"value": (own - other).mean(), "interval": interval}, form)


def _by_distance(rows: list[tuple[np.ndarray, str, dict]]) -> list[list]:
    rows = sorted(rows, key=lambda row: -row[0].mean())
    nearest, lines = rows[-1][0], []
    for own, name, result in rows:
        cells = [name, recipe_of(result).seed]
        cells += [said(result["against_teachers"]), f"{own.mean():.4f}", ""]
        if own is not nearest:
            cells[-1] = _less(own, nearest, ".4f")
        lines.append(cells)
    return lines
