"""What notebook 04b shows and what takes a while: why, which labels, pairs, another domain.

Examples:
  python scripts/evaluate.py
  python scripts/evaluate.py --also embedded
  python scripts/evaluate.py --originals test_original.tsv --edits test_contrast.tsv

Needs a finished run (make run) with the same settings. For the labels it trains two models, each on
one half of them. Results are saved in the run's folder, each as soon as it is there.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from utils import InputError
from utils.settings import Settings, require_packages, set_up


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
        require_packages("evaluate", "cleanlab")
        evaluate(arguments)
    except InputError as error:
        sys.exit(f"error: {error}")


def evaluate(arguments: argparse.Namespace) -> None:
    """Make what notebook 04b shows, and save each result as soon as it is there."""
    # Imported here, so that --help and a wrong argument answer at once.
    from utils.data.reviews import load_others, load_reviews
    from utils.evaluation.faithfulness import explanations
    from utils.evaluation.label_errors import rank_labels
    from utils.evaluation.minimal_pairs import pair_results, score_published
    from utils.evaluation.predictions import evaluate_elsewhere
    from utils.hardware import versions
    from utils.modeling.baseline import fit_baseline
    from utils.research.experiments import EXPERIMENTS, FOLDS
    from utils.research.plan import Training
    from utils.research.runs import Research
    from utils.results import Run
    from utils.training.fine_tune import load_trained

    def save(name: str, result: dict) -> None:
        run.save(name, result)
        print(f"Saved in {run.name}/results/{name}.json", flush=True)

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
    save("minimal_pairs", about | pair_results(models))
    if arguments.originals:
        found = {
            name: score_published(arguments.originals, arguments.edits, predict, known)
            for name, predict in models.items()
        }
        for name, parts in found.items():
            shares = (f"{part['share']:.1%} of {part['reviews']:,} {what}"
                      for what, part in parts.items())  # fmt: skip
            print(f"{name}: {', '.join(shares)}")
        files = [arguments.originals.name, arguments.edits.name]
        save("published_pairs", about | {"files": files, "models": found})
    if other:
        found = evaluate_elsewhere(other, models, known)
        save(f"on_{other.name}", about | {"name": other.name} | found)
    save("explanations", about | explanations(run, reviews, classifier, baseline, trained))
    research = Research(replace(settings, seed=Settings.seed), reviews)  # whatever SEED is
    folds = [Training(research, EXPERIMENTS["fine_tuned_256"], fold) for fold in range(FOLDS)]
    results = [
        research.path(task.experiment.name, task.fold) if task.is_done() else task.run()
        for task in folds
    ]
    save("labels", about | rank_labels(results, reviews))


if __name__ == "__main__":
    main()
