"""The one live line of a long task: a bar in a terminal, updated in place in a notebook."""

import sys

from tqdm import tqdm

FORMAT = "{desc}: {percentage:3.0f}% |{bar:30}| {elapsed} < {remaining}{postfix}"


def live_line(total: float, description: str, shown: bool = True) -> tqdm:
    """A bar up to `total`, with the time spent, the time left and what `set_postfix` adds.

    Where neither a terminal nor a notebook shows it, as in a log, it is a line each half minute.
    """
    if _in_kernel():
        file, seconds = _Output(), 1.0
    elif sys.stderr.isatty():
        file, seconds = sys.stderr, 0.2
    else:
        file, seconds = _Lines(), 30.0
    return tqdm(total=total, desc=description, bar_format=FORMAT, file=file, disable=not shown,
                mininterval=seconds, miniters=0, ascii=False)  # fmt: skip


def _in_kernel() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class _Lines:
    """A file for tqdm, which writes a line again and again: each is one of its own here."""

    def write(self, text: str) -> None:
        if text := text.strip():
            self.show(text)

    def show(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Nothing is kept back."""


class _Output(_Lines):
    """The same, where each line takes the place of the one before in a cell's output."""

    handle = None

    def show(self, text: str) -> None:
        from IPython.display import display

        data = {"text/plain": text}
        if self.handle is None:
            self.handle = display(data, raw=True, display_id=True)
        else:
            self.handle.update(data, raw=True)
