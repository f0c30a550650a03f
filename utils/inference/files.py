"""A file of reviews, labelled: all its rows and columns, and three columns more."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from utils import InputError
from utils.files import write
from utils.inference.classifier import Classifier
from utils.progress import live_line
from utils.tables import Block, read_table, separator_hint, write_table
from utils.text import is_empty, is_unicode

MOST_NAMED = 100  # rows of a file that have no label: the others are counted
ADDED = {"predicted_label": pa.string(), "score": pa.float64(), "truncated": pa.bool_()}


@dataclass(frozen=True)
class Layout:
    """How files of reviews are laid out, where it is not the usual way."""

    text_column: str | None = None  # else text or review
    separator: str | None = None  # of .csv files; else a comma
    suffix: str = ""  # of the columns that are added
    escape_formulas: bool = False  # in a CSV that is written

    @property
    def added(self) -> dict[str, pa.DataType]:
        """The columns that labelling adds, with their types."""
        return {f"{name}{self.suffix}": kind for name, kind in ADDED.items()}


USUAL = Layout()


def label_file(
    classifier: Classifier, source: Path, target: Path, layout: Layout = USUAL
) -> tuple[int, int]:
    """Label the reviews of `source`, a block at a time, and write `target`, whole or not at all.

    Each file's extension tells its format. A row that cannot be labelled keeps its place, with an
    empty label, and is named on standard error. Returns the number of rows, and how many have no
    label. Raises InputError where a file cannot be read or written, has no column of texts, or has
    rows of which none could be labelled.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError("The output would take the place of the input: give another name.")
    if target.is_dir():
        raise InputError(f"{target} is a folder: give the name of a file to write.")
    blocks = read_table(source, layout.separator)
    escape = layout.escape_formulas
    total = unlabelled = 0

    def fill(path: Path):
        nonlocal total, unlabelled
        text_column = None
        bar = live_line(1, source.name)
        with bar, write_table(path, target.name, layout.separator, escape) as write_block:
            for block in blocks:
                if text_column is None:
                    text_column = _text_column(block, source, layout.text_column)
                    if not layout.text_column and _has_both(block):
                        bar.write(f"{source.name}: of the columns 'text' and 'review' the first is "
                                  "read (--text-column).", file=sys.stderr)  # fmt: skip
                label(classifier, block, text_column, layout)
                named = sorted(block.problems.items())[: max(0, MOST_NAMED - unlabelled)]
                for position, problem in named:
                    number = f"{source.name}, row {total + position + 1:,}"
                    bar.write(f"{number} has no label: {problem}", file=sys.stderr)
                if unlabelled < MOST_NAMED < unlabelled + len(block.problems):
                    bar.write(f"{source.name}: further rows without a label are not named.",
                              file=sys.stderr)  # fmt: skip
                write_block(block)
                total += len(block.rows)
                unlabelled += len(block.problems)
                bar.update(block.share - bar.n)
            if total and unlabelled == total:
                raise InputError(f"{source.name} was not labelled: none of its {total:,} rows has "
                                 "a text that can be read.")  # fmt: skip

    write(target, fill)
    return total, unlabelled


def label(classifier: Classifier, block: Block, text_column: str, layout: Layout = USUAL) -> None:
    """Add a label, its probability and `truncated` to the rows of a block, in place.

    They are None where a row has no text that can be read; `problems` then says why, and what was
    no row at all stands in the column of texts. Raises InputError where a row has such a column
    already, which would be lost.
    """
    block.added = layout.added
    for position, raw in block.unparsed.items():
        block.rows[position] = {text_column: raw}
    good = []
    for position, row in enumerate(block.rows):
        if taken := block.added.keys() & row.keys():
            raise InputError(f"The input has a column '{min(taken)}' already: rename it, or give "
                             "the new ones another ending (--suffix _2).")  # fmt: skip
        row.update(dict.fromkeys(block.added))
        if position not in block.problems:
            problem = _problem(row, text_column)
            if problem:
                block.problems[position] = problem
            else:
                good.append(row)
    predictions = classifier.predict([row[text_column] for row in good])
    for row, found in zip(good, predictions, strict=True):
        values = (found.label, found.score, found.truncated)
        row.update(zip(block.added, values, strict=True))


def _has_both(block: Block) -> bool:
    names = block.schema.names if block.schema else {name for row in block.rows for name in row}
    return {"text", "review"} <= set(names)


def _text_column(block: Block, source: Path, wanted: str | None) -> str:
    """The wanted column, else `text` or `review`, as the file or any of its first rows has it."""
    candidates = [wanted] if wanted else ["text", "review"]
    rows = [row for position, row in enumerate(block.rows) if position not in block.problems]
    names = block.schema.names if block.schema else list(dict.fromkeys(n for r in rows for n in r))
    found = next((name for name in candidates if name in (names or candidates)), None)
    if found is None:
        hint = separator_hint(names) or "name the one with the texts (--text-column)"
        wanted = " or ".join(candidates)
        shown = ", ".join(map(repr, names))  # in which spaces and marks are seen
        raise InputError(f"{source.name} has no column {wanted}, but {shown}: {hint}.")
    kind = block.schema.field(found).type if block.schema else pa.string()
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not any(test(kind) for test in TEXT_TYPES):
        raise InputError(f"{source.name}: the column '{found}' holds {kind}, no texts: name the "
                         "one with the texts (--text-column), or save it as text.")  # fmt: skip
    return found


TEXT_TYPES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_null,
)


def _problem(row: dict, text_column: str) -> str | None:
    text = row.get(text_column)
    if text_column not in row:
        return f"it has no '{text_column}'"
    if not isinstance(text, str):
        return f"its '{text_column}' is no text"
    if not is_unicode(text):
        return "its encoding is broken, not UTF-8"
    if is_empty(text):
        return f"its '{text_column}' is empty"
    return None
