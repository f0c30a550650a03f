"""Figures of the reviews: their lengths, their stars, their words."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.data.reviews import CLASSES
from utils.plotting import GREY, HUES
from utils.text import MAX_TOKENS


def lengths(counts: dict[str, np.ndarray]) -> Figure:
    """Histogram of review lengths in tokens by class, against the limit of the model."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    both = np.concatenate(list(counts.values()))
    top = int(np.quantile(both, 0.99)) + 1
    bins = np.arange(0, top + 1, max(1, top // 40))  # whole tokens, else the bars alias
    for name, values in counts.items():
        axes.hist(values, bins=bins, histtype="step", lw=2, color=HUES[name])
    for y, name in ((0.86, "negative"), (0.77, "positive")):
        axes.text(0.98, y, name, color=HUES[name], transform=axes.transAxes, ha="right")
    share = np.mean(both > MAX_TOKENS)
    if top > MAX_TOKENS:
        axes.axvline(MAX_TOKENS, color=GREY, ls="--", lw=1.2)
        axes.text(MAX_TOKENS, axes.get_ylim()[1], f" limit: {MAX_TOKENS}", color="#555", va="top")
    axes.set(xlabel="tokens in a review (longest 1% not shown)", ylabel="reviews")
    longer = f"{share:.1%} of the reviews are" if share else "No review is"
    axes.set_title(f"{longer} longer than {MAX_TOKENS} tokens")
    return figure


def ratings(frame: pd.DataFrame) -> Figure:
    """How many reviews gave each number of stars, by class; those without a rating are left out."""
    figure, axes = plt.subplots(figsize=(7, 3))
    for label, name in enumerate(CLASSES):
        found = frame.loc[frame["label"] == label, "rating"].value_counts().sort_index()
        if found.empty:
            continue
        axes.bar(found.index, found.to_numpy(), color=HUES[name], width=0.8)
        axes.text(found.index.to_numpy().mean(), found.max() * 1.04, name,
                  color=HUES[name], ha="center")  # fmt: skip
    axes.set_ylim(0, 1.15 * axes.dataLim.ymax)
    absent = sorted(set(range(1, 11)) - set(frame["rating"]))
    axes.set(xlabel="stars out of ten", ylabel="reviews", xticks=range(1, 11))
    stars = " or ".join(map(str, absent))
    axes.set_title(f"No review gave {stars} stars" if absent else "Every number of stars occurs")
    return figure


def words(table: pd.DataFrame, title: str, unit: str) -> Figure:
    """Horizontal bars of the `word`s with the lowest and highest `score`; the sign is the class."""
    figure, axes = plt.subplots(figsize=(7, 0.24 * len(table) + 1))
    table = table.sort_values("score")
    hue = [HUES["positive"] if score > 0 else HUES["negative"] for score in table["score"]]
    axes.barh(table["word"], table["score"], color=hue, height=0.75)
    axes.axvline(0, color="#666666", lw=1)
    below = {"transform": axes.transAxes, "va": "top"}
    axes.text(0, -0.075, "← negative", color=HUES["negative"], **below)
    axes.text(1, -0.075, "positive →", color=HUES["positive"], ha="right", **below)
    axes.set(xlabel=unit, title=title)
    axes.margins(y=0.01)
    return figure
