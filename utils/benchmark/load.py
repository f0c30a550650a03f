"""Load for a service on this machine: clients that wait for their answers, and some that do not."""

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from utils import InputError
from utils.benchmark.inference import random_texts
from utils.benchmark.measure import review_lengths
from utils.benchmark.report import RECOVERY_CLIENTS
from utils.hardware import versions
from utils.inference.classifier import Classifier
from utils.service.api import DEADLINE_SECONDS
from utils.service.batching import Engine, Unavailable
from utils.service.launcher import Service, naive_service, our_service
from utils.service.metrics import Metrics
from utils.text import tokenize

CLIENTS = (1, 8, 32)
ROUNDS = 3
SECONDS = 12  # of each number of clients, in each round
OVERLOAD, OVERLOAD_SECONDS = 5, 60  # times the capacity
# A score may differ from the direct prediction by what bf16 and another batch round off.
TOLERANCE = 0.05


@dataclass
class Answers:
    """What the clients of one service got."""

    seconds: float = 0.0
    outcomes: Counter = field(default_factory=Counter)  # by status, or "no answer"
    latencies: list[float] = field(default_factory=list)  # of those answered with 200, in seconds
    wrong: int = 0  # of those: not the direct prediction
    without_retry_after: int = 0  # refusals that do not say when to come back

    def summary(self) -> dict:
        """Answers a second, and latency in milliseconds.

        Raises InputError where nobody was answered, which has no latency.
        """
        if not self.latencies:
            raise InputError("The service answered nobody: "
                             f"{dict(self.outcomes) or 'nothing was asked'}.")  # fmt: skip
        p50, p95, p99 = np.percentile(self.latencies, [50, 95, 99]) * 1000
        return {
            "per_second": len(self.latencies) / self.seconds,
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
            "slowest_ms": max(self.latencies) * 1000,
            "outcomes": {str(key): count for key, count in sorted(self.outcomes.items(), key=str)},
            "wrong": self.wrong,
            "without_retry_after": self.without_retry_after,
        }


def closed_loop(
    url: str, texts: list[str], expected: np.ndarray, clients: int, seconds: float, answers: Answers
) -> None:
    """So many clients, each asking for one text after another; added to `answers`.

    `expected` are the probabilities, shape (texts,), that each text is positive.
    """

    async def client(session: httpx.AsyncClient, number: int, end: float) -> None:
        while time.monotonic() < end:
            await _ask(session, url, texts, expected, number % len(texts), answers)
            number += clients

    async def all_clients() -> None:
        async with _session() as session:
            end = time.monotonic() + seconds
            await asyncio.gather(*(client(session, number, end) for number in range(clients)))

    started = time.monotonic()
    asyncio.run(all_clients())
    answers.seconds += time.monotonic() - started


def engine_alone(engine: Engine, ids: list[list[int]], waiting: int, seconds: float) -> float:
    """Texts a second of an engine, without HTTP, where so many wait, or as many as it lets in."""
    asked = done = 0
    pending: set[Future] = set()
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        while len(pending) < waiting:
            try:
                pending |= set(engine.predict([ids[asked % len(ids)]], time.monotonic() + 60))
            except Unavailable:  # on a slow processor fewer are let in
                break
            asked += 1
        found, pending = wait(pending, return_when=FIRST_COMPLETED)
        done += len(found)
    return done / (time.monotonic() - started)


def open_loop(
    url: str,
    texts: list[str],
    expected: np.ndarray,
    per_second: float,
    seconds: float,
    every_second: Callable[[], object],
) -> Answers:
    """Requests that arrive at random (a Poisson process), whether or not others are answered."""
    draw = np.random.default_rng(0)
    arrivals = np.cumsum(draw.exponential(1 / per_second, int(per_second * seconds)))
    answers = Answers()

    async def arrive() -> None:
        async with _session() as session:
            started, tasks, shown = time.monotonic(), [], 0
            for number, arrival in enumerate(arrivals):
                if (wait := started + arrival - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                if arrival >= shown:
                    every_second()
                    shown += 1
                row = number % len(texts)
                tasks.append(asyncio.create_task(_ask(session, url, texts, expected, row, answers)))
            await asyncio.gather(*tasks)
            answers.seconds = time.monotonic() - started

    asyncio.run(arrive())
    return answers


async def _ask(
    session: httpx.AsyncClient,
    url: str,
    texts: list[str],
    expected: np.ndarray,
    row: int,
    answers: Answers,
) -> None:
    started = time.monotonic()
    try:
        response = await session.post(f"{url}/predict", json={"inputs": texts[row]})
    except httpx.HTTPError as error:
        answers.outcomes[f"no answer: {type(error).__name__}"] += 1
        return
    answers.outcomes[response.status_code] += 1
    if response.status_code == 200:
        answers.latencies.append(time.monotonic() - started)
        [found] = response.json()
        positive = found["score"] if found["label"] == "POSITIVE" else 1 - found["score"]
        answers.wrong += bool(abs(positive - expected[row]) > TOLERANCE)
    elif "Retry-After" not in response.headers:
        answers.without_retry_after += 1


def _session() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    return httpx.AsyncClient(timeout=60, limits=limits, trust_env=False)  # no proxy


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


def load_test(model: Path) -> dict:
    """Both services with clients that wait, then ours with more than it can answer."""
    texts = random_texts(review_lengths(400))
    # In a thread that ends, for its team of OpenMP threads to end with it: see Engine.
    with ThreadPoolExecutor(1) as thread:
        expected, limits = thread.submit(expected_and_limits, model, texts).result()
    with tempfile.TemporaryDirectory() as folder, naive_service(model) as naive:
        log, started = Path(folder) / "log", time.perf_counter()
        with our_service(model, log) as ours:
            seconds_to_ready = time.perf_counter() - started
            clients = _compare({"naive": naive, "ours": ours.url}, texts, expected)
            capacity, usual = (
                clients[name][str(CLIENTS[-1])]["per_second"] for name in ("ours", "naive")
            )
            over = _overload(ours, texts, expected, capacity)
            recovery = Answers()
            closed_loop(ours.url, texts, expected, RECOVERY_CLIENTS, SECONDS, recovery)
        apart = _apart(model, log, texts, expected)
    return {
        "clients": clients,
        "limits": limits,
        "throughput_ratio": capacity / usual,
        "overload": over,
        "recovery": recovery.summary(),
        "apart": apart,
        "seconds_to_ready": seconds_to_ready,
        "deadline_seconds": DEADLINE_SECONDS,
        "rounds": ROUNDS,
        "seconds_each": SECONDS,
        "versions": versions(),
    }


def _compare(urls: dict[str, str], texts: list[str], expected: np.ndarray) -> dict:
    """Each service with each number of clients, in turn, in several rounds."""
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
    return {
        name: {str(count): answers.summary() for count, answers in by_count.items()}
        for name, by_count in found.items()
    }


def _overload(service: Service, texts: list[str], expected: np.ndarray, capacity: float) -> dict:
    """A service that is asked for five times as much as its `capacity`, in answers a second."""
    process, memory = psutil.Process(service.process.pid), []
    print(f"overload: {OVERLOAD * capacity:.0f} a second for {OVERLOAD_SECONDS} s", flush=True)
    answers = open_loop(
        service.url, texts, expected, OVERLOAD * capacity, OVERLOAD_SECONDS,
        every_second=lambda: memory.append(process.memory_info().rss / 2**30),
    )  # fmt: skip
    return {
        **answers.summary(),
        "times_capacity": OVERLOAD,
        "arrivals_per_second": OVERLOAD * capacity,
        "seconds": OVERLOAD_SECONDS,
        "memory_gib": [float(np.mean(part)) for part in (memory[:10], memory[-10:])],
    }


def _apart(model: Path, log: Path, texts: list[str], expected: np.ndarray) -> dict | None:
    """Our service on one half of the cores and its clients on the other; None where that fails.

    So that it is the service that is measured, and not the clients that share its cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    try:
        os.sched_setaffinity(0, cores[:half])
        with our_service(model, log) as service:
            os.sched_setaffinity(0, cores[half:])
            closed_loop(service.url, texts, expected, 2, 3, Answers())  # warms up
            answers = Answers()
            closed_loop(service.url, texts, expected, CLIENTS[-1], SECONDS, answers)
            found = answers.summary()
            over = _overload(service, texts, expected, found["per_second"])
    finally:
        os.sched_setaffinity(0, cores)
    return {"cores": half, "clients": found, "overload": over}
