"""Markdown, as READMEs and model cards hold it."""

from collections.abc import Iterable


def markdown_table(head: Iterable[str], rows: Iterable[Iterable]) -> str:
    """A table: a header, and rows of as many cells, each shown as `str` shows it."""
    head = list(head)
    lines = [f"| {' | '.join(map(str, row))} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
