"""Results as text: Markdown, as pages and model cards hold it, and tables in notebooks."""

from collections.abc import Iterable

import pandas as pd
from pandas.io.formats.style import Styler


def markdown_table(head: Iterable[str], rows: Iterable[Iterable]) -> str:
    """A table: a header, and rows of as many cells, each shown as `str` shows it."""
    head = list(head)
    lines = [f"| {' | '.join(map(str, row))} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def text_table(frame: pd.DataFrame) -> Styler:
    """A table for a notebook, of texts: aligned at their left, without an index."""
    left = [{"selector": "th", "props": "text-align: left"}]
    styled = frame.style.hide(axis="index").set_table_styles(left)
    return styled.set_properties(**{"text-align": "left"})


def said(found: dict, form: str = ".1%") -> str:
    """A `share`, or a `value`, with its interval, as text; each number as `form` says."""
    value = found["share"] if "share" in found else found["value"]
    value, low, high = (format(number, form) for number in (value, *found["interval"]))
    return f"{value} [{low}, {high}]"


def percentage_points(gain: dict) -> str:
    """A difference of accuracies, in percentage points, with its interval, as text."""
    value, low, high = (f"{100 * number:+.1f}" for number in (gain["value"], *gain["interval"]))
    return f"{value} [{low}, {high}]"


def bullets(lines: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)
