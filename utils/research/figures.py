"""Figures of the research: the experiments, and accuracy against the number of labels."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from utils.plotting import GREY, OURS, PERCENT, points
from utils.research.experiments import EXPERIMENTS, TEACHER
from utils.research.tables import gain, worth
from utils.settings import Settings

DARK = "#333333"  # the teacher, which is no baseline


def experiments(rows: list[dict], references: dict[str, float]) -> Figure:
    """Test accuracy of each experiment that was scored: its seeds, their mean and 95% interval.

    A hollow mark is of one seed alone. `references` are what others report on the same test.
    """
    rows = [row for row in rows if row["test"]]
    figure, axes = plt.subplots(figsize=(8, 0.38 * len(rows) + 1.6))
    for place, row in enumerate(reversed(rows)):
        test = row["test"]
        hue = {"baseline": GREY, TEACHER: DARK}.get(row["group"], OURS)
        axes.plot(test["interval"], [place] * 2, color=hue, lw=1.5)
        axes.plot(test["values"], [place] * test["seeds"], "|", color=hue, ms=9)
        face = hue if test["seeds"] > 1 else "white"
        axes.plot(test["mean"], place, "o", color=hue, mfc=face, ms=6)
        axes.text(1.02, place, f"{test['mean']:.2%}", color=hue, va="center",
                  transform=axes.get_yaxis_transform())  # fmt: skip
    for number, (name, value) in enumerate(references.items()):
        axes.axvline(value, color="#555555", ls=":", lw=1, zorder=0)
        axes.annotate(f"{name} ", (value, len(rows) - 0.6 + 0.45 * number), ha="right",
                      va="center", fontsize=8, color="#555555",
                      bbox={"fc": "white", "ec": "none", "pad": 0.5})  # fmt: skip
    axes.set_yticks(range(len(rows)), [row["title"] for row in rows[::-1]])
    axes.set_ylim(-0.6, len(rows) - 0.4 + 0.45 * len(references))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("test accuracy")
    plain = next((row for row in rows if row["name"] == "fine_tuned"), None)
    ours = [row for row in rows if row["name"] in EXPERIMENTS and row["group"] != TEACHER]
    if plain and (best := max(ours, key=lambda row: row["test"]["mean"])) is not plain:
        made = EXPERIMENTS[best["name"]]
        given = (
            f"{gain(best['test'], plain['test']):+.1f} percentage points over fine-tuning, with "
        )
        given += f"the same {Settings.labels:,} labels"
        given += ",\nunlabelled reviews" if made.tapt or made.teachers else ""
        given += " and larger teachers" if any(t.backbone for t in made.teachers) else ""
        axes.set_title(given)
    return figure


def cascade(found: dict) -> Figure:
    """A cascade's agreement with the teachers against its speed, by the share of its first model.

    The chosen share has a ring. Bars are 95% intervals.
    """
    rows, chosen = found["trade"], found["chosen"]
    figure, axes = plt.subplots(figsize=(7, 3.6))
    points(axes, [row["reviews_per_second"] for row in rows], rows, OURS, "-")
    for number, row in enumerate(rows):  # below and above, in turn: some are near each other
        place = row["reviews_per_second"], row["interval"][number % 2]
        axes.annotate(f"{row['left_to_linear']:.0%}", place, (0, 5 if number % 2 else -12),
                      ha="center", textcoords="offset points", fontsize=8)  # fmt: skip
    axes.plot(chosen["reviews_per_second"], chosen["share"], "o", ms=13, mfc="none", color=DARK)
    axes.set(xscale="log", xlabel="reviews a second", ylabel="same label as the teachers")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.margins(y=0.12)
    times = chosen["reviews_per_second"] / rows[0]["reviews_per_second"]
    axes.set_title(f"{chosen['left_to_linear']:.0%} left to the linear student: "
                   f"{times:.1f} times as fast, the same agreement")  # fmt: skip
    return figure


def learning_curve(curves: dict[str, list[dict]]) -> Figure:
    """Test accuracy against the number of labels, with 95% intervals of the test's size.

    A hollow mark is of one seed alone.
    """
    figure, axes = plt.subplots(figsize=(7, 3.6))
    for name, rows in curves.items():
        hue = GREY if name == "TF-IDF" else OURS
        line = "--" if name == "fine-tuned" else "-"
        points(axes, [row["labels"] for row in rows], rows, hue, line, key="mean")
        single = [row for row in rows if row["seeds"] == 1]
        axes.plot([row["labels"] for row in single], [row["mean"] for row in single], "o",
                  color=hue, mfc="white", zorder=3)  # fmt: skip
        axes.annotate(name, (rows[-1]["labels"], rows[-1]["mean"]), xytext=(8, 0), va="center",
                      textcoords="offset points", color=hue)  # fmt: skip
    ticks = sorted({row["labels"] for rows in curves.values() for row in rows})
    axes.set(xscale="log", xlabel="labelled reviews, validation included", ylabel="test accuracy")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PERCENT)
    several = [(name, rows) for name, rows in curves.items() if len(rows) > 1]
    if len(several) < 2:
        return figure
    (words, counted), *_, (name, rows) = several
    first = rows[0]
    same = worth(counted, first["mean"])
    if same:
        about = float(f"{same:.2g}")  # it is read off between two points
        axes.set_title(
            f"{first['labels']:,} labels do for “{name}” as about {about:,.0f} for {words}"
        )
    else:
        most = counted[-1]
        axes.set_title(f"{first['labels']:,} labels give “{name}” {first['mean']:.1%}, "
                       f"{most['labels']:,} give {words} {most['mean']:.1%}")  # fmt: skip
    return figure
