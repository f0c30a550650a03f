"""The service under load, beside a naive route, both on this machine; seven minutes.

Example: python scripts/loadtest.py --model artifacts/model

Reviews have IMDB's lengths (random words). Each number of clients asks both services in turn; then
ours alone gets five times what it can answer, for a minute, and time to recover. Saved in
artifacts/benchmark/service.json and service.png.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ["ACCELERATE_USE_CPU"] = "true"  # both are compared on the processor

from utils import InputError
from utils.paths import BENCHMARK, RELEASED


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=RELEASED, help="an exported folder")
    arguments = parser.parse_args()
    # Imported here, so that --help and a wrong argument answer at once.
    from transformers.utils.logging import disable_progress_bar

    from utils.benchmark.figures import load_figure
    from utils.benchmark.load import load_test
    from utils.benchmark.report import load_table
    from utils.files import write, write_json

    disable_progress_bar()
    try:
        result = load_test(arguments.model)
        path = write_json(BENCHMARK / "service.json", result)
        drawn = load_figure(result)
        write(BENCHMARK / "service.png", lambda file: drawn.savefig(file, format="png"))
    except InputError as error:
        sys.exit(f"error: {error}")
    print(f"\nSaved in {os.path.relpath(path)}\n\n{load_table(result)}")


if __name__ == "__main__":
    main()
