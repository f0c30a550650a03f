"""transformers' Trainer, with what helps a small encoder on few labels."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, EvalPrediction

from utils import InputError
from utils.data.reviews import Reviews
from utils.files import write
from utils.hardware import device, keep_freed_memory, precision, processes
from utils.modeling.backbones import Backbone
from utils.modeling.model import CustomHeadDistilBert
from utils.results import Run
from utils.text import tokenize
from utils.training.fingerprint import fingerprint
from utils.training.progress import TextProgress
from utils.training.recipe import Recipe


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
    """A Trainer whose `group_by_length` shuffles its batches, with a learning rate a layer.

    Each layer learns at `layer_decay` times the rate of the one above it, the head at the full
    rate (Howard and Ruder, "Universal Language Model Fine-tuning", 2018).
    """

    def __init__(self, *arguments, layer_decay: float = 1.0, shuffled: bool = True, **named):
        super().__init__(*arguments, **named)
        self.layer_decay, self.shuffled = layer_decay, shuffled

    def _get_train_sampler(self, train_dataset=None):
        grouped = super()._get_train_sampler(train_dataset)
        if not self.shuffled or not isinstance(grouped, LengthGroupedSampler):
            return grouped
        batch_size = grouped.batch_size * self.args.world_size
        return ShuffledBatches(batch_size, grouped.lengths, self.args.seed)

    def create_optimizer(self, model=None):
        if self.optimizer is None and self.layer_decay != 1.0:
            kind, values = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            decayed = set(self.get_decay_parameter_names(self.model))
            groups: dict[tuple, dict] = {}
            for name, parameter in self.model.named_parameters():
                rate = self.args.learning_rate * self.layer_decay ** _depth(self.model, name)
                weight_decay = self.args.weight_decay if name in decayed else 0.0
                group = {"params": [], "lr": rate, "weight_decay": weight_decay}
                groups.setdefault((rate, weight_decay), group)["params"].append(parameter)
            self.optimizer = kind(list(groups.values()), **values)
        return super().create_optimizer(model)


def _depth(model: PreTrainedModel, name: str) -> int:
    """How many layers lie above a parameter: 0 for the head, the most for the embeddings."""
    layers = model.config.n_layers
    if ".embeddings." in name:
        return layers + 1
    return layers - int(name.split(".layer.")[1].split(".")[0]) if ".layer." in name else 0


class WeightAveraging(TrainerCallback):
    """Evaluates and saves a moving average of the weights, while training goes on from the last.

    After each step the average moves by 1 - `decay` towards the weights (Polyak and Juditsky,
    1992). The weights themselves are kept beside the checkpoint, so that it can be resumed.
    """

    FILE = "not_averaged.safetensors"

    def __init__(self, decay: float):
        self.decay = decay

    def on_train_begin(self, args, state, control, model, **kwargs):
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(self.decay))
        self.last: dict[str, torch.Tensor] | None = None
        self.average.n_averaged.fill_(state.global_step)
        checkpoint = Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        if state.global_step:  # resumed: what was loaded are the averaged weights
            self.last = load_file(checkpoint / self.FILE)

    def on_epoch_begin(self, args, state, control, model, **kwargs):
        if self.last is not None:  # of an epoch before: none follows the last one
            model.load_state_dict(self.last)
            self.last = None

    def on_step_end(self, args, state, control, model, **kwargs):
        self.average.update_parameters(model)

    def on_epoch_end(self, args, state, control, model, **kwargs):
        self.last = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.average.module.state_dict())

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
            write(checkpoint / self.FILE, lambda file: save_file(self.last, file))


def as_dataset(tokenizer: PreTrainedTokenizerBase, frame: pd.DataFrame, recipe: Recipe) -> Dataset:
    """A frame of reviews as the columns `input_ids`, `length` and `labels`.

    A label is a class or, where the frame has the `probability` of positive, that of each class.
    """
    texts = frame["text"].tolist()
    ids = tokenize(tokenizer, texts, recipe.max_tokens, recipe.tail).ids
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
        bf16=precision()[0] == "bf16",
        use_cpu=device().type == "cpu",
        restore_callback_states_from_checkpoint=True,  # the minutes spent before
        save_total_limit=1,  # beside the best one, where that is kept
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
    run: Run, model: CustomHeadDistilBert, backbone: Backbone, reviews: Reviews, recipe: Recipe
) -> Trainer:
    """The Trainer of a recipe; its folder, named by the fingerprint, gets a checkpoint an epoch.

    Of several processes, as torchrun starts them, each takes its share of every batch; a last one
    that is not full is filled up with the first reviews, as accelerate does. Raises
    InputError where they cannot share it evenly.
    """
    if recipe.batch_size % processes():
        raise InputError(f"Batches of {recipe.batch_size} cannot be shared evenly by {processes()} "
                         "processes: start 2, 4, 8 or 16.")  # fmt: skip
    keep_freed_memory()
    values = dict(
        output_dir=str(run.folder / "checkpoints" / fingerprint(backbone, reviews, recipe)),
        seed=recipe.seed,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size // processes(),
        ddp_backend="gloo" if processes() > 1 and device().type == "cpu" else None,
        per_device_eval_batch_size=2 * recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup,
        lr_scheduler_type="linear",
        weight_decay=recipe.weight_decay,
        max_grad_norm=1.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=recipe.best_epoch,
        metric_for_best_model="accuracy",
        logging_steps=5,
    )
    if not recipe.grouped or recipe.usual:
        values["train_sampling_strategy"] = "random"
    if recipe.usual:
        values["bf16"] = False
        for layer in model.distilbert.transformer.layer:
            layer.attention.dropout.p = backbone.config.attention_dropout
    callbacks = [WeightAveraging(recipe.averaging)] if recipe.averaging else []
    trainer = FineTuner(
        model=model,
        args=training_arguments(**values),
        train_dataset=as_dataset(backbone.tokenizer, reviews.train, recipe),
        eval_dataset=as_dataset(backbone.tokenizer, reviews.validation, recipe),
        data_collator=DataCollatorWithPadding(backbone.tokenizer),
        compute_metrics=_accuracy,
        callbacks=[*callbacks, TextProgress()],
        layer_decay=recipe.layer_decay,
        shuffled=recipe.shuffled,
    )
    trainer.remove_callback(PrinterCallback)  # prints dicts; TextProgress says it in words
    return trainer


def _accuracy(output: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float(np.mean(output.predictions.argmax(-1) == output.label_ids))}
