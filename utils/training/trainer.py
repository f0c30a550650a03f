"""transformers' Trainer, with what helps a small encoder on few labels."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import distributed
from transformers import (
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import EvalPrediction

from utils import InputError
from utils.data.reviews import Reviews
from utils.hardware import device, keep_freed_memory, precision, processes
from utils.modeling.backbones import Backbone
from utils.modeling.model import CustomHeadDistilBert
from utils.results import Run
from utils.text import tokenize
from utils.training.fingerprint import fingerprint
from utils.training.progress import TextProgress
from utils.training.recipe import Recipe

PATIENCE = timedelta(minutes=10)  # for the other processes: a link may be cut


class ShuffledBatches(LengthGroupedSampler):
    """transformers' batches of similar length, whole ones in random order.

    Its own order goes from the longest to the shortest in each 50 batches, so that for dozens of
    steps, before an evaluation too, the model learns from reviews of one length alone. The order
    depends on the seed and the epoch alone, so that all processes of a training draw the same.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Trainer before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(1000 * self.seed + self.epoch)
        rows = list(super().__iter__())
        whole = len(rows) // self.batch_size
        order = torch.randperm(whole, generator=self.generator).tolist()
        for batch in [*order, whole]:  # what is left over stays the last one
            yield from rows[batch * self.batch_size : (batch + 1) * self.batch_size]


class FineTuner(Trainer):
    """A Trainer whose batches of similar length come in random order."""

    def _get_train_sampler(self, train_dataset=None):
        grouped = super()._get_train_sampler(train_dataset)
        if not isinstance(grouped, LengthGroupedSampler):
            return grouped
        batch_size = grouped.batch_size * self.args.world_size
        return ShuffledBatches(batch_size, grouped.lengths, self.args.seed)


def as_dataset(tokenizer: PreTrainedTokenizerBase, frame: pd.DataFrame, recipe: Recipe) -> Dataset:
    """A frame of reviews as the columns `input_ids`, `length` and `labels`.

    A label is a class or, where the frame has the `probability` of positive, that of each class.
    """
    texts = frame["text"].tolist()
    ids = tokenize(tokenizer, texts, recipe.max_tokens).ids
    columns = {"input_ids": ids, "length": [len(row) for row in ids]}
    labels = frame["label"].tolist()
    if "probability" in frame:
        labels = [[1 - positive, positive] for positive in frame["probability"]]
    return Dataset.from_dict({**columns, "labels": labels})


def training_arguments(**values) -> TrainingArguments:
    """The arguments of a training here: as the processor takes them, and `values`."""
    usual = dict(
        optim="adamw_torch_fused",
        train_sampling_strategy="group_by_length",
        ddp_timeout=int(PATIENCE.total_seconds()),
        bf16=precision()[0] == "bf16",
        fp16=precision()[0] == "fp16",
        use_cpu=device().type == "cpu",
        restore_callback_states_from_checkpoint=True,  # the minutes spent before
        save_total_limit=1,
        dataloader_pin_memory=device().type == "cuda",
        disable_tqdm=True,
        report_to="none",
    )
    return on_one_gpu(TrainingArguments(**(usual | values)))


def on_one_gpu(arguments: TrainingArguments) -> TrainingArguments:
    """The same, but of several visible GPUs each process uses one.

    Trainer would use all of them, with a whole batch on each: larger batches than were asked for.
    """
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def make_trainer(
    run: Run,
    model: CustomHeadDistilBert,
    backbone: Backbone,
    reviews: Reviews,
    recipe: Recipe,
    report_to: str = "none",
) -> Trainer:
    """The Trainer of a recipe; its folder, named by the fingerprint, gets a checkpoint an epoch.

    `report_to` is a tracker of transformers, as tensorboard.

    Of several processes, as torchrun starts them, each takes its share of every batch; a last one
    that is not full is filled up with the first reviews, as accelerate does. Raises
    InputError where they cannot share it evenly.
    """
    if recipe.batch_size % processes():
        raise InputError(f"Batches of {recipe.batch_size} cannot be shared evenly by {processes()} "
                         "processes: start 2, 4, 8 or 16.")  # fmt: skip
    keep_freed_memory()
    several_on_cpu = processes() > 1 and device().type == "cpu"
    if several_on_cpu and not distributed.is_initialized():
        # Trainer hands its ddp_timeout to GPUs alone.
        distributed.init_process_group("gloo", timeout=PATIENCE)
    values = dict(
        output_dir=str(run.folder / "checkpoints" / fingerprint(backbone, reviews, recipe)),
        seed=recipe.seed,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size // processes(),
        ddp_backend="gloo" if several_on_cpu else None,
        per_device_eval_batch_size=2 * recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup,
        lr_scheduler_type="linear",
        weight_decay=recipe.weight_decay,
        max_grad_norm=1.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=5,
        report_to=report_to,
    )
    if not recipe.group_by_length:
        values["train_sampling_strategy"] = "random"
    trainer = FineTuner(
        model=model,
        args=training_arguments(**values),
        train_dataset=as_dataset(backbone.tokenizer, reviews.train, recipe),
        eval_dataset=as_dataset(backbone.tokenizer, reviews.validation, recipe),
        data_collator=DataCollatorWithPadding(backbone.tokenizer),
        compute_metrics=_accuracy,
        callbacks=[TextProgress()],
    )
    trainer.remove_callback(PrinterCallback)  # prints dicts; TextProgress says it in words
    return trainer


def _accuracy(output: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float(np.mean(output.predictions.argmax(-1) == output.label_ids))}
