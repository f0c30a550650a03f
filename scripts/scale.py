"""Label a folder of reviews by one and by two workers, and compute what 100 million would take.

Example: python scripts/scale.py   (a quarter of an hour; needs the extra ray)

The reviews are of IMDB's lengths, of random words. Nothing else should be running.
"""

import argparse
import sys

from utils import InputError
from utils.paths import BENCHMARK
from utils.settings import require_packages


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    try:
        require_packages("ray", "ray")
        # Imported here, so that --help and a wrong argument answer at once.
        from utils.benchmark.scale import measure_workers, table
        from utils.files import write_json

        result = measure_workers()
        write_json(BENCHMARK / "scale.json", result)
    except InputError as error:
        sys.exit(f"error: {error}")
    print(table(result))


if __name__ == "__main__":
    main()
