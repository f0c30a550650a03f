"""Fine-tune the custom-head DistilBERT with the settings from the environment.

Examples:
  SOURCE=my_reviews.csv LABELS=2000 python scripts/train.py
  torchrun --standalone --nproc-per-node 2 scripts/train.py

Several processes share each batch; the first one speaks and writes.
"""

import argparse
import os
import sys

from utils import InputError
from utils.settings import set_up


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    if int(os.environ.get("RANK", "0")):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    # Imported here, so that --help and a wrong argument answer at once.
    from utils.data.reviews import load_reviews
    from utils.modeling.backbones import build_model, load_backbone
    from utils.results import Run
    from utils.training.fine_tune import fine_tune
    from utils.training.progress import advice, estimate_minutes
    from utils.training.recipe import Recipe
    from utils.training.trainer import make_trainer

    try:
        settings = set_up()
        reviews = load_reviews(settings)
        print(reviews.origin)
        run = Run.of(settings, reviews.name)
        backbone = load_backbone(settings.backbone)
        recipe = Recipe(backbone.learning_rate, settings.seed)
        model = build_model(backbone, settings.seed)
        trainer = make_trainer(run, model, backbone, reviews, recipe)
        minutes = estimate_minutes(trainer, reviews.test["text"].tolist())
        print(advice(minutes, settings, len(reviews.test)))
        result = fine_tune(run, trainer, backbone, reviews, recipe)
    except InputError as error:
        sys.exit(f"error: {error}")
    kept = result["validation"][result["kept_epoch"] - 1]
    print(f"{kept['accuracy']:.1%} right on validation after epoch {kept['epoch']}, which is kept.")
    print(f"Saved in {os.path.relpath(run.folder)}/checkpoints/{result['fingerprint']}/model")


if __name__ == "__main__":
    main()
