"""Label reviews as POSITIVE or NEGATIVE with an exported model.

Examples:
  python scripts/model-inference.py "A moving, clever film."
  python scripts/model-inference.py < one_review_a_line.txt
  python scripts/model-inference.py --input reviews.csv --output labelled.parquet
  python scripts/model-inference.py --input FOLDER --output FOLDER --engine ray

Texts give one line of JSON each: label, score (its probability), and whether the text was too long
and shortened. Files keep their rows and columns and get three more: predicted_label, score and
truncated; rows without a label are named on standard error. Formats: .csv, .tsv, .jsonl or .ndjson
(an object a line), .json (an array of objects), all of them also with .gz, and .parquet. Of a
folder, and of those in it, each file gets an output of its name; those that have one already are
left alone, so that a run that was killed goes on; other files are named, but for hidden ones. Ray
labels files side by side: pip install -c requirements.txt -e ".[ray]".
"""

import argparse
import json
import os
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

from utils import InputError
from utils.paths import RELEASED
from utils.settings import separator_of
from utils.text import is_empty, is_unicode


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", help="reviews; without any, standard input's lines")
    parser.add_argument("--model", type=Path, default=RELEASED, help="an exported folder")
    parser.add_argument("--input", type=Path, help="a file of reviews, or a folder of such files")
    parser.add_argument("--output", type=Path, help="the file or folder to write, for --input")
    parser.add_argument(
        "--runtime", choices=("auto", "openvino", "torch"), default="auto",
        help="what computes; default: OpenVINO on a CPU, where the model has openvino/, else torch",
    )  # fmt: skip
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="for a folder")
    parser.add_argument("--text-column", help="of the input; default: text, else review")
    parser.add_argument(
        "--separator", help="of .csv files, one character or 'tab'; default: a comma"
    )
    parser.add_argument(
        "--suffix", default="", help="of the new columns' names, as _2; default: none"
    )
    parser.add_argument(
        "--escape-formulas", action="store_true",
        help="put a ' before cells of a CSV that a spreadsheet would run; else they stay",
    )  # fmt: skip
    arguments = parser.parse_args()
    if bool(arguments.input) != bool(arguments.output):
        parser.error("--input and --output go together")
    if arguments.input and arguments.texts:
        parser.error("give reviews as arguments or as a file, not both")
    folder = arguments.input and arguments.input.is_dir()
    if arguments.engine != "local" and not folder:
        parser.error("--engine is for a folder of files as --input")
    laid_out = (arguments.text_column, arguments.separator, arguments.suffix,
                arguments.escape_formulas)  # fmt: skip
    if any(laid_out) and not arguments.input:
        parser.error("--text-column, --separator, --suffix, --escape-formulas are of --input")
    try:
        if not arguments.model.is_dir():
            raise InputError(f"--model {arguments.model}: there is no such folder.")
        if arguments.input and not arguments.input.exists():
            raise InputError(f"{arguments.input} does not exist.")
        separator = arguments.separator and separator_of(arguments.separator)
        # Imported here, so that --help and a wrong argument answer at once.
        from utils.inference.classifier import Classifier
        from utils.inference.files import Layout, label_file
        from utils.tables import table_format

        layout = Layout(
            arguments.text_column, separator, arguments.suffix, arguments.escape_formulas
        )
        if folder:
            label_files(arguments, layout)
            return
        if files := [text for text in arguments.texts if os.path.exists(text)]:
            raise InputError(f"{files[0]} is a file, no review: give it with --input and --output.")
        if files := [text for text in arguments.texts if table_format(Path(text))]:
            raise InputError(f"{files[0]} is named like a file, and does not exist.")
        classifier = Classifier.from_folder(arguments.model, arguments.runtime)
        print(f"{classifier.runtime.name}: {classifier.why}.", file=sys.stderr)
        if arguments.input:
            rows, unlabelled = label_file(classifier, arguments.input, arguments.output, layout)
            print(f"{rows - unlabelled:,} of {rows:,} rows labelled.", file=sys.stderr)
            if not rows:
                raise InputError(f"{arguments.input.name} holds no rows.")
        else:
            label_texts(classifier, arguments.texts)
    except InputError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # whoever read the answers has enough of them, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def label_files(arguments: argparse.Namespace, layout) -> None:
    """Label a folder, and say what became of each file; exits with 1 where one has no output."""
    from utils.inference.folders import ENGINES, Work, label_folder

    rows = unlabelled = failed = before = 0
    started = time.perf_counter()
    work = Work(arguments.model, arguments.input, arguments.output, layout, arguments.runtime)
    runtimes = set()
    for found in label_folder(work, ENGINES[arguments.engine]):
        said = f"{found.rows - found.unlabelled:,} of {found.rows:,} rows labelled"
        said = "labelled before" if found.before else said
        said = f"left out: {found.left_out}" if found.left_out else said
        print(f"{found.file}: {found.problem or said}", file=sys.stderr, flush=True)
        runtimes |= {found.runtime} - {None}
        rows, unlabelled = rows + found.rows, unlabelled + found.unlabelled
        failed, before = failed + (found.problem is not None), before + found.before
    seconds = time.perf_counter() - started
    by = f" by {', '.join(sorted(runtimes))}" if runtimes else ""
    said = f"{rows - unlabelled:,} of {rows:,} rows labelled in {seconds:.0f} s{by}."
    print(said, file=sys.stderr)
    if failed:
        sys.exit(f"error: {failed} files have no output, as said above.")
    if not rows and not before:
        sys.exit("error: none of these files holds a row.")


def label_texts(classifier, texts: list[str]) -> None:
    """Print a line of JSON for each text, or for each line of standard input.

    One that cannot be read keeps its place, without a label, and is named on standard error.
    """
    if not texts and sys.stdin:  # which may be closed
        # What is not UTF-8 becomes lone surrogates, as in an argument; a lone CR ends no line.
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape", newline="\n")
        texts = [line.strip() for line in sys.stdin]
        head = texts[0].replace('"', "").lower() if texts else ""
        rows = [text.startswith("{") and text.endswith("}") for text in texts if text]
        if {"text", "review"} & set(re.split(r"[,;\t|]", head)[:99]) or (rows and all(rows)):
            raise InputError("standard input begins as a table does: give it as a file, by --input "
                             "and --output. Else it holds one review a line.")  # fmt: skip
    if not texts:
        raise InputError("there is no text: give reviews as arguments or on standard input.")
    problems = [
        "its encoding is broken, not UTF-8" if not is_unicode(text)
        else "it is empty" if is_empty(text) else None
        for text in texts
    ]  # fmt: skip
    if all(problems):
        raise InputError(f"there is no text to label: {problems[0]}.")
    readable = [text for text, problem in zip(texts, problems, strict=True) if not problem]
    predictions = iter(classifier.predict(readable))
    for number, problem in enumerate(problems, 1):
        if problem:
            print(f"text {number} has no label: {problem}", file=sys.stderr)
            print(json.dumps({"label": None, "score": None, "truncated": None}))
        else:
            print(json.dumps(asdict(next(predictions))))


if __name__ == "__main__":
    main()
