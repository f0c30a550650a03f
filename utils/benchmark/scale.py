"""Labelling many reviews on many machines: one and two workers measured, more computed."""

import multiprocessing
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

from utils import InputError
from utils.benchmark.inference import random_texts, time_runtime
from utils.benchmark.measure import (
    ROUNDS,
    compare,
    forward_gflop,
    in_fresh_process,
    profiled,
    review_lengths,
)
from utils.benchmark.runtimes import ours
from utils.benchmark.training import BATCH, train, trainings
from utils.formatting import markdown_table
from utils.hardware import versions
from utils.inference.classifier import Classifier
from utils.inference.files import label_file
from utils.inference.folders import Work, label_folder, on_ray, start_ray
from utils.paths import RELEASED
from utils.text import tokenize

FILES, ROWS = 20, 1000
LENGTHS = (64, 128, 256, 512)  # tokens
COUNTS = (250, 1000)  # reviews of IMDB's lengths
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


def growth() -> dict:
    """Seconds of one epoch and of predicting: a review by its length, and by how many there are."""
    way = list(trainings().values())[-1]
    name = ours().name
    few = 2 * BATCH["22M"]
    lengths = {f"of {length}": [length] * few for length in LENGTHS}
    lengths |= {f"IMDB {count}": review_lengths(count) for count in COUNTS}
    cases = {}
    for kind, these in lengths.items():
        cases["training", kind] = partial(train, "22M", way, these)
        texts = random_texts(these)
        cases["predicting", kind] = partial(time_runtime, name, RELEASED, texts, texts[:4])
    rounds = compare(cases, ROUNDS["growth"])
    seconds = {
        case: float(np.median([_best(f["seconds"]) for f in found]))
        for case, found in rounds.items()
    }
    gflop = forward_gflop("22M", lengths[f"IMDB {COUNTS[-1]}"]) / COUNTS[-1]
    parts = {"training": 3 * gflop, "predicting": gflop}
    return {
        "seconds_a_review": {
            part: {str(length): seconds[part, f"of {length}"] / few for length in LENGTHS}
            for part in parts
        },
        "seconds_of_imdb": {
            part: {str(count): seconds[part, f"IMDB {count}"] for count in COUNTS} for part in parts
        },
        "gflop_of_imdb_lengths": parts,
    }


def _best(seconds: float | dict[int, float]) -> float:
    return min(seconds.values()) if isinstance(seconds, dict) else seconds


def tried() -> dict:
    """torch.compile, which is not taken, with what compiling costs; and where the time goes."""
    name = ours().name
    way = list(trainings().values())[-1]
    lengths = review_lengths(2 * BATCH["22M"])
    texts = random_texts(lengths)
    cases = {
        "training": partial(train, "22M", way, lengths),
        "training, compiled": partial(train, "22M", replace(way, compile=True), lengths),
        "predicting": partial(time_runtime, name, RELEASED, texts, texts[:8]),
        "predicting, compiled": partial(time_runtime, "compiled", RELEASED, texts, texts[:8]),
    }
    rows = {}
    for case, found in compare(cases, ROUNDS["tried"]).items():
        seconds = float(np.median([_best(f["seconds"]) for f in found]))
        rows[case] = {
            "reviews_per_second": len(lengths) / seconds,
            "warm_up_seconds": float(np.median([f["warm_up"] for f in found])),
        }
    profiles = {
        name: in_fresh_process(partial(profiled, cases[name]))["shares"]
        for name in ("training", "predicting")
    }
    return {"reviews": len(lengths), "rows": rows, "profiles": profiles}


def measure_workers() -> dict:
    """Seconds in which one and two workers label a folder, and what it consists of."""
    texts = random_texts(review_lengths(FILES * ROWS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "reviews"
        write_files(source, texts, FILES)
        # In a process of its own, whose number of threads is its own.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            files = source / "000.parquet", folder / "one.parquet"
            stages = pool.apply(seconds_of_stages, (RELEASED, *files))
        start_ray()
        by_workers = {}
        for actors in (1, 2):
            target = folder / f"by-{actors}"
            by_workers[str(actors)] = label_by(actors, RELEASED, source, target)
            print(f"{actors}: {by_workers[str(actors)]['all']:.0f} s", flush=True)
        size = sum(file.stat().st_size for file in source.glob("*.parquet"))
    return {
        "reviews": FILES * ROWS,
        "files": FILES,
        "bytes_a_review": size / FILES / ROWS,
        "stages": stages,
        "by_workers": by_workers,
        "versions": versions(),
    }
