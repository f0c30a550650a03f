"""Export the trained model of a run: weights, tokenizer, requirements and a manifest, and a zip.

Example: python scripts/model-export.py --run imdb-minilm --output my-model
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils import InputError
from utils.data import load_reviews
from utils.export import export_model
from utils.results import Run
from utils.settings import Settings, resolve_path, set_up
from utils.training import load_trained


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", help="a folder of artifacts/; default: the settings' run")
    parser.add_argument("--output", type=Path, help="default: artifacts/RUN/model")
    arguments = parser.parse_args()
    try:
        if arguments.run:
            run = Run(resolve_path(Settings.read().artifacts) / arguments.run)
            classifier, trained = load_trained(run)
        else:
            settings = set_up()
            reviews = load_reviews(settings)
            run = Run.of(settings, reviews.name)
            classifier, trained = load_trained(
                run, training_sha256=reviews.training_sha256, seed=settings.seed
            )
        folder = export_model(classifier, trained, arguments.output or run.folder / "model")
    except InputError as error:
        sys.exit(f"error: {error}")
    shown = os.path.relpath(folder)
    print(f"Exported to {shown}/ and {shown}.zip. Use it:")
    print(f'  python scripts/model-inference.py --model {shown} "A moving, clever film."')


if __name__ == "__main__":
    main()
