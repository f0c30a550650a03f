"""The benchmark as figures and tables, made from its saved results alone."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from utils.benchmark import review_lengths
from utils.figures import GREY, OURS

AIMS = {"22M": 12, "66M": 8, "predicting": 4}  # times the usual recipe, or the pipeline
TRAINING, PREDICTING = "#0072B2", "#D55E00"


def training_figure(result: dict) -> Figure:
    """Reviews a second of each way of training, for both sizes, with the limit of the processor."""
    sizes = result["sizes"]
    figure, axes = plt.subplots(1, len(sizes), figsize=(11, 3.6), sharey=True, layout="tight")
    for ax, (size, part) in zip(axes, sizes.items(), strict=True):
        _bars(ax, part["rows"], part, result["peak_gflops"], last_is_ours=True)
        ax.set_title(f"{size} parameters", loc="left", fontsize=11)
    found = " and ".join(
        f"{list(part['rows'].values())[-1]['times_the_first']:.1f} times as fast with {size}"
        for size, part in sizes.items()
    )
    title = f"Training against the usual recipe: {found} parameters"
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


def inference_figure(result: dict) -> Figure:
    """Reviews a second of each engine, with the limit of the processor."""
    figure, ax = plt.subplots(figsize=(8.5, 3.8), layout="tight")
    _bars(ax, result["rows"], result, result["peak_gflops"])
    ours = next(row for name, row in result["rows"].items() if name.startswith("ours"))
    fastest = max(result["rows"], key=lambda name: result["rows"][name]["reviews_per_second"])
    ax.set_title(
        f"Ours predicts {ours['times_the_first']:.1f} times as fast as a pipeline; the fastest is "
        f"{fastest}",
        loc="left",
    )
    return figure


def _bars(
    ax: Axes, rows: dict, part: dict, peak: dict[str, float], last_is_ours: bool = False
) -> None:
    names = list(rows)
    speeds = [rows[name]["reviews_per_second"] for name in names]
    ours = [name.startswith("ours") or (last_is_ours and name == names[-1]) for name in names]
    ax.barh(names, speeds, color=[OURS if own else GREY for own in ours])
    for place, name in enumerate(names):
        times = rows[name]["times_the_first"]
        ax.annotate(f"{times:.1f}x" if place else "1x", (speeds[place], place), (4, 0),
                    textcoords="offset points", va="center", zorder=3,
                    bbox={"fc": "white", "ec": "none", "pad": 0.5})  # fmt: skip
    for kind, gflops in peak.items():
        limit = gflops / part["gflop"] * part["reviews"]
        ax.axvline(limit, color="#555", ls="--", lw=1.2)
        ax.text(
            limit, -0.62, f"limit in {kind} ", ha="right", va="bottom", fontsize=8, color="#555"
        )
    ax.set_xlim(0, 1.04 * max(ax.get_xlim()[1], limit))
    if not ax.yaxis_inverted():  # axes that are shared are inverted once
        ax.invert_yaxis()
    ax.set_xlabel("reviews a second")


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
        minutes = counts * epochs * _imdb_seconds(result, name) / 60
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
    minutes = 3600 * 3 * _imdb_seconds(result, "training") / 60
    left.set_title(f"3,600 reviews: about {minutes:.0f} minutes of training", loc="left")
    low, high = (result["seconds_a_review"]["training"][str(n)] for n in (128, 512))
    right.set_title(f"Four times the tokens: {high / low:.1f} times the cost", loc="left")
    return figure


def _imdb_seconds(result: dict, part: str) -> float:
    """Seconds a review of IMDB's lengths, from the largest number of them that was timed."""
    count, seconds = list(result["seconds_of_imdb"][part].items())[-1]
    return seconds / int(count)


def table(part: str, path: Path) -> str:
    """The saved results of a part as a Markdown table."""
    result = json.loads(path.read_text(encoding="utf-8"))
    makers = {
        "training": _training,
        "inference": _inference,
        "growth": _growth,
        "tried": _tried,
    }
    versions = result["versions"]
    on = f"On {versions['processor']}, torch {versions['torch']}; ours in {versions['precision']}."
    return "\n".join([*makers[part](result), "", on])


def _training(result: dict) -> list[str]:
    lines = ["| parameters | training | reviews/s | times | share of the peak | peak memory |"]
    lines.append("|---|---|---|---|---|---|")
    for size, part in result["sizes"].items():
        for name, row in part["rows"].items():
            lines.append(
                f"| {size} | {name} | {row['reviews_per_second']:.1f} | "
                f"{row['times_the_first']:.1f} | {row['share_of_peak']:.0%} | "
                f"{row['peak_gib']:.1f} GiB |"
            )
    lines.append("")
    for size, part in result["sizes"].items():
        ours = list(part["rows"].values())[-1]
        needed = ours["share_of_peak"] * AIMS[size] / ours["times_the_first"]
        lines.append(
            f"{AIMS[size]} times the usual speed with {size} would be {needed:.0%} of the peak."
        )
    return lines


def _inference(result: dict) -> list[str]:
    lines = [
        "| predicting | reviews/s | times | share of the peak | one review: p50, p95 | peak memory "
        "| weights | labels that differ | accuracy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        same = row["agreement"]
        share = "" if row["share_of_peak"] is None else f"{row['share_of_peak']:.0%}"
        accuracy = f"{same['accuracy']:.1%}" if result["is_imdb"] else "not measured"
        lines.append(
            f"| {name} | {row['reviews_per_second']:.1f} | {row['times_the_first']:.1f} | {share} "
            f"| {row['milliseconds']['p50']:.0f}, {row['milliseconds']['p95']:.0f} ms "
            f"| {row['peak_gib']:.1f} GiB | {row['megabytes']} MB "
            f"| {same['label_flips']} of {same['reviews']} | {accuracy} |"
        )
    lines += ["", f"Labels that differ from fp32's: {result['agreement_on']}."]
    (ours,) = (row for name, row in result["rows"].items() if name.startswith("ours"))
    needed = ours["share_of_peak"] * AIMS["predicting"] / ours["times_the_first"]
    lines.append(
        f"{AIMS['predicting']} times the first row in our precision would be {needed:.0%} of the "
        "peak."
    )
    return lines


def _growth(result: dict) -> list[str]:
    parts = result["seconds_a_review"]
    lengths = list(parts["training"])
    lines = [f"| milliseconds a review of | {' | '.join(lengths)} tokens |"]
    lines.append("|---" * (len(lengths) + 1) + "|")
    for name, by_length in parts.items():
        cells = " | ".join(f"{1000 * by_length[length]:.0f}" for length in lengths)
        lines.append(f"| {name} | {cells} |")
    peak = list(result["peak_gflops"].values())[-1]
    for name, reviews, what in (
        ("training", 3 * 3600, "IMDB's 3,600 training reviews, three times"),
        ("predicting", 25_000, "IMDB's 25,000 test reviews"),
    ):
        taken = reviews * _imdb_seconds(result, name) / 60
        least = reviews * result["gflop_of_imdb_lengths"][name] / peak / 60
        lines.append("")
        lines.append(
            f"{what}: {taken:.0f} min at this speed; at the measured peak of {peak:,.0f} GFLOP/s "
            f"the matrix products alone are {least:.0f} min."
        )
    tokens = np.array(review_lengths(2000))
    saved = 1 - np.minimum(tokens, 384).sum() / tokens.sum()
    lines += ["", f"Reading at most 384 tokens of a review, not 512, saves {saved:.0%} of IMDB's."]
    return lines


def _tried(result: dict) -> list[str]:
    lines = ["| tried | reviews/s | first use |", "|---|---|---|"]
    for name, row in result["rows"].items():
        lines.append(
            f"| {name} | {row['reviews_per_second']:.1f} | {row['warm_up_seconds']:.0f} s |"
        )
    for name, shares in result["profiles"].items():
        most = list(shares.items())[:5]
        found = ", ".join(f"`{key.removeprefix('aten::').removeprefix('_')}` {share:.0%}"
                          for key, share in most)  # fmt: skip
        lines += ["", f"Where the time of {name} goes: {found}."]
    return lines
