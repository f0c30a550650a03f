"""Figures of the evaluation beyond its curves, made from saved results alone."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from utils.figures import GREY, OURS


def reliability_diagram(result: dict) -> Figure:
    """How often an answer is right against how sure it is, before and after the temperature.

    `result` is `results/calibration.json`; the bars are each bin's share of the reviews.
    """
    figure, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
    for axes, (name, bins) in zip(panels, result["reliability"].items(), strict=True):
        total = sum(part["reviews"] for part in bins)
        sure = [part["probability"] for part in bins]
        axes.bar(sure, [part["reviews"] / total for part in bins], width=0.025, color="#DDDDDD")
        axes.plot([0.5, 1], [0.5, 1], color=GREY, ls=":", lw=1)
        axes.plot(sure, [part["accuracy"] for part in bins], "o-", color=OURS, ms=5)
        error = result["calibration_error"][name]
        most = error["by_chance"][1]
        which = "As trained" if name == "before" else f"Temperature {result['temperature']:.2f}"
        axes.set_title(f"{which}: off by {error['value']:.1%} (chance: to {most:.1%})", fontsize=11)
        axes.set(xlabel="probability of the answer", xlim=(0.48, 1.02), ylim=(0, 1.02))
        _percent(axes)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panels[0].set_ylabel("share that is right")
    panels[0].text(0.5, 0.09, "bars: share of the reviews", color="#777777", fontsize=9)
    return figure


def accuracy_by(name: str, rows: list[dict]) -> Figure:
    """Accuracy in each group of reviews, with 95% intervals."""
    what = {"tokens": "length in tokens", "cut away": "share cut away"}.get(name, name)
    figure, axes = plt.subplots(figsize=(7, 3.2))
    places = np.arange(len(rows))
    _points(axes, places, rows, OURS)
    for place, row in zip(places, rows, strict=True):
        axes.annotate(f"{row['reviews']:,}", (place, 0.02), xycoords=("data", "axes fraction"),
                      ha="center", fontsize=9, color="#777777")  # fmt: skip
    axes.set_xticks(places, [row["group"] for row in rows])
    worst, best = (pick(rows, key=lambda row: row["share"]) for pick in (min, max))
    title = f"Between {worst['share']:.1%} and {best['share']:.1%} are right, by {what}"
    if worst["interval"][1] >= best["interval"][0]:
        title += ": may be chance"
    axes.set_title(title)
    axes.set(xlabel=f"{what} (inside: reviews)", ylabel="accuracy")
    low = min(row["interval"][0] for row in rows)
    axes.set_ylim(max(0, low - 0.25 * (1 - low)), 1)
    _percent(axes)
    return figure


def small_tests(result: dict) -> Figure:
    """How often a small test ranks two models wrongly, against its size."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    sizes = [int(size) for size in result]
    wrong = [part["ranked_wrongly"] + part["tied"] for part in result.values()]
    axes.plot(sizes, wrong, "o-", color=OURS)
    for size, value in zip(sizes, wrong, strict=True):
        axes.annotate(f"{value:.1%}", (size, value), xytext=(6, 6), textcoords="offset points")
    axes.set(xscale="log", xlabel="reviews in the test", ylabel="wrong order, or a tie")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0, max(1.2 * max(wrong), 0.01))
    _percent(axes)
    axes.set_title(f"300 reviews miss which model is better {_of(result, '300'):.0%} of the time")
    return figure


def _of(result: dict, size: str) -> float:
    return result[size]["ranked_wrongly"] + result[size]["tied"]


def passed_by_kind(by_kind: dict[str, dict]) -> Figure:
    """Minimal pairs passed, by kind, for the fine-tuned model and the baseline."""
    ours, theirs = by_kind.values()
    kinds = sorted((kind for kind in ours if kind != "all"), key=lambda kind: ours[kind]["share"])
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(kinds) + 1.2))
    for place, kind in enumerate(kinds):
        for found, hue, shift in ((ours, OURS, 0.12), (theirs, GREY, -0.12)):
            value, (low, high) = found[kind]["share"], found[kind]["interval"]
            axes.plot([low, high], [place + shift] * 2, color=hue, lw=1.5)
            axes.plot(value, place + shift, "o", color=hue, ms=6)
    axes.set_yticks(range(len(kinds)), [f"{kind} ({ours[kind]['reviews']})" for kind in kinds])
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("pairs passed, with 95% intervals")
    axes.set_title(
        f"{ours['all']['share']:.0%} of the pairs passed, {theirs['all']['share']:.0%} by "
        "counting words",
        pad=24,
    )
    for name, hue, x, side in zip(by_kind, (OURS, GREY), (0, 1), ("left", "right"), strict=True):
        axes.text(x, 1.02, name, color=hue, transform=axes.transAxes, ha=side, va="bottom")
    return figure


def flips_without_words(flips: dict[str, dict]) -> Figure:
    """How many answers change when the words that push most, or random ones, are removed."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    counts = [int(count) for count in flips]
    for name, hue in (("strongest", OURS), ("random", GREY)):
        rows = [part[name] for part in flips.values()]
        _points(axes, np.array(counts), rows, hue, line=True)
        axes.annotate(f"{name} words", (counts[-1], rows[-1]["share"]), xytext=(-8, 8),
                      textcoords="offset points", ha="right", color=hue)  # fmt: skip
    last = flips[str(counts[-1])]
    axes.set_xticks(counts)
    axes.set(xlabel="words removed from a review", ylabel="answers that change", ylim=(0, None))
    _percent(axes)
    axes.set_title(
        f"Without {counts[-1]} words {last['strongest']['share']:.0%} of the answers change, "
        f"{last['random']['share']:.0%} by chance"
    )
    return figure


def _points(axes: Axes, places: np.ndarray, rows: list[dict], hue: str, line: bool = False) -> None:
    values = np.array([row["share"] for row in rows])
    bounds = np.array([row["interval"] for row in rows]).T
    errors = np.abs(bounds - values)
    axes.errorbar(places, values, errors, fmt="o-" if line else "o", color=hue, capsize=3)


def _percent(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
