"""Figures of what a model gets right, and of where it errs."""

import html
from dataclasses import asdict

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from utils.data.reviews import CLASSES
from utils.evaluation.attribution import Word
from utils.evaluation.calibration import BINS, bins_of
from utils.evaluation.metrics import hits
from utils.inference.classifier import Prediction
from utils.plotting import GREY, HUES, OURS, PERCENT, points

# Of each way to group the reviews, and the group where the model is weakest.
WEAKEST = {
    "tokens": "Reviews of {} tokens are the hardest",
    "truncated": "Reviews of which {} is truncated are the hardest",
    "stars": "Reviews with {} stars are the hardest",
}


def reliability_diagram(result: dict) -> Figure:
    """How often an answer is right against how sure it is, before and after the temperature.

    `result` is `results/calibration.json`; the bars below are the reviews of each bin.
    """
    figure, panels = plt.subplots(
        2, 2, figsize=(9, 5), sharex=True, sharey="row", height_ratios=(3, 1)
    )
    for (axes, below), (name, bins) in zip(panels.T, result["reliability"].items(), strict=True):
        sure = np.array([part["probability"] for part in bins])
        axes.plot([0.5, 1], [0.5, 1], color=GREY, ls=":", lw=1)
        points(axes, sure, bins, OURS, "-")
        error = result["calibration_error"][name]
        which = "As trained" if name == "before" else f"Temperature {result['temperature']:.2f}"
        axes.set_title(f"{which}: ECE {error['value']:.1%}", fontsize=11)
        axes.set(xlim=(0.48, 1.02), ylim=(0, 1.02))
        axes.yaxis.set_major_formatter(PERCENT)
        middles = 0.5 + (bins_of(sure) + 0.5) / (2 * BINS)
        counts = [part["reviews"] for part in bins]
        below.bar(middles, counts, width=0.8 / (2 * BINS), color="#BBBBBB")
        below.set(xlabel="confidence", yscale="log")
        below.xaxis.set_major_formatter(PERCENT)
        below.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panels[0, 0].set_ylabel("share of correct labels")
    panels[1, 0].set_ylabel("reviews")
    return figure


def accuracy_by(result: dict[str, dict]) -> Figure:
    """Accuracy in groups of reviews, with 95% intervals: a row for each way to group them."""
    figure, panels = plt.subplots(
        len(result), 1, figsize=(7.5, 2.7 * len(result) + 0.4), sharey=True, squeeze=False
    )
    for axes, (name, found) in zip(panels[:, 0], result.items(), strict=True):
        what = {"tokens": "length in tokens", "truncated": "share truncated"}.get(name, name)
        rows = found["groups"]
        places = np.arange(len(rows))
        for (model, hue), shift in zip((("fine-tuned", OURS), ("TF-IDF", GREY)), (-0.08, 0.08),
                                       strict=True):  # fmt: skip
            points(axes, places + shift, [row["models"][model] for row in rows], hue)
        axes.set_xticks(places, [f"{row['group']}\n({row['reviews']:,})" for row in rows])
        axes.set(xlabel=f"{what} (reviews)", ylabel="accuracy")
        axes.yaxis.set_major_formatter(PERCENT)
        _, least = min((row["models"]["fine-tuned"]["share"], row["group"]) for row in rows)
        differs = found["p_value"] is not None and found["p_value"] < 0.05
        axes.set_title(WEAKEST[name].format(least) if differs else f"No clear difference by {what}")
    for name, hue, x in (("fine-tuned", OURS, 0.01), ("TF-IDF", GREY, 0.16)):
        panels[0, 0].text(x, 0.06, name, color=hue, transform=panels[0, 0].transAxes)
    return figure


def selective(curves: dict[str, list[dict]]) -> Figure:
    """Accuracy against the share of reviews that get a prediction, with 95% intervals."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    for (name, rows), hue in zip(curves.items(), (OURS, GREY), strict=True):
        places = [row["coverage"] for row in rows]
        low, high = np.array([row["interval"] for row in rows]).T
        axes.fill_between(places, low, high, color=hue, alpha=0.2, lw=0)
        axes.plot(places, [row["share"] for row in rows], "o-", color=hue, ms=4)
        axes.annotate(name, (1, rows[-1]["share"]), xytext=(10, 0), va="center",
                      textcoords="offset points", color=hue)  # fmt: skip
    ours = {row["coverage"]: row["share"] for row in next(iter(curves.values()))}
    axes.set(xlabel="share of reviews that get a prediction, the most confident first",
             ylabel="accuracy on them", xlim=(0, 1.2))  # fmt: skip
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    axes.set_title(f"Accuracy is {ours[0.5]:.1%} on the most confident half, {ours[1]:.1%} on all")
    return figure


def small_tests(result: dict) -> Figure:
    """How often a small test shows which of two models is better, against its size."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    sizes = [int(size) for size in result]
    parts = list(result.values())
    for name, values, hue, below in (
        ("better model ahead", [1 - p["ranked_wrongly"] - p["tied"] for p in parts], GREY, False),
        ("and significant at 5%", [p["found"] for p in parts], OURS, True),
    ):
        axes.plot(sizes, values, "o-" if below else "o--", color=hue)
        for size, value in zip(sizes, values, strict=True):
            shift = (9, -14) if below and value > 0.15 else (0, 7)
            said = f"{value:.0%}" if value == 1 or value < 0.995 else ">99%"
            axes.annotate(said, (size, value), xytext=shift, ha="center",
                          textcoords="offset points", color=hue)  # fmt: skip
        axes.text(0.99, 0.12 if below else 0.22, name, color=hue, ha="right",
                  transform=axes.transAxes)  # fmt: skip
    axes.set(xscale="log", xlabel="reviews in the test", ylabel="share of such tests",
             ylim=(0, 1.12))  # fmt: skip
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PERCENT)
    found = result["300"]["found"]
    axes.set_title(f"A test of 300 reviews shows the difference {found:.0%} of the time")
    return figure


def passed_by_kind(by_kind: dict[str, dict], expected: dict[str, str]) -> Figure:
    """Minimal pairs passed, by kind, for the fine-tuned model and the baseline.

    `expected` says of each kind what its edits should do: flip the answer, or not.
    """
    ours, theirs = by_kind.values()
    order = sorted(expected, key=lambda kind: (expected[kind] == "flip", ours[kind]["share"]))
    kinds = [kind for kind in order if expected[kind] != "flip"]
    gap = len(kinds)  # between the kinds that keep the answer, below, and those that flip it
    kinds += [None, *(kind for kind in order if expected[kind] == "flip")]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(kinds) + 1.4))
    for place, kind in enumerate(kinds):
        for found, hue, shift in ((ours, OURS, 0.12), (theirs, GREY, -0.12)) if kind else ():
            value, (low, high) = found[kind]["share"], found[kind]["interval"]
            axes.plot([low, high], [place + shift] * 2, color=hue, lw=1.5)
            axes.plot(value, place + shift, "o", color=hue, ms=6)
    names = {n: f"{kind} ({ours[kind]['reviews']})" for n, kind in enumerate(kinds) if kind}
    axes.set_yticks(list(names), list(names.values()))
    for place, text in (
        (len(kinds) - 0.45, "the label should flip"),
        (gap - 0.35, "the label should stay"),
    ):
        axes.text(-0.015, place, text, style="italic", fontsize=9, color="#555555", va="center")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(kinds) - 0.1))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("pairs passed, with 95% intervals")
    if "flip" in ours:
        of = ours["flip"]["reviews"]
        passed = [hits(found["flip"]) for found in (ours, theirs)]
        title = f"Of {of} edits that should flip the label, {passed[0]} do, {passed[1]} by TF-IDF"
        axes.set_title(title, pad=24)
        axes.plot([0.25, 0.25], [gap, len(kinds) - 0.4], color="#555555", ls=":", lw=1, zorder=0)
        axes.text(0.25, 1.01, "a coin", color="#555555", ha="center", fontsize=9,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    for name, hue, x in zip(by_kind, (OURS, GREY), (0.45, 0.62), strict=True):
        axes.text(x, 1.01, name, color=hue, transform=axes.transAxes, va="bottom")
    return figure


def flips_without_words(flips: dict[str, dict]) -> Figure:
    """How many predicted labels change without the most important words, or others."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    counts = [int(count) for count in flips]
    for name, hue, words, shift in (
        ("strongest", OURS, "by integrated gradients", -0.1),
        ("TF-IDF", GREY, "by TF-IDF's coefficients", 0),
        ("random", "#333333", "random words", 0.1),
    ):
        rows = [part[name] for part in flips.values()]
        points(axes, np.array(counts) + shift, rows, hue, "-")
        axes.annotate(words, (counts[-1], rows[-1]["share"]), xytext=(10, 0), va="center",
                      textcoords="offset points", color=hue)  # fmt: skip
    last = flips[str(counts[-1])]
    total = last["random"]["reviews"]
    axes.set_xticks(counts)
    axes.set(xlabel="words removed from a review", ylabel="labels that change", ylim=(0, None))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_title(
        f"Without the {counts[-1]} most important words {hits(last['strongest'])} of {total} "
        f"labels change, without random ones {hits(last['random'])}",
        fontsize=11,
    )
    return figure


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


def explained(prediction: Prediction, words: list[Word]) -> str:
    """HTML of a prediction and, below it, the words of its text, coloured: `explain`'s."""
    head = f"<b>{prediction.label}, confidence {prediction.score:.1%}</b>"
    return head + coloured_words([asdict(word) for word in words])


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
