"""Load for a service on this machine: clients that wait for their answers, and some that do not."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

import httpx
import numpy as np

from utils import InputError
from utils.service.engine import Engine, Unavailable

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
