"""The experiments: trained, cross-validated, scored on the test, or used to label reviews.

Examples:
  SOURCE=path/to/imdb BACKBONE=minilm python scripts/research.py fine_tuned_256 tapt_256 --folds
  SOURCE=path/to/imdb BACKBONE=minilm python scripts/research.py distilled_3_teachers --plan

Compare by 2-fold cross-validation inside the labels first (--folds); train what is worth it with
several seeds (SEED), and score it (--score). What an experiment builds on is made before it: --plan
shows all of it. Everything resumes; what is finished is not repeated, unless its weights are gone.
"""

import argparse
import os
import sys

from utils import InputError
from utils.research.experiments import BASELINE, CASCADE, EXPERIMENTS, FOLDS, TAPT
from utils.settings import set_up


def positive(text: str) -> int:
    """A whole number above 0, else what argparse reports."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of reviews")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", choices=[BASELINE, TAPT, CASCADE, *EXPERIMENTS], nargs="+")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--folds",
        action="store_true",
        help="2-fold cross-validation: train on either half, validate on the other; with SEED=42",
    )
    how.add_argument("--score", action="store_true", help="predict the test too")
    how.add_argument(
        "--label", type=positive, nargs="?", const=0, metavar="COUNT",
        help="label that many unlabelled reviews, default: all",
    )  # fmt: skip
    parser.add_argument("--plan", action="store_true", help="show what is to be done, and stop")
    arguments = parser.parse_args()
    chosen = arguments.folds or arguments.score or arguments.label is not None
    linear = {name for name, experiment in EXPERIMENTS.items() if experiment.linear}
    if chosen and (alone := {BASELINE, TAPT, CASCADE, *linear} & set(arguments.experiments)):
        parser.error(f"{' and '.join(sorted(alone))} take none of these options")
    # Imported here, so that --help and a wrong argument answer at once.
    from utils.data.reviews import load_reviews
    from utils.research.cascade import Cascade
    from utils.research.linear_student import LinearStudent
    from utils.research.plan import Baseline, Labelling, Pretraining, Training, plan
    from utils.research.runs import Research

    def tasks_of(name: str) -> list:
        if name == BASELINE:
            return [Baseline(research)]
        if name == TAPT:
            return [Pretraining(research)]
        if name == CASCADE:
            return [Cascade(research)]
        experiment = EXPERIMENTS[name]
        if experiment.linear:
            return [LinearStudent(research, experiment)]
        if arguments.label is not None:
            return [Labelling(research, experiment, arguments.label or None)]
        folds = range(FOLDS) if arguments.folds else [None]
        return [Training(research, experiment, fold, arguments.score) for fold in folds]

    try:
        settings = set_up()
        research = Research(settings, load_reviews(settings))
        wanted = [task for name in arguments.experiments for task in tasks_of(name)]
        for task in wanted:
            for step in plan(task):
                print(f"To do: {step}" if arguments.plan else f"=== {step}", flush=True)
                if not arguments.plan:
                    print(f"Saved in {os.path.relpath(step.run())}", flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
