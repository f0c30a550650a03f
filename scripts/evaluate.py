"""What notebook 04b shows and what takes a while: why, which labels, pairs, another domain.

Examples:
  python scripts/evaluate.py
  python scripts/evaluate.py --also embedded
  python scripts/evaluate.py --originals test_original.tsv --edits test_contrast.tsv

Needs a finished run (make run) with the same settings. For the labels it trains two models, each on
one half of them. Results are saved in the run's folder, each as soon as it is there.
"""

import argparse
import json
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from sklearn.pipeline import Pipeline

from utils import InputError, pairs
from utils.attribution import FEW_STEPS, STEPS, explain, without_words
from utils.baseline import fit_baseline, word_weights
from utils.data import Reviews, load_reviews
from utils.evaluation import evaluate_elsewhere, mcnemar, share, worst_errors
from utils.hardware import versions
from utils.inference import Classifier
from utils.labels import rank_labels
from utils.packaged import require_packages
from utils.research.commands import train
from utils.research.runs import Research
from utils.research.steps import PARTS
from utils.results import Run
from utils.settings import FEWEST_LABELS, Settings, set_up
from utils.training import load_trained

EXPLAINED = 100  # test reviews whose words are removed
SHOWN = 3  # right and wrong ones that are shown
REMOVED = (1, 3, 5, 10)  # words
REMOVERS = ("strongest", "with few steps", "TF-IDF", "random")  # whose words


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--also", metavar="SOURCE", help="test on these reviews too")
    parser.add_argument("--originals", type=Path, help="published pairs: the originals, and")
    parser.add_argument("--edits", type=Path, help="row by row their edits (Sentiment, Text)")
    arguments = parser.parse_args()
    if bool(arguments.originals) != bool(arguments.edits):
        parser.error("--originals and --edits go together")
    try:
        require_packages("requirements-evaluate.txt", "cleanlab")
        settings = set_up()
        reviews = load_reviews(settings)
        other = load_others(settings, arguments.also) if arguments.also else None
        if other and other.reviews_sha256 == reviews.reviews_sha256:
            raise InputError(f"--also {arguments.also}: these are the reviews of SOURCE.")
        run = Run.of(settings, reviews.name)
        classifier, trained = load_trained(
            run, training_sha256=reviews.training_sha256, seed=settings.seed
        )
        about = {**reviews.provenance, "model_sha256": trained["model_sha256"],
                 "versions": versions()}  # fmt: skip
        baseline = fit_baseline(
            reviews.train, run.load("baseline", split_sha256=reviews.split_sha256)["C"]
        )
        models = {
            "fine-tuned": classifier.probabilities,
            "TF-IDF": lambda texts: baseline.predict_proba(texts)[:, 1],
        }
        known = {*reviews.train["text"], *reviews.validation["text"]}
        save(run, "minimal_pairs", about | own_pairs(models))
        if arguments.originals:
            found = {
                name: pairs.score_published(arguments.originals, arguments.edits, predict, known)
                for name, predict in models.items()
            }
            for name, parts in found.items():
                shares = (f"{part['share']:.1%} of {part['reviews']:,} {what}"
                          for what, part in parts.items())  # fmt: skip
                print(f"{name}: {', '.join(shares)}")
            files = [arguments.originals.name, arguments.edits.name]
            save(run, "published_pairs", about | {"files": files, "models": found})
        if other:
            found = evaluate_elsewhere(other, models, known)
            save(run, f"on_{other.name}", about | {"name": other.name} | found)
        save(run, "explanations", about | explanations(run, reviews, classifier, baseline, trained))
        research = Research(replace(settings, seed=Settings.seed), reviews)  # whatever SEED is
        halves = [train(research, "short", ("half", number), score=False)
                  for number in range(PARTS["half"])]  # fmt: skip
        save(run, "labels", about | rank_labels(halves, reviews))
    except InputError as error:
        sys.exit(f"error: {error}")


def load_others(settings: Settings, source: str) -> Reviews:
    """Other reviews, of which only the test is used; TEST_SIZE is of ours alone.

    They are split with as many labels as ours, as a run of their own would be, where they have so
    many, and else with the fewest.
    """
    others = replace(settings, source=source, test_size="auto")
    with suppress(InputError):
        return load_reviews(others)
    try:
        return load_reviews(replace(others, labels=FEWEST_LABELS))
    except InputError as error:
        raise InputError(f"--also {source}: {error}") from error


def save(run: Run, name: str, result: dict) -> None:
    run.save(name, result)
    print(f"Saved in {run.name}/results/{name}.json", flush=True)


def own_pairs(models: dict[str, pairs.Predict]) -> dict:
    """The project's minimal pairs: passed by kind, and each pair, for every model."""
    own = pairs.load_pairs()
    scored = {name: pairs.score_pairs(own, predict) for name, predict in models.items()}
    rows = json.loads(own.to_json(orient="records"))
    for name, frame in scored.items():
        for row, found in zip(rows, frame.itertuples(), strict=True):
            row[name] = {"before": round(float(found.before), 4),
                         "after": round(float(found.after), 4),
                         "passed": bool(found.passed)}  # fmt: skip
    ours, theirs = (frame["passed"].to_numpy().astype(float) for frame in scored.values())
    flips = (own["expected"] == "flip").to_numpy()
    return {
        "by_kind": {name: pairs.passed_by_kind(frame) for name, frame in scored.items()},
        "first_right": {
            name: share(int((frame["before"] >= 0.5).sum()), len(frame))
            for name, frame in scored.items()
        },
        "mcnemar": {
            part: mcnemar(np.ones(rows.sum(), dtype=int), ours[rows], theirs[rows])
            for part, rows in (("flip", flips), ("keep", ~flips))
            if rows.any()
        },
        "pairs": rows,
    }


def explanations(
    run: Run, reviews: Reviews, classifier: Classifier, baseline: Pipeline, trained: dict
) -> dict:
    """Words with their weights for some reviews, and what removing the strongest words does."""
    saved = run.load("predictions", split_sha256=reviews.split_sha256,
                     model_sha256=trained["model_sha256"])  # fmt: skip
    probabilities = np.array(saved["probabilities"])
    labels = reviews.test["label"].to_numpy()
    short = reviews.test["text"].str.split().str.len().between(40, 120).to_numpy()
    right = ((probabilities >= 0.5) == labels) & short
    shown = np.random.default_rng(0).permutation(np.flatnonzero(right))[:SHOWN].tolist()
    wrong = worst_errors(reviews, probabilities, len(labels)).index
    shown += [int(row) for row in wrong if short[row]][:SHOWN]  # of either class, the worst
    cases = []
    for row in shown:
        _, words, error = explain(classifier, reviews.test["text"].iloc[row])
        cases.append({
            "row": row,  # of the test
            "label": int(labels[row]),
            "probability_positive": float(probabilities[row]),
            "completeness_error": error,
            "weights": [word.weight and round(word.weight, 4) for word in words],
        })  # fmt: skip

    drawn = np.random.default_rng(1).permutation(len(labels))[:EXPLAINED]
    errors = {STEPS: [], FEW_STEPS: []}
    edited = {count: {name: [] for name in REMOVERS} for count in REMOVED}
    for number, row in enumerate(drawn):
        found = {}
        for steps, so_far in errors.items():
            _, words, error = explain(classifier, reviews.test["text"].iloc[row], steps)
            found[steps] = [word.weight or 0.0 for word in words]
            so_far.append(error)
        push = 1 if probabilities[row] >= 0.5 else -1
        weights = {
            "strongest": found[STEPS],
            "with few steps": found[FEW_STEPS],
            "TF-IDF": word_weights(baseline, [word.text for word in words]),
            "random": np.random.default_rng(number).random(len(words)).tolist(),
        }
        for count, texts in edited.items():
            for name, part in texts.items():
                part.append(without_words(words, weights[name], push, count))
        if (number + 1) % 10 == 0:
            print(f"{number + 1} of {EXPLAINED} reviews explained", flush=True)
    answers = probabilities[drawn] >= 0.5
    flips = {}
    for count, by_name in edited.items():
        changed = {
            name: (classifier.probabilities(texts, empty=True) >= 0.5) != answers
            for name, texts in by_name.items()
        }
        flips[str(count)] = {
            name: share(int(rows.sum()), len(rows)) for name, rows in changed.items()
        }
    of_most = [changed[name].astype(float) for name in ("strongest", "TF-IDF")]  # words removed
    return {
        "cases": cases,
        "completeness_error": {
            str(steps): {"median": float(np.median(so_far)),
                         "p95": float(np.percentile(so_far, 95))}
            for steps, so_far in errors.items()
        },
        "flipped_without_words": flips,
        "mcnemar": mcnemar(np.ones(len(drawn), dtype=int), *of_most),
    }  # fmt: skip


if __name__ == "__main__":
    main()
