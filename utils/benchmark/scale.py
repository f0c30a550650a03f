"""Labelling many reviews on many machines: one and two workers measured, more computed."""

import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import torch

from utils import InputError
from utils.folders import Work, label_folder, on_ray
from utils.inference import Classifier
from utils.markdown import markdown_table
from utils.scoring import label_file
from utils.text import tokenize

MANY = 100_000_000  # reviews
MACHINES = (1, 8, 64)


def write_files(folder: Path, texts: list[str], files: int) -> None:
    """The texts as parquet files of equal size, and one text in the folder `start` within."""
    folder.mkdir(parents=True)
    size = len(texts) // files
    for number in range(files):
        part = texts[number * size : (number + 1) * size]
        pd.DataFrame({"text": part}).to_parquet(folder / f"{number:03}.parquet")
    (folder / "start").mkdir()
    pd.DataFrame({"text": texts[:1]}).to_parquet(folder / "start" / "one.parquet")


def label_by(actors: int, model: Path, source: Path, target: Path) -> dict[str, float]:
    """Seconds that actors of Ray take for a folder, and for one small file: mostly their start.

    Raises InputError where a file could not be labelled.
    """

    def engine(*arguments) -> Iterable:
        return on_ray(*arguments, actors=actors)

    seconds = {}
    for name, folder in (("start", source / "start"), ("all", source)):
        started = time.perf_counter()
        for found in label_folder(Work(model, folder, target / name), engine):
            if found.problem:
                raise InputError(f"{found.file}: {found.problem}")
        seconds[name] = time.perf_counter() - started
    return seconds


def seconds_of_stages(model: Path, file: Path, target: Path) -> dict[str, float]:
    """Seconds that one thread takes for a file: reading, tokenising, and all of it."""
    torch.set_num_threads(1)
    classifier = Classifier.from_folder(model)
    classifier.predict(["warm up"])
    started = time.perf_counter()
    texts = pq.read_table(file)["text"].to_pylist()
    reading = time.perf_counter() - started
    started = time.perf_counter()
    tokenize(classifier.tokenizer, texts)
    tokenising = time.perf_counter() - started
    started = time.perf_counter()
    label_file(classifier, file, target)
    whole = time.perf_counter() - started
    return {"reading": reading, "tokenising": tokenising, "whole": whole}


def table(result: dict) -> str:
    """What was measured and what it makes of 100 million reviews, as Markdown."""
    rows, working = [], []
    for actors, found in result["by_workers"].items():
        working.append(found["all"] - found["start"])
        speed = result["reviews"] / working[-1]
        rows.append([actors, f"{result['reviews']:,}", f"{found['all']:,.0f}",
                     f"{found['start']:.0f}", f"{speed:.1f}"])  # fmt: skip
    head = "workers, one thread each", "reviews", "seconds", "of them to start", "reviews/s then"
    one, two = working
    lines = [markdown_table(head, rows), ""]
    lines += [f"Two workers are {one / two:.2f} times as fast as one, once started.", ""]
    speed = result["reviews"] / two
    in_a_file, rows = result["reviews"] / result["files"], []
    for machines in MACHINES:
        hours = MANY / (speed * machines) / 3600
        last = 2 * in_a_file / speed  # all others idle, at worst, while one labels a whole file
        megabytes = machines * speed * result["bytes_a_review"] / 1e6
        rows.append([machines, f"{hours:,.0f}", f"+ {last:.0f} s at most", f"{megabytes:.2g} MB/s"])
    head = "machines of two cores", f"hours for {MANY:,} reviews", "the last file", "read"
    lines.append(markdown_table(head, rows))
    milliseconds = {name: 1000 * took / in_a_file for name, took in result["stages"].items()}
    whole, tokenising = milliseconds["whole"], milliseconds["tokenising"]
    lines += [
        "",
        f"Of a review's {whole:.1f} ms on one thread, tokenising takes {tokenising:.2f} and "
        f"reading {milliseconds['reading']:.3f}. Where "
        f"predicting is {whole / tokenising - 1:.0f} times as fast, tokenising takes "
        "as long as it.",
        "",
    ]
    versions = result["versions"]
    lines.append(
        f"On {versions['processor']}, torch {versions['torch']}, in {versions['precision']}."
    )
    return "\n".join(lines)
