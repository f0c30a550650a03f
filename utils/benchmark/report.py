"""The benchmark as tables, made from its saved results alone."""

import json
from pathlib import Path

import pandas as pd

from utils.benchmark.models import DISTILBERT, RELEASE, TEACHER, TFIDF
from utils.formatting import markdown_table
from utils.research.tables import REFERENCES, Results

LOADED = {"naive": "naive route", "ours": "this service"}
REFUSALS = ("429", "503")
MODEL_OF = {"tfidf": TFIDF, "linear_student": TFIDF, "fine_tuned": RELEASE, "tapt": RELEASE,
            "distilled_3_teachers": RELEASE, "teacher": TEACHER}  # fmt: skip
RECOVERY_CLIENTS = 8  # after the overload


def imdb_seconds(result: dict, part: str) -> float:
    """Seconds a review of IMDB's lengths, from the largest number of them that was timed."""
    count, seconds = list(result["seconds_of_imdb"][part].items())[-1]
    return seconds / int(count)


def ours(result: dict) -> tuple[str, dict]:
    """The name and the row of our own runtime, or of our own way of training."""
    return next((name, row) for name, row in result["rows"].items() if row["ours"])


def table(part: str, path: Path) -> str:
    """The saved results of a part as a Markdown table."""
    result = json.loads(path.read_text(encoding="utf-8"))
    makers = {
        "training": _training,
        "inference": _inference,
        "models": _models,
        "growth": _growth,
        "tried": _tried,
    }
    lines = makers[part](result)
    return "\n".join(lines if part == "models" else [*lines, "", _where(result)])


def _where(result: dict) -> str:
    versions = result["versions"]
    return (
        f"On {versions['processor']}, torch {versions['torch']}; ours in {versions['precision']}."
    )


def _training(result: dict) -> list[str]:
    rows = [
        [size, name, f"{row['reviews_per_second']:.1f}", f"{row['times_the_first']:.1f}",
         f"{row['share_of_peak']:.0%}", f"{row['peak_gib']:.1f} GiB"]
        for size, part in result["sizes"].items() for name, row in part["rows"].items()
    ]  # fmt: skip
    head = "parameters", "training", "reviews/s", "times", "share of the peak", "peak memory"
    return [markdown_table(head, rows)]


def _inference(result: dict) -> list[str]:
    rows = []
    for name, row in result["rows"].items():
        same = row["agreement"]
        share = "" if row["share_of_peak"] is None else f"{row['share_of_peak']:.0%}"
        accuracy = f"{same['accuracy']:.1%}" if result["is_imdb"] else "not measured"
        rows.append([
            name, f"{row['reviews_per_second']:.1f}", f"{row['times_the_first']:.1f}", share,
            f"{row['milliseconds']['p50']:.0f}, {row['milliseconds']['p95']:.0f} ms",
            f"{row['peak_gib']:.1f} GiB", f"{row['megabytes']} MB",
            f"{same['label_flips']} of {same['reviews']}", accuracy,
        ])  # fmt: skip
    head = ("predicting", "reviews/s", "times", "share of the peak", "one review: p50, p95",
            "peak memory", "weights", "labels that differ", "accuracy")  # fmt: skip
    lines = [markdown_table(head, rows)]
    return [*lines, "", f"Labels that differ from fp32's: {result['agreement_on']}."]


def forms(result: dict) -> pd.DataFrame:
    """The files that a model can be exported as, each in its runtime: size, speed, labels."""
    rows = []
    for name, row in result["rows"].items():
        if row["batch_tokens"]:
            same = row["agreement"]
            differ = f"{same['label_flips']} of {same['reviews']}"
            speed = round(row["reviews_per_second"], 1)
            rows.append({"file": row["file"], "runtime": name, "MB": row["megabytes"],
                         "reviews/s": speed, "labels that differ": differ})  # fmt: skip
    return pd.DataFrame(rows).sort_values("file")


def _models(result: dict) -> list[str]:
    rows = []
    for row in accuracy_and_speed(result):
        accuracy = f"{row['accuracy']:.1%}"
        if row["spread"]:
            accuracy = f"{100 * row['accuracy']:.1f} ± {row['spread']:.1%}"
        minutes = f"{row['minutes']:,.0f}" if row["minutes"] else ""
        speed = f"{row['reviews_per_second']:,.0f}"
        rows.append([row["title"], row["parameters"], accuracy, minutes, speed])
    head = "method", "parameters", "test accuracy", "minutes to train", "reviews/s"
    trained = Results().of("distilled_3_teachers")[0]["versions"]
    where = {"Reviews/s": result["versions"], "Minutes": trained}
    said = (f"{what}: {on['processor']}, {on['precision']}." for what, on in where.items())
    timed = "Of the two TF-IDF models the first was timed."  # they differ in their weights
    return [markdown_table(head, rows), "", " ".join((*said, timed))]


def accuracy_and_speed(result: dict) -> list[dict]:
    """Methods whose speed was measured, with their test accuracy as the research has it.

    `spread` is that of several seeds. DistilBERT's accuracy is published, of a training on all
    25,000 labels.
    """
    rows = [
        {"title": row["title"], "size": MODEL_OF[row["name"]], "accuracy": row["test"]["mean"],
         "spread": row["test"]["spread"], "minutes": row["minutes"]}
        for row in Results().rows() if row["name"] in MODEL_OF and row["test"]
    ]  # fmt: skip
    name, accuracy = list(REFERENCES.items())[-1]
    published = {"title": name, "size": DISTILBERT, "accuracy": accuracy}
    rows.insert(-1, published | {"spread": None, "minutes": None})
    for row in rows:
        measured = result["rows"][row["size"]]
        row["reviews_per_second"] = measured["reviews_per_second"]
        row["parameters"] = f"{measured['parameters'] / 1e6:.0f}M" if measured["parameters"] else ""
    return rows


def _growth(result: dict) -> list[str]:
    parts = result["seconds_a_review"]
    lengths = list(parts["training"])
    rows = [
        [name, *(f"{1000 * by_length[length]:.0f}" for length in lengths)]
        for name, by_length in parts.items()
    ]
    head = ["milliseconds a review of", *lengths[:-1], f"{lengths[-1]} tokens"]
    lines = [markdown_table(head, rows)]
    peak = list(result["peak_gflops"].values())[-1]
    for name, reviews, what in (
        ("training", 3 * 3600, "IMDB's 3,600 training reviews, three times"),
        ("predicting", 25_000, "IMDB's 25,000 test reviews"),
    ):
        taken = reviews * imdb_seconds(result, name) / 60
        least = reviews * result["gflop_of_imdb_lengths"][name] / peak / 60
        lines.append("")
        lines.append(
            f"{what}: {taken:.0f} min at this speed; at the measured peak of {peak:,.0f} GFLOP/s "
            f"the matrix products alone are {least:.0f} min."
        )
    return lines


def _tried(result: dict) -> list[str]:
    rows = [
        [name, f"{row['reviews_per_second']:.1f}", f"{row['warm_up_seconds']:.0f} s"]
        for name, row in result["rows"].items()
    ]
    lines = [markdown_table(("tried", "reviews/s", "first use"), rows)]
    for name, shares in result["profiles"].items():
        most = list(shares.items())[:5]
        found = ", ".join(f"`{key.removeprefix('aten::').removeprefix('_')}` {share:.0%}"
                          for key, share in most)  # fmt: skip
        lines += ["", f"Where the time of {name} goes: {found}."]
    return lines


def load_findings(result: dict) -> str:
    """The load test in two sentences."""
    over = result["overload"]
    rejected = sum(over["outcomes"].get(code, 0) for code in REFUSALS)
    failed = sum(over["outcomes"].values()) - rejected - over["outcomes"]["200"]
    return (
        f"Under load from 32 clients, throughput is {result['throughput_ratio']:.1f} times the "
        f"naive route's. At {over['times_capacity']} times its capacity the service predicted "
        f"{over['per_second']:.0f} reviews a second, rejected {rejected:,} requests and failed "
        f"{failed:,}. The slowest answer took {over['slowest_ms'] / 1000:.1f} s."
    )


def load_table(result: dict) -> str:
    """The clients' rows, then what overload and recovery showed, as Markdown."""
    rows = []
    for count in result["clients"]["ours"]:
        for name, title in LOADED.items():
            rows.append(_load_row(count, title, result["clients"][name][count]))
    over, most = result["overload"], count
    title = f"this service at {over['times_capacity']} times its capacity"
    rows.append(_load_row(f"{over['arrivals_per_second']:.0f} a second", title, over))
    rows.append(
        _load_row(f"{RECOVERY_CLIENTS}", "this service, right after that", result["recovery"])
    )
    if apart := result["apart"]:
        rows.append(_load_row(most, "this service, on cores of its own", apart["clients"]))
        title = f"the same at {over['times_capacity']} times its capacity"
        arrivals = f"{apart['overload']['arrivals_per_second']:.0f} a second"
        rows.append(_load_row(arrivals, title, apart["overload"]))
    outcomes = ", ".join(f"{count:,} times {status}" for status, count in over["outcomes"].items())
    first, last = over["memory_gib"]
    versions = result["versions"]
    head = ("clients", "service", "answers/s", "p50", "p95", "p99", "rejected", "failed", "wrong")
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
        f"{first:.2f} GiB in its first ten seconds, {last:.2f} GiB in its last. It was ready "
        f"{result['seconds_to_ready']:.1f} s after its start.",
        "",
        f"On {versions['processor']}, torch {versions['torch']}; this service in "
        f"{versions['precision']}, the naive route in fp32.",
    ])  # fmt: skip


def _load_row(count: str, title: str, row: dict) -> list:
    refused = sum(row["outcomes"].get(status, 0) for status in REFUSALS)
    failed = sum(row["outcomes"].values()) - row["outcomes"].get("200", 0) - refused
    times = [f"{row[key]:,.0f} ms" for key in ("p50_ms", "p95_ms", "p99_ms")]
    return [count, title, f"{row['per_second']:.1f}", *times, f"{refused:,}", f"{failed:,}",
            row["wrong"]]  # fmt: skip
