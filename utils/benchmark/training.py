"""Ways of training, from the usual recipe to ours, timed on the same reviews."""

import tempfile
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    DataCollatorWithPadding,
    DistilBertConfig,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from utils.benchmark.measure import (
    ROUNDS,
    SIZES,
    compare,
    forward_gflop,
    review_lengths,
    seconds_of,
    with_ratios,
)
from utils.hardware import device, keep_freed_memory, precision
from utils.modeling.attention import PRODUCTS, attention
from utils.modeling.model import CustomHeadDistilBert
from utils.paths import RELEASED
from utils.training.trainer import on_one_gpu

BATCH = {"22M": 16, "66M": 8}  # the recipe's; half of it where a step takes three times as long
VOCABULARY = 30522
TRAINED_ON = {"22M": 48, "66M": 24}  # reviews of a round: three batches


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


def compare_trainings(size: str, peak: dict[str, float]) -> dict:
    """Reviews a second of each way of training, its ratio to the usual, its share of the peak."""
    lengths = review_lengths(TRAINED_ON[size])
    ways = trainings()
    rounds = compare(
        {name: partial(train, size, way, lengths) for name, way in ways.items()},
        ROUNDS["training"],
    )
    # A backward pass multiplies twice as much as the forward pass.
    gflop = 3 * forward_gflop(size, lengths)
    rows = {}
    for name, way in ways.items():
        seconds = float(np.median([found["seconds"] for found in rounds[name]]))
        rows[name] = {
            "seconds": [found["seconds"] for found in rounds[name]],
            "reviews_per_second": len(lengths) / seconds,
            "share_of_peak": gflop / seconds / peak["bf16" if way.bf16 else "fp32"],
            "peak_gib": max(found["gib"] for found in rounds[name]),
            "ours": name == list(ways)[-1],
        }
    return {"reviews": len(lengths), "gflop": gflop, "rows": with_ratios(rows)}
