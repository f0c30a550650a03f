"""One look for all figures: hues, marks and how they are saved."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from utils.files import write
from utils.results import Run

plt.style.use(Path(__file__).with_name("reviews.mplstyle"))

# Vermillion and blue of Okabe and Ito's palette: told apart by colour-blind readers too.
HUES = {"negative": "#D55E00", "positive": "#0072B2"}
OURS = "#009E73"  # the fine-tuned model, where classes are not meant
GREY = "#8A8A8A"
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:g}%")  # never two ticks of one name


def save_figure(run: Run, figure: Figure, name: str) -> Figure:
    """Write a figure to the run's `figures/`, and return it for the notebook to show."""
    write(run.folder / "figures" / f"{name}.png", lambda path: figure.savefig(path, format="png"))
    plt.close(figure)
    return figure


def points(
    axes: Axes, places: Sequence, rows: list[dict], hue: str, line: str = "", key: str = "share"
) -> None:
    """The value that each row has under `key`, with its `interval`; joined by a `line` (`-`)."""
    values = np.array([row[key] for row in rows])
    errors = np.abs(np.array([row["interval"] for row in rows]).T - values)
    axes.errorbar(places, values, errors, fmt=f"o{line}", color=hue, capsize=3)
