"""Fine-tune the custom-head DistilBERT with the settings from the environment.

Examples:
  SOURCE=my_reviews.csv LABELS=2000 python scripts/train.py --learning-rate 5e-5 --epochs 4
  torchrun --standalone --nproc-per-node 2 scripts/train.py

Several processes share each batch; the first one speaks and writes.
"""

import argparse
import os
import sys
import traceback

from utils import InputError
from utils.settings import set_up
from utils.training.recipe import add_flags, recipe_of


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_flags(parser)
    parser.add_argument(
        "--report-to", default="none", help="a tracker that is installed, as tensorboard"
    )
    arguments = parser.parse_args()
    if int(os.environ.get("RANK", "0")):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    # Imported here, so that --help and a wrong argument answer at once.
    from utils.data.reviews import load_reviews
    from utils.hardware import processes
    from utils.modeling.backbones import build_model, load_backbone
    from utils.results import Run
    from utils.training.fine_tune import fine_tune
    from utils.training.progress import advice, estimate_minutes
    from utils.training.trainer import make_trainer

    try:
        settings = set_up()
        reviews = load_reviews(settings)
        print(reviews.origin)
        run = Run.of(settings, reviews.name)
        backbone = load_backbone(settings.backbone)
        recipe = recipe_of(arguments, backbone.learning_rate, settings.seed)
        model = build_model(backbone, settings.seed)
        trainer = make_trainer(run, model, backbone, reviews, recipe, arguments.report_to)
        minutes = estimate_minutes(trainer, reviews.test["text"].tolist())
        print(advice(minutes, settings, len(reviews.test)))
        result = fine_tune(run, trainer, backbone, reviews, recipe)
    except InputError as error:
        sys.exit(f"error: {error}")
    except RuntimeError as error:  # what gloo and NCCL raise
        if processes() == 1:
            raise
        traceback.print_exc()
        sys.exit(
            f"error: process {os.environ['RANK']} stopped ({str(error).splitlines()[0]}). Where "
            "another one failed first, or a link between machines, see to that. Then run the same "
            "again on all: finished epochs are kept."
        )
    last = result["validation"][-1]
    print(f"{last['accuracy']:.1%} right on validation after epoch {last['epoch']}.")
    print(f"Saved in {os.path.relpath(run.folder)}/checkpoints/{result['fingerprint']}/model")


if __name__ == "__main__":
    main()
