"""Label a folder of reviews by one and by two workers, and compute what 100 million would take.

Example: python scripts/scale.py   (a quarter of an hour; needs requirements-ray.txt)

The reviews are of IMDB's lengths, of random words. Nothing else should be running.
"""

import argparse
import multiprocessing
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils import InputError
from utils.benchmark import scale
from utils.benchmark.inference import random_texts
from utils.benchmark.measure import FOLDER, review_lengths
from utils.export import RELEASED
from utils.folders import start_ray
from utils.hardware import versions
from utils.packaged import require_packages
from utils.results import write_json

FILES, ROWS = 20, 1000


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    texts = random_texts(review_lengths(FILES * ROWS))
    try:
        require_packages("requirements-ray.txt", "ray")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source = folder / "reviews"
            scale.write_files(source, texts, FILES)
            first = source / "000.parquet"
            # In a process of its own, whose number of threads is its own.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                target = folder / "one.parquet"
                stages = pool.apply(scale.seconds_of_stages, (RELEASED, first, target))
            start_ray()
            by_workers = {}
            for actors in (1, 2):
                by_workers[str(actors)] = scale.label_by(
                    actors, RELEASED, source, folder / f"by-{actors}"
                )
                print(f"{actors}: {by_workers[str(actors)]['all']:.0f} s", flush=True)
            size = sum(file.stat().st_size for file in source.glob("*.parquet"))
        result = {
            "reviews": FILES * ROWS,
            "files": FILES,
            "bytes_a_review": size / FILES / ROWS,
            "stages": stages,
            "by_workers": by_workers,
            "versions": versions(),
        }
        write_json(FOLDER / "scale.json", result)
    except InputError as error:
        sys.exit(f"error: {error}")
    print(scale.table(result))


if __name__ == "__main__":
    main()
