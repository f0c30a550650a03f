"""The load test as a figure and a table, made from its saved results alone."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from utils.figures import GREY, OURS
from utils.markdown import markdown_table

REFUSALS = ("429", "503")
RECOVERY_CLIENTS = 8  # after the overload
NAMES = {"naive": ("naive route", GREY), "ours": ("this service", OURS)}


def figure(result: dict) -> Figure:
    """Throughput and latency against the number of clients, of both services."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="tight")
    for name, (title, hue) in NAMES.items():
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


def table(result: dict) -> str:
    """The clients' rows, then what overload and recovery showed, as Markdown."""
    rows = []
    for count in result["clients"]["ours"]:
        for name, (title, _) in NAMES.items():
            rows.append(_row(count, title, result["clients"][name][count]))
    over, most = result["overload"], count
    title = f"this service at {over['times_capacity']} times its capacity"
    rows.append(_row(f"{over['arrivals_per_second']:.0f} a second", title, over))
    rows.append(_row(f"{RECOVERY_CLIENTS}", "this service, right after that", result["recovery"]))
    outcomes = ", ".join(f"{count:,} times {status}" for status, count in over["outcomes"].items())
    first, last = over["memory_gib"]
    versions = result["versions"]
    head = ("clients", "service", "answers/s", "p50", "p95", "p99", "refused", "failed", "wrong")
    return "\n".join([
        markdown_table(head, rows),
        "",
        f"At {most} clients {result['throughput_ratio']:.1f} times the naive route's answers. "
        f"Without HTTP the engine, with {most} texts waiting at all times, predicts "
        f"{result['limits']['engine_per_second']:.1f} a second; sorted by length, all at once, it "
        f"would be {result['limits']['at_once_per_second']:.1f}.",
        "",
        f"Overload for {over['seconds']:.0f} s: {outcomes}; the slowest answer took "
        f"{over['slowest_ms'] / 1000:.1f} s (deadline: {result['deadline_seconds']:.0f} s); memory "
        f"{first:.2f} GiB in its first ten seconds, {last:.2f} GiB in its last.",
        "",
        f"On {versions['processor']}, torch {versions['torch']}; this service in "
        f"{versions['precision']}, the naive route in fp32.",
    ])  # fmt: skip


def _row(count: str, title: str, row: dict) -> list:
    refused = sum(row["outcomes"].get(status, 0) for status in REFUSALS)
    failed = sum(row["outcomes"].values()) - row["outcomes"].get("200", 0) - refused
    times = [f"{row[key]:,.0f} ms" for key in ("p50_ms", "p95_ms", "p99_ms")]
    return [count, title, f"{row['per_second']:.1f}", *times, f"{refused:,}", f"{failed:,}",
            row["wrong"]]  # fmt: skip
