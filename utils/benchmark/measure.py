"""Speed of training: cases timed side by side on the same reviews, each in a fresh process."""

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import psutil
import torch
from datasets import Dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoTokenizer,
    DataCollatorWithPadding,
    DistilBertConfig,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from utils.attention import PRODUCTS
from utils.export import RELEASED
from utils.hardware import attention, device, keep_freed_memory, precision
from utils.model import CustomHeadDistilBert
from utils.settings import ROOT
from utils.text import MAX_TOKENS
from utils.timing import seconds_since
from utils.trainer import on_one_gpu

FOLDER = ROOT / "artifacts" / "benchmark"
SIZES = {
    "22M": {"dim": 384, "hidden_dim": 1536, "n_heads": 12},
    "66M": {"dim": 768, "hidden_dim": 3072, "n_heads": 12},
}
BATCH = {"22M": 16, "66M": 8}  # the recipe's; half of it where a step takes three times as long
VOCABULARY = 30522


def review_lengths(count: int) -> list[int]:
    """Tokens of `count` reviews spread evenly over 2,000 of IMDB's, cut to 512, in random order.

    Only the token counts of these reviews are in the repository.
    """
    lengths = sorted(json.loads((FOLDER / "imdb_lengths.json").read_text(encoding="utf-8")))
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


@dataclass(frozen=True)
class Training:
    """One way of training, as the changes to the usual recipe accumulate."""

    padding: str | bool = "max_length"  # to 512 tokens; True: to the batch's longest
    by_length: bool = False
    attention_dropout: float = 0.1
    bf16: bool = False
    attention: str = "sdpa"
    keep_memory: bool = False
    compile: bool = False


def trainings() -> dict[str, Training]:
    """The usual notebook's recipe, then one change more in each row; the last one is ours.

    bf16 is among them only where the processor multiplies it natively, and another attention than
    the fused kernel only where it is ours.
    """
    way = Training()
    rows = {"usual: fp32, padded to 512": way}
    changes = {
        "+ padded to the batch's longest": {"padding": True},
        "+ similar lengths together": {"by_length": True},
        "+ no attention dropout": {"attention_dropout": 0.0},
        "+ bf16": {"bf16": True},
        "+ freed memory kept": {"keep_memory": True},
        "+ attention in plain products": {"attention": PRODUCTS},
    }
    for name, change in changes.items():
        if "bf16" in change and precision()[0] != "bf16":
            continue
        if "attention" in change and attention()[0] != change["attention"]:
            continue
        rows[name] = way = replace(way, **change)
    last = list(rows)[-1]
    rows[f"{last} (ours)"] = rows.pop(last)
    return rows


def train(size: str, way: Training, lengths: list[int]) -> dict:
    """`seconds` of one epoch with Trainer on reviews of these lengths.

    Weights and tokens are random: speed does not depend on them. `warm_up` is the seconds of what
    comes first: the batch of the longest, or the whole epoch where it is to be compiled.
    """
    if way.keep_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    config = DistilBertConfig(
        **SIZES[size],
        n_layers=6,
        attention_dropout=way.attention_dropout,
        attn_implementation=way.attention,
    )
    model = CustomHeadDistilBert(config)
    if way.by_length:  # as Trainer groups thousands; of a few dozen it would group nothing
        lengths = sorted(lengths, reverse=True)
    longest = sorted(lengths, reverse=True)[: BATCH[size]]
    tokenizer = AutoTokenizer.from_pretrained(RELEASED, local_files_only=True)
    with tempfile.TemporaryDirectory() as folder:
        arguments = on_one_gpu(
            TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=BATCH[size],
                train_sampling_strategy="sequential",  # the lengths come in random order
                bf16=way.bf16,
                torch_compile=way.compile,
                use_cpu=device().type == "cpu",
                dataloader_pin_memory=device().type == "cuda",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                report_to="none",
            )
        )
        warm_up, timed = (
            Trainer(
                model=model,
                args=arguments,
                train_dataset=random_reviews(counts),
                data_collator=DataCollatorWithPadding(tokenizer, padding=way.padding),
            )
            for counts in (lengths if way.compile else longest, lengths)
        )
        for trainer in (warm_up, timed):
            trainer.remove_callback(PrinterCallback)
        return {"warm_up": seconds_of(warm_up.train), "seconds": seconds_of(timed.train)}


def random_reviews(lengths: list[int]) -> Dataset:
    """Seeded random tokens, as many for each review as `lengths` says, and labels in turn."""
    draw = np.random.default_rng(0)
    ids = [draw.integers(1000, VOCABULARY, length).tolist() for length in lengths]
    labels = [row % 2 for row in range(len(ids))]
    return Dataset.from_dict({"input_ids": ids, "labels": labels})
