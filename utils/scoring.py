"""A file of reviews, labelled: all its rows and columns, and three columns more."""

import sys
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from utils import InputError
from utils.inference import Classifier
from utils.results import write
from utils.tables import Block, is_unicode, read_table, write_table
from utils.text import clean

ADDED = {"predicted_label": pa.string(), "score": pa.float64(), "truncated": pa.bool_()}


def label_file(
    classifier: Classifier, source: Path, target: Path, text_column: str | None = None
) -> tuple[int, int]:
    """Label the reviews of `source`, a block at a time, and write `target`, whole or not at all.

    Each file's extension tells its format. A row that cannot be labelled keeps its place, with an
    empty label, and is named on standard error. Returns the number of rows, and how many have no
    label. Raises InputError where a file cannot be read or written, or has no column of texts.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError("The output would take the place of the input: give another name.")
    if target.is_dir():
        raise InputError(f"{target} is a folder: give the name of a file to write.")
    blocks = read_table(source)
    total = unlabelled = 0

    def fill(path: Path):
        nonlocal total, unlabelled, text_column
        bar = tqdm(total=1, bar_format="{percentage:3.0f}% |{bar}| {elapsed}<{remaining}")
        with bar, write_table(path, target.name) as write_block:
            for block in blocks:
                if not total:
                    text_column = _text_column(block, source, text_column)
                label(classifier, block, text_column)
                for position, problem in sorted(block.problems.items()):
                    number = f"{source.name}, row {total + position + 1:,}"
                    bar.write(f"{number} has no label: {problem}", file=sys.stderr)
                write_block(block)
                total += len(block.rows)
                unlabelled += len(block.problems)
                bar.update(block.share - bar.n)

    write(target, fill)
    return total, unlabelled


def label(classifier: Classifier, block: Block, text_column: str) -> None:
    """Add `predicted_label`, `score` and `truncated` to the rows of a block, in place.

    They are None where a row has no text that can be read; `problems` then says why. Raises
    InputError where a row has such a column already, which would be lost.
    """
    good = []
    for position, row in enumerate(block.rows):
        if taken := ADDED.keys() & row.keys():
            raise InputError(f"The input has a column '{min(taken)}' already: rename it.")
        row.update(dict.fromkeys(ADDED))
        if position not in block.problems:
            problem = _problem(row, text_column)
            if problem:
                block.problems[position] = problem
            else:
                good.append(row)
    predictions = classifier.predict([row[text_column] for row in good])
    for row, found in zip(good, predictions, strict=True):
        row.update(predicted_label=found.label, score=found.score, truncated=found.truncated)
    block.added = ADDED


def _text_column(block: Block, source: Path, wanted: str | None) -> str:
    """The wanted column, else `text` or `review`, as any of the rows has it that could be read."""
    rows = (row for position, row in enumerate(block.rows) if position not in block.problems)
    candidates = [wanted] if wanted else ["text", "review"]
    names = list(dict.fromkeys(name for row in rows for name in row)) or candidates
    found = next((name for name in candidates if name in names), None)
    if found is None:
        raise InputError(
            f"{source.name} has no column {' or '.join(candidates)}, but {', '.join(names)}: name "
            "the one with the texts (--text-column)."
        )
    return found


def _problem(row: dict, text_column: str) -> str | None:
    text = row.get(text_column)
    if text_column not in row:
        return f"it has no '{text_column}'"
    if not isinstance(text, str):
        return f"its '{text_column}' is no text"
    if not clean(text):
        return f"its '{text_column}' is empty"
    if not is_unicode(text):
        return "its encoding is broken, not UTF-8"
    return None
