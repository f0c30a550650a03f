"""The steps of the research: trained, compared on validation, and scored if asked to.

Example: SOURCE=path/to/imdb BACKBONE=minilm python scripts/research.py short --halves

What is to be compared is cross-validated inside the label budget first: --halves tells more for its
time, the models of --folds learn from more labels. What is worth it is then trained with a seed
or several (SEED) and scored on the test (--score). A step that learns from another's labels says
which is to be run before it. Everything resumes; what is finished is not repeated, unless its
weights are gone.
"""

import argparse
import os
import sys

from utils import InputError
from utils.research.experiments import MLM, PARTS, STEPS, TFIDF
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
    parser.add_argument("steps", choices=[TFIDF, MLM, *STEPS], nargs="+")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--halves",
        action="store_true",
        help="train twice, on either half, validate on the other; with SEED=42",
    )
    how.add_argument(
        "--folds", type=int, choices=range(10), nargs="+", default=[], metavar="FOLD",
        help="0 to 9: train once for each, that tenth of the labels is validation; with SEED=42",
    )  # fmt: skip
    how.add_argument("--score", action="store_true", help="predict the test too")
    how.add_argument(
        "--label", type=positive, nargs="?", const=10**9, metavar="COUNT",
        help="label that many reviews that have no label, default: all",
    )  # fmt: skip
    arguments = parser.parse_args()
    parts = [("fold", number) for number in arguments.folds]
    parts += [("half", number) for number in range(PARTS["half"] if arguments.halves else 0)]
    if (parts or arguments.score or arguments.label) and {TFIDF, MLM} & set(arguments.steps):
        parser.error(f"{TFIDF} and {MLM} take none of these options")
    # Imported here, so that --help and a wrong argument answer at once.
    from utils.data.reviews import load_reviews
    from utils.research.plan import label, pretrain, score_baseline, train
    from utils.research.runs import Research

    try:
        settings = set_up()
        research = Research(settings, load_reviews(settings))
        for part in parts or [None]:
            for step in arguments.steps:
                if step == MLM:
                    path = pretrain(research)
                elif step == TFIDF:
                    path = score_baseline(research)
                elif arguments.label:
                    path = label(research, step, arguments.label)
                else:
                    path = train(research, step, part, arguments.score)
                print(f"Saved in {os.path.relpath(path)}", flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
