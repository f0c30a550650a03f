"""Label reviews with an exported model, one line of JSON for each: label, score, truncated.

Examples:
  python scripts/model-inference.py --model artifacts/imdb-minilm/model "A moving, clever film."
  python scripts/model-inference.py --model artifacts/imdb-minilm/model < one_review_a_line.txt
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from transformers.utils.logging import disable_progress_bar

from utils import InputError
from utils.inference import Classifier


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", help="reviews; without any, standard input's lines")
    parser.add_argument("--model", type=Path, required=True, help="an exported folder")
    arguments = parser.parse_args()
    disable_progress_bar()
    sys.stdin.reconfigure(encoding="utf-8")
    try:
        classifier = Classifier.from_folder(arguments.model)
        texts = arguments.texts or [line.strip() for line in sys.stdin if line.strip()]
        if not texts:
            raise InputError("there is no text: give reviews as arguments or on standard input.")
        for prediction in classifier.predict(texts):
            print(json.dumps(asdict(prediction)))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
