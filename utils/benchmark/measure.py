"""Cases timed side by side, each in a fresh process, and counted operations."""

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import DistilBertConfig

from utils.hardware import device, precision, versions
from utils.modeling.model import CustomHeadDistilBert
from utils.paths import BENCHMARK
from utils.text import MAX_TOKENS
from utils.training.progress import seconds_since

ROUNDS = {
    "training": 3,
    "inference": 3,
    "models": 3,
    "growth": 3,
    "tried": 1,  # compiling takes minutes
}
SIZES = {
    "22M": {"dim": 384, "hidden_dim": 1536, "n_heads": 12},
    "66M": {"dim": 768, "hidden_dim": 3072, "n_heads": 12},
}


def review_lengths(count: int) -> list[int]:
    """Tokens of `count` reviews spread evenly over 2,000 of IMDB's, cut to 512, in random order.

    Only the token counts of these reviews are in the repository.
    """
    lengths = sorted(json.loads((BENCHMARK / "imdb_lengths.json").read_text(encoding="utf-8")))
    places = (np.arange(count) + 0.5) * len(lengths) / count
    chosen = np.minimum(np.array(lengths)[places.astype(int)], MAX_TOKENS)
    return np.random.default_rng(0).permutation(chosen).tolist()


def compare(cases: dict[Hashable, Callable[[], dict]], rounds: int) -> dict[Hashable, list[dict]]:
    """What each case returns in each round; the cases of a round follow one another.

    Each runs in a fresh process, so that none inherits another's memory, threads or caches, and
    the peak memory of the whole process, in GiB, is its own: `gib` is added to what it returns.
    """
    found: dict[Hashable, list[dict]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, case in cases.items():
            found[name].append(in_fresh_process(case))
            shown = json.dumps(found[name][-1], default=lambda x: round(x, 3))
            print(f"round {number + 1}: {name}: {shown[:100]}", flush=True)
    return found


def in_fresh_process(case: Callable[[], dict]) -> dict:
    """What the case returns, with the peak memory of its process as `gib`."""
    # A server that has imported everything once forks each process, where that is safe.
    fork = sys.platform == "linux" and device().type == "cpu"
    fresh = multiprocessing.get_context("forkserver" if fork else "spawn")
    fresh.set_forkserver_preload(["utils.benchmark.inference"])
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(_with_peak_memory, case).result()


def _with_peak_memory(case: Callable[[], dict]) -> dict:
    result = case()
    try:
        import resource  # not on Windows

        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    except ImportError:
        peak = psutil.Process().memory_info().peak_wset
    return {**result, "gib": peak / 2**30}


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that the work takes, a GPU's included."""
    started = time.perf_counter()
    work()
    return seconds_since(started)


def profiled(case: Callable[[], dict]) -> dict:
    """The eight operations that take the most time in a case, each with its share of all."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        case()
    events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return {"shares": {event.key: event.self_cpu_time_total / total for event in events[:8]}}


def circumstances() -> dict:
    """On what a benchmark runs, what the processor can do at most, and whether it was idle."""
    found = {"versions": versions(), "why": precision()[1], "busy_before": psutil.cpu_percent(3)}
    if found["busy_before"] > 10:
        print(f"The processor is {found['busy_before']:.0f}% busy: these timings will be wrong.")
    found["peak_gflops"] = peak_gflops()
    print(", ".join(f"{k}: {v:,.0f} GFLOP/s at most" for k, v in found["peak_gflops"].items()))
    return found


def peak_gflops() -> dict[str, float]:
    """GFLOP/s of a product of two 4096 x 4096 matrices, the best of ten: the measured limit."""
    kinds = {"fp32": torch.float32}
    if precision()[0] == "bf16":
        kinds["bf16"] = torch.bfloat16
    found = {}
    for name, kind in kinds.items():
        left, right = (torch.randn(4096, 4096, device=device()).to(kind) for _ in range(2))
        multiply = partial(torch.matmul, left, right)
        found[name] = 2 * 4096**3 / min(seconds_of(multiply) for _ in range(10)) / 1e9
    return found


def forward_gflop(size: str, lengths: list[int]) -> float:
    """GFLOP of the matrix products in one forward pass over reviews, without padding."""
    config = DistilBertConfig(**SIZES[size], n_layers=6, attn_implementation="eager")
    total = {}
    with torch.device("meta"):
        model = CustomHeadDistilBert(config)
        for length in set(lengths):
            with FlopCounterMode(display=False) as counter:
                model(torch.zeros((1, length), dtype=torch.long))
            total[length] = counter.get_total_flops()
    return sum(total[length] for length in lengths) / 1e9


def with_ratios(rows: dict[str, dict]) -> dict[str, dict]:
    """The rows, each with its speed as a multiple of the first one's."""
    usual = next(iter(rows.values()))["reviews_per_second"]
    return {
        name: {**row, "times_the_first": row["reviews_per_second"] / usual}
        for name, row in rows.items()
    }
