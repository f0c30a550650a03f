"""The benchmark as figures, made from its saved results alone."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from utils.benchmark.models import RELEASE, TEACHER, TFIDF
from utils.benchmark.report import LOADED, accuracy_and_speed, imdb_seconds, ours
from utils.plotting import GREY, OURS, PERCENT

TRAINING, PREDICTING = "#0072B2", "#D55E00"


def training_figure(result: dict) -> Figure:
    """Reviews a second of each way of training, for both sizes, with the limit of the processor."""
    sizes = result["sizes"]
    figure, axes = plt.subplots(1, len(sizes), figsize=(11, 3.6), sharey=True, layout="tight")
    for ax, (size, part) in zip(axes, sizes.items(), strict=True):
        _bars(ax, part["rows"], part, result["peak_gflops"])
        ax.set_title(f"{size} parameters", loc="left", fontsize=11)
    found = " and ".join(
        f"{ours(part)[1]['times_the_first']:.1f} times as fast with {size}"
        for size, part in sizes.items()
    )
    title = f"Training against the usual recipe: {found} parameters"
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


def inference_figure(result: dict) -> Figure:
    """Reviews a second of each engine, with the limit of the processor."""
    figure, ax = plt.subplots(figsize=(8.5, 3.8), layout="tight")
    _bars(ax, result["rows"], result, result["peak_gflops"])
    name, own = ours(result)
    fastest = max(result["rows"], key=lambda name: result["rows"][name]["reviews_per_second"])
    title = f"{name} predicts {own['times_the_first']:.1f} times as fast as a pipeline"
    ax.set_title(title if fastest == name else f"{title}; the fastest is {fastest}", loc="left")
    return figure


def models_figure(result: dict) -> Figure:
    """Test accuracy against reviews a second: a hollow mark is of one seed alone, or published."""
    rows = accuracy_and_speed(result)
    figure, ax = plt.subplots(figsize=(8, 4.2), layout="tight")
    for row in rows:
        hue = OURS if row["size"] == RELEASE else GREY
        face = hue if row["spread"] else "white"
        place = row["reviews_per_second"], row["accuracy"]
        ax.plot(*place, "o", color=hue, mfc=face, ms=7)
        size = f", {row['parameters']}" if row["parameters"] else ""
        aside, side = (-9, "right") if row["size"] == TFIDF else (9, "left")
        ax.annotate(f"{row['title']}{size}", place, (aside, 0), textcoords="offset points",
                    ha=side, va="center", color=hue)  # fmt: skip
    speeds = [row["reviews_per_second"] for row in rows]
    ax.set(xscale="log", xlim=(0.7 * min(speeds), 1.6 * max(speeds)))
    ax.set(xlabel="reviews a second", ylabel="test accuracy")
    ax.margins(y=0.12)
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_major_formatter(PERCENT)
    *_, best = (row for row in rows if row["size"] == RELEASE)
    teacher = next(row for row in rows if row["size"] == TEACHER)
    points = 100 * (teacher["accuracy"] - best["accuracy"])
    times = best["reviews_per_second"] / teacher["reviews_per_second"]
    ax.set_title(
        f"The distilled model is {points:.1f} percentage points below its teacher, and "
        f"{times:.1f} times as fast", loc="left",
    )  # fmt: skip
    return figure


def _bars(ax: Axes, rows: dict, part: dict, peak: dict[str, float]) -> None:
    names = list(rows)
    speeds = [rows[name]["reviews_per_second"] for name in names]
    ax.barh(names, speeds, color=[OURS if row["ours"] else GREY for row in rows.values()])
    for place, name in enumerate(names):
        times = rows[name]["times_the_first"]
        ax.annotate(f"{times:.1f}x" if place else "1x", (speeds[place], place), (4, 0),
                    textcoords="offset points", va="center", zorder=3,
                    bbox={"fc": "white", "ec": "none", "pad": 0.5})  # fmt: skip
    for kind, gflops in peak.items():
        limit = gflops / part["gflop"] * part["reviews"]
        ax.axvline(limit, color="#555", ls="--", lw=1.2, zorder=0)
        ax.text(limit, -0.62, f"{kind}'s limit ", ha="right", va="bottom", fontsize=8, color="#555")
    ax.set_xlim(0, 1.04 * max(ax.get_xlim()[1], limit))
    if not ax.yaxis_inverted():  # axes that are shared are inverted once
        ax.invert_yaxis()
    ax.set_xlabel("reviews a second (limits: matrix products alone)")


def growth_figure(result: dict) -> Figure:
    """Minutes against the number of reviews, and milliseconds a review against its length."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), layout="tight")
    measured = [int(count) for count in result["seconds_of_imdb"]["training"]]
    counts = np.array([measured[0], 1000, 4000, 16000])
    hues = {"training": TRAINING, "predicting": PREDICTING}
    titles = {"training": "training, 3 epochs", "predicting": "predicting"}
    for name, by_length in result["seconds_a_review"].items():
        epochs = 3 if name == "training" else 1
        for count, seconds in result["seconds_of_imdb"][name].items():
            left.plot(int(count), epochs * seconds / 60, "o", color=hues[name])
        minutes = counts * epochs * imdb_seconds(result, name) / 60
        left.plot(counts, minutes, "--", color=hues[name])
        left.annotate(titles[name], (counts[-1], minutes[-1]), xytext=(-8, 6),
                      textcoords="offset points", ha="right", color=hues[name])  # fmt: skip
        lengths = [int(length) for length in by_length]
        right.plot(lengths, [1000 * s for s in by_length.values()], "o-", color=hues[name])
        right.annotate(f"{name}, once", (lengths[-1], 1000 * by_length[str(lengths[-1])]),
                       xytext=(-8, 6), textcoords="offset points", ha="right",
                       color=hues[name])  # fmt: skip
    left.set(
        xscale="log",
        yscale="log",
        xlabel="reviews of IMDB's lengths (dots: measured)",
        ylabel="minutes",
    )
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left.set_xticks(counts, [f"{count:,}" for count in counts])
    left.minorticks_off()
    right.set(xlabel="tokens in each review", ylabel="milliseconds a review", ylim=(0, None))
    right.set_xticks(lengths)
    minutes = 3600 * 3 * imdb_seconds(result, "training") / 60
    left.set_title(f"3,600 reviews: about {minutes:.0f} minutes of training", loc="left")
    training, predicting = (
        result["seconds_a_review"][name]["512"] / result["seconds_a_review"][name]["128"]
        for name in ("training", "predicting")
    )
    right.set_title(
        f"512 tokens against 128: {training:.1f} times the cost to train,\n"
        f"{predicting:.1f} times to predict",
        loc="left",
    )
    return figure


def load_figure(result: dict) -> Figure:
    """Throughput and latency against the number of clients, of both services."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="tight")
    for name, hue in (("naive", GREY), ("ours", OURS)):
        title = LOADED[name]
        rows = result["clients"][name]
        clients = [int(count) for count in rows]
        speed = [row["per_second"] for row in rows.values()]
        left.plot(clients, speed, "o-", color=hue)
        left.annotate(title, (clients[-1], speed[-1]), (0, 8), textcoords="offset points",
                      ha="right", color=hue)  # fmt: skip
        half, worst = ([row[key] / 1000 for row in rows.values()] for key in ("p50_ms", "p99_ms"))
        right.fill_between(clients, half, worst, color=hue, alpha=0.2, lw=0)
        right.plot(clients, half, "o-", color=hue)
        right.plot(clients, worst, "o--", color=hue, mfc="white")
        place = ((clients[-1], worst[-1]), (0, 6)) if name == "naive" else (
            (clients[-1], half[-1]), (0, -36))  # fmt: skip
        right.annotate(title, *place, textcoords="offset points", ha="right", color=hue)
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(clients, [str(count) for count in clients])
        axes.set_xlabel("clients")
    top = max(row["per_second"] for rows in result["clients"].values() for row in rows.values())
    left.set(ylim=(0, 1.15 * top), ylabel="answers a second")
    right.set(yscale="log", ylabel="seconds to an answer\n(solid: p50, dashed: p99)")
    right.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    right.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    right.minorticks_off()
    times = result["throughput_ratio"]
    left.set_title(
        f"{clients[-1]} clients: {times:.1f} times the naive route's answers", loc="left"
    )
    ours, naive = (
        result["clients"][name][str(clients[-1])]["p99_ms"] for name in ("ours", "naive")
    )
    right.set_title(
        f"p99: {ours / 1000:.1f} s, of the naive route {naive / 1000:.1f} s", loc="left"
    )
    return drawn
