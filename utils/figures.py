"""Figures: one look, one hue for each class, titles that state what the numbers say."""

import html
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, StrMethodFormatter
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from utils.data import CLASSES
from utils.evaluation import share
from utils.results import Run, write
from utils.text import MAX_TOKENS

# Vermillion and blue of Okabe and Ito's palette: told apart by colour-blind readers too.
HUES = {"negative": "#D55E00", "positive": "#0072B2"}
OURS = "#009E73"  # the fine-tuned model, where classes are not meant
GREY = "#8A8A8A"
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:g}%")  # never two ticks of one name

plt.style.use(Path(__file__).with_name("reviews.mplstyle"))


def save(run: Run, figure: Figure, name: str) -> Figure:
    """Write a figure to the run's `figures/`, and return it for the notebook to show."""
    write(run.folder / "figures" / f"{name}.png", lambda path: figure.savefig(path, format="png"))
    plt.close(figure)
    return figure


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


def training_curves(result: dict) -> Figure:
    """Training loss by step; validation loss, and accuracy with its 95% interval, by epoch."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    train, validation = pd.DataFrame(result["training_loss"]), pd.DataFrame(result["validation"])
    left.plot(train["epoch"], train["loss"], color=GREY, lw=0.7, alpha=0.6)
    smooth = train["loss"].rolling(9, min_periods=1, center=True).mean()
    left.plot(train["epoch"], smooth, color="#333333", label="training")
    left.plot(validation["epoch"], validation["loss"], "o-", color=OURS, label="validation")
    left.legend()
    left.set(xlabel="epoch", ylabel="cross-entropy", ylim=(0, None), xlim=(0, None))
    lowest = validation.loc[validation["loss"].idxmin(), "epoch"]
    left.set_title(f"Validation loss is lowest after epoch {lowest}")
    count = result["validation_reviews"]
    rows = [share(round(accuracy * count), count) for accuracy in validation["accuracy"]]
    points(right, validation["epoch"], rows, OURS, "-")
    kept = validation[validation["epoch"] == result["kept_epoch"]].iloc[0]
    right.annotate(f"{kept['accuracy']:.1%}", (kept["epoch"], kept["accuracy"]), va="center",
                   xytext=(8, 0), textcoords="offset points", color=OURS)  # fmt: skip
    right.set(xlabel="epoch", ylabel="validation accuracy", xticks=validation["epoch"])
    right.margins(x=0.2)
    right.yaxis.set_major_formatter(PERCENT)
    right.set_title(f"{kept['accuracy']:.1%} after the epoch that is kept")
    return figure


def points(
    axes: Axes, places: Sequence, rows: list[dict], hue: str, line: str = "", key: str = "share"
) -> None:
    """The value that each row has under `key`, with its `interval`; joined by a `line` (`-`)."""
    values = np.array([row[key] for row in rows])
    errors = np.abs(np.array([row["interval"] for row in rows]).T - values)
    axes.errorbar(places, values, errors, fmt=f"o{line}", color=hue, capsize=3)


def confusion_matrices(reports: dict[str, dict]) -> Figure:
    """Confusion matrices side by side: counts, and shares of the true class as the shade."""
    figure, axes = plt.subplots(1, len(reports), figsize=(4.4 * len(reports), 3.9), squeeze=False)
    for axis, (name, report) in zip(axes[0], reports.items(), strict=True):
        counts = np.array(report["confusion"])
        shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
        cells = [
            [f"{count:,}\n{share:.1%}" for count, share in zip(*row, strict=True)]
            for row in zip(counts, shares, strict=True)
        ]
        sns.heatmap(
            shares, annot=cells, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True,
            xticklabels=CLASSES, yticklabels=CLASSES, ax=axis, linewidths=2,
        )  # fmt: skip
        wrong = counts.sum() - np.trace(counts)
        axis.set_title(f"{name}: {wrong:,} of {counts.sum():,} wrong")
        axis.set(xlabel="predicted", ylabel="true")
        axis.tick_params(length=0)
    return figure


def curves(labels: np.ndarray, models: dict[str, np.ndarray]) -> Figure:
    """ROC and precision-recall curves; the first model is drawn in colour, the rest in grey."""
    figure, (roc, pr) = plt.subplots(1, 2, figsize=(9, 4))
    areas, averages = [], []
    for row, (name, probabilities) in enumerate(models.items()):
        shade = OURS if row == 0 else GREY
        false, true, _ = roc_curve(labels, probabilities)
        precision, recall, _ = precision_recall_curve(labels, probabilities)
        roc.plot(false, true, color=shade)
        pr.plot(recall, precision, color=shade)
        areas.append(f"{auc(false, true):.3f}")
        averages.append(f"{average_precision_score(labels, probabilities):.3f}")
        for axes, x, side in ((roc, 0.97, "right"), (pr, 0.04, "left")):
            axes.text(x, 0.16 - 0.09 * row, name, color=shade, ha=side, transform=axes.transAxes)
    roc.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1)
    roc.set(xlabel="false positive rate", ylabel="true positive rate")
    roc.set_title(f"ROC: area {' against '.join(areas)}")
    pr.set(xlabel="recall", ylabel="precision")
    pr.set_title(f"Average precision {' against '.join(averages)}")
    pr.set_ylim(min(0.45, float(np.mean(labels))), 1.01)
    return figure


def scores(labels: np.ndarray, probabilities: np.ndarray) -> Figure:
    """Histogram of the probability of positive by true class, counts on a logarithmic axis."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    for label, name in enumerate(CLASSES):
        values = probabilities[labels == label]
        axes.hist(values, bins=np.linspace(0, 1, 41), histtype="step", lw=2, color=HUES[name])
        x, ha = ((0.03, "left"), (0.97, "right"))[label]
        axes.text(x, 1.0, f"truly {name}", color=HUES[name], ha=ha, transform=axes.transAxes)
    axes.axvline(0.5, color=GREY, ls="--", lw=1.2)
    axes.set(xlabel="probability of positive", ylabel="reviews", yscale="log")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    sure = np.mean((probabilities < 0.1) | (probabilities > 0.9))
    axes.set_title(f"{sure:.0%} of the reviews get under 10% or over 90%", pad=22)
    return figure


def coloured_words(words: list[dict]) -> str:
    """HTML of a text whose words, `text` and `weight`, are shaded by their push either way.

    Those with more than half of the strongest push are bold (positive) or italic (negative), too,
    for viewers that drop colours, as GitHub's, and readers who do not see them.
    """
    strongest = max((abs(word["weight"] or 0) for word in words), default=0) or 1
    spans = []
    for word in words:
        share = (word["weight"] or 0) / strongest
        red, green, blue = to_rgb(HUES["positive" if share > 0 else "negative"])
        shade = f"rgba({255 * red:.0f}, {255 * green:.0f}, {255 * blue:.0f}, {abs(share) / 2:.2f})"
        text = html.escape(word["text"])
        if abs(share) > 0.5:
            text = f"<b>{text}</b>" if share > 0 else f"<i>{text}</i>"
        spans.append(f"<span style='background: {shade}'>{text}</span>")
    return f"<p style='line-height: 1.9; max-width: 45em'>{' '.join(spans)}</p>"
