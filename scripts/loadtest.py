"""The service under load, beside a naive route, both on this machine; seven minutes.

Example: python scripts/loadtest.py --model artifacts/model

Reviews have IMDB's lengths (random words). Each number of clients asks both services in turn; then
ours alone gets five times what it can answer, for a minute, and time to recover. Saved in
artifacts/benchmark/service.json and service.png.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["ACCELERATE_USE_CPU"] = "true"  # both are compared on the processor

import numpy as np
import psutil
from transformers.utils.logging import disable_progress_bar

from utils import InputError
from utils.benchmark.inference import random_texts
from utils.benchmark.measure import FOLDER, review_lengths
from utils.export import RELEASED
from utils.hardware import versions
from utils.inference import Classifier
from utils.results import write, write_json
from utils.service import report
from utils.service.api import DEADLINE_SECONDS
from utils.service.engine import Engine
from utils.service.load import Answers, closed_loop, engine_alone, open_loop
from utils.service.metrics import Metrics
from utils.service.process import naive_service, our_service
from utils.text import tokenize

CLIENTS = (1, 8, 32)
ROUNDS = 3
SECONDS = 12  # of each number of clients, in each round
OVERLOAD, OVERLOAD_SECONDS = 5, 60  # times the capacity


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=RELEASED, help="an exported folder")
    disable_progress_bar()
    try:
        result = measure(parser.parse_args().model)
        path = write_json(FOLDER / "service.json", result)
        saved = json.loads(path.read_text(encoding="utf-8"))
        drawn = report.figure(saved)
        write(FOLDER / "service.png", lambda file: drawn.savefig(file, format="png"))
    except InputError as error:
        sys.exit(f"error: {error}")
    print(f"\nSaved in {os.path.relpath(path)}\n\n{report.table(saved)}")


def expected_and_limits(model: Path, texts: list[str]) -> tuple[np.ndarray, dict[str, float]]:
    """The direct predictions, and texts a second without HTTP: all at once, and as they come."""
    classifier = Classifier.from_folder(model)
    classifier.probabilities(texts)
    started = time.perf_counter()
    expected = classifier.probabilities(texts)
    at_once = len(texts) / (time.perf_counter() - started)
    engine = Engine(classifier, Metrics())
    engine.start()
    ids = tokenize(classifier.tokenizer, texts).ids
    alone = engine_alone(engine, ids, CLIENTS[-1], SECONDS)
    engine.close()
    return expected, {"at_once_per_second": at_once, "engine_per_second": alone}


def measure(model: Path) -> dict:
    """Both services with clients that wait, then ours with more than it can answer."""
    texts = random_texts(review_lengths(400))
    # In a thread that ends, for its team of OpenMP threads to end with it: see Engine.
    with ThreadPoolExecutor(1) as thread:
        expected, limits = thread.submit(expected_and_limits, model, texts).result()
    with (
        tempfile.TemporaryDirectory() as folder,
        naive_service(model) as naive,
        our_service(model, Path(folder) / "log") as ours,
    ):
        urls = {"naive": naive, "ours": ours.url}
        for url in urls.values():
            closed_loop(url, texts, expected, 2, 3, Answers())  # warms up
        found = {name: {count: Answers() for count in CLIENTS} for name in urls}
        for number in range(ROUNDS):
            for count in CLIENTS:
                for name, url in urls.items():
                    closed_loop(url, texts, expected, count, SECONDS, found[name][count])
                    shown = found[name][count].summary()
                    print(f"round {number + 1}, {count} clients, {name}: "
                          f"{shown['per_second']:.1f} a second, p99 {shown['p99_ms']:,.0f} ms",
                          flush=True)  # fmt: skip
        clients = {
            name: {str(count): answers.summary() for count, answers in by_count.items()}
            for name, by_count in found.items()
        }
        capacity, usual = (
            clients[name][str(CLIENTS[-1])]["per_second"] for name in ("ours", "naive")
        )
        process, memory = psutil.Process(ours.process.pid), []
        print(f"overload: {OVERLOAD * capacity:.0f} a second for {OVERLOAD_SECONDS} s", flush=True)
        over = open_loop(
            ours.url, texts, expected, OVERLOAD * capacity, OVERLOAD_SECONDS,
            every_second=lambda: memory.append(process.memory_info().rss / 2**30),
        )  # fmt: skip
        recovery = Answers()
        closed_loop(ours.url, texts, expected, report.RECOVERY_CLIENTS, SECONDS, recovery)
    return {
        "clients": clients,
        "limits": limits,
        "throughput_ratio": capacity / usual,
        "overload": {
            **over.summary(),
            "times_capacity": OVERLOAD,
            "arrivals_per_second": OVERLOAD * capacity,
            "seconds": OVERLOAD_SECONDS,
            "memory_gib": [float(np.mean(part)) for part in (memory[:10], memory[-10:])],
        },
        "recovery": recovery.summary(),
        "deadline_seconds": DEADLINE_SECONDS,
        "rounds": ROUNDS,
        "seconds_each": SECONDS,
        "versions": versions(),
    }


if __name__ == "__main__":
    main()
