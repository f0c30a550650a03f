"""What a step of the research costs, with all that it builds on."""

from pathlib import Path

import numpy as np

from utils.paths import RESEARCH
from utils.research.experiments import MLM, STEPS
from utils.research.tables import pretrained, read, results_of


def minutes_of(step: str, dataset: str, run: str, folder: Path = RESEARCH) -> float | None:
    """Minutes of a model of the step, with all that it builds on; None where some is not known."""
    costs = _costs(step, dataset, run, folder)
    return None if None in costs.values() else float(sum(costs.values()))


def _costs(step: str, dataset: str, run: str, folder: Path) -> dict[tuple, float | None]:
    """Minutes of each part, by name: what several build on is there once.

    Medians over seeds, or tenths; a result without minutes was made on a busy processor.
    """
    trained = results_of(step, run, "seed*", folder) or results_of(step, run, "fold*", folder)
    own = [result["minutes"] for result in trained if result["minutes"] is not None]
    costs = {(step, run): float(np.median(own)) if own else None}
    if STEPS[step].start == MLM:
        found = pretrained(run, folder)
        costs[MLM, run] = found["minutes"] if found else None
    elif STEPS[step].start:
        costs |= _costs(STEPS[step].start, dataset, run, folder)
    for teacher, backbone, seed in STEPS[step].teachers:
        of = run if backbone is None else f"{dataset}-{backbone}"
        for part, minutes in _costs(teacher, dataset, of, folder).items():
            costs[(*part, seed) if part[0] == teacher else part] = minutes
        found = read(folder / f"{teacher}-{of}-seed{seed}-labels.json")
        key = "labels of", teacher, seed
        known = costs.get(key, 0.0)  # what it starts from may have learnt more of these labels
        if found and trained and known is not None:
            share_of = trained[0]["softly_labelled_reviews"] / found["labelled"]
            costs[key] = max(found["minutes"] * share_of, known)
        else:
            costs[key] = None
    return costs
