"""Compare ways of training and of predicting, side by side, on reviews of IMDB's lengths.

Example: SOURCE=path/to/imdb python scripts/bench.py
"""

import argparse
import os
import sys

os.environ["ACCELERATE_USE_CPU"] = "true"  # runtimes are compared on the processor

from utils import InputError
from utils.paths import BENCHMARK, RELEASED
from utils.settings import set_up

PARTS = ("training", "inference", "models", "growth", "tried")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--part", choices=PARTS, nargs="*", default=PARTS[:4], help="default: all but the last"
    )
    parts = parser.parse_args().part
    try:
        time_parts(parts)
    except InputError as error:
        sys.exit(f"error: {error}")


def time_parts(parts: list[str]) -> None:
    """Time these parts, and save and print each as it is finished."""
    # Imported here, so that --help and a wrong argument answer at once.
    from utils.benchmark import figures
    from utils.benchmark.inference import compare_runtimes
    from utils.benchmark.measure import circumstances
    from utils.benchmark.models import compare_models
    from utils.benchmark.report import table
    from utils.benchmark.scale import growth, tried
    from utils.benchmark.training import TRAINED_ON, compare_trainings
    from utils.data.reviews import load_reviews
    from utils.manifest import check_manifest

    reviews = None
    if {"inference", "models"} & set(parts):
        reviews = load_reviews(set_up(backbone="minilm"))  # named, for none is asked for
    if set(parts) != {"training"}:
        check_manifest(RELEASED)  # before anything is timed
    about = circumstances()
    peak = about["peak_gflops"]
    if "training" in parts:
        sizes = {size: compare_trainings(size, peak) for size in TRAINED_ON}
        save("training", about | {"sizes": sizes}, figures.training_figure)
    if "inference" in parts:
        save("inference", about | compare_runtimes(reviews, peak), figures.inference_figure)
    if "models" in parts:
        save("models", about | compare_models(reviews), figures.models_figure)
    if "growth" in parts:
        save("growth", about | growth(), figures.growth_figure)
    if "tried" in parts:
        save("tried", about | tried())
    for part in parts:
        print(table(part, BENCHMARK / f"{part}.json"))


def save(part: str, result: dict, figure=None) -> None:
    """Write the part's JSON and, where there is one, its figure."""
    from utils.benchmark.measure import ROUNDS
    from utils.files import write, write_json

    write_json(BENCHMARK / f"{part}.json", {**result, "rounds": ROUNDS[part]})
    if figure:
        drawn = figure(result)
        write(BENCHMARK / f"{part}.png", lambda path: drawn.savefig(path, format="png"))


if __name__ == "__main__":
    main()
