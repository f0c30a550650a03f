"""How long it takes: an estimate before training, and the time left during it."""

import time
from itertools import islice

import torch
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import ExportableState

from utils.data.reviews import SMALL_TEST
from utils.hardware import device, processes
from utils.inference.classifier import Classifier
from utils.progress import live_line
from utils.settings import Settings

MANY_MINUTES = 20
FEW_LABELS = 1000


class TextProgress(TrainerCallback, ExportableState):
    """One live line with the time left and the training loss, and a line for each epoch.

    Of a training that is resumed it knows the seconds spent before.
    """

    def __init__(self):
        self.earlier, self.started = 0.0, time.perf_counter()

    def on_train_begin(self, args, state, control, **kwargs):
        self.started = time.perf_counter()
        self.line = live_line(state.max_steps, "training", shown=state.is_world_process_zero)
        self.line.initial = self.line.n = state.global_step

    @property
    def minutes(self) -> float:
        """Spent on training, in this process and in those that it resumes."""
        return (self.earlier + time.perf_counter() - self.started) / 60

    def state(self) -> dict:
        """What a checkpoint keeps of it."""
        return {"args": {}, "attributes": {"earlier": 60 * self.minutes}}

    def on_step_end(self, args, state, control, **kwargs):
        self.line.update(state.global_step - self.line.n)

    def on_log(self, args, state, control, logs, **kwargs):
        if "loss" in logs:
            self.line.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)

    def on_train_end(self, args, state, control, **kwargs):
        self.line.close()

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        accuracy = metrics.get("eval_accuracy")  # a masked language model has none
        said = "" if accuracy is None else f" accuracy {accuracy:.1%},"
        print(f"epoch {state.epoch:.3g}: validation{said} loss {metrics['eval_loss']:.3f}")


def minutes_spent(trainer: Trainer) -> float:
    """Minutes of a training, those before an interruption included."""
    callbacks = trainer.callback_handler.callbacks
    found = next(callback for callback in callbacks if isinstance(callback, TextProgress))
    return round(found.minutes, 2)


def estimate_minutes(trainer: Trainer, test_texts: list[str]) -> dict[str, float]:
    """Minutes that training and predicting the test will take, from a few steps of each.

    Training is that of all epochs, each with its validation. The weights are not changed. Speed is
    measured in tokens, since batches differ in length.
    """
    model = trainer.model.to(device())
    batches = list(islice(trainer.get_train_dataloader(), 3))
    tokens, seconds = 0, 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)  # takes its time, and changes nothing
    model.train()
    for step, batch in enumerate([batches[0], *batches]):  # the first one warms up
        batch = {key: value.to(device()) for key, value in batch.items()}
        started = time.perf_counter()
        with trainer.accelerator.autocast():
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        if step > 0:
            tokens, seconds = tokens + batch["input_ids"].numel(), seconds + seconds_since(started)
    model.zero_grad()
    epoch = seconds / tokens * sum(trainer.train_dataset["length"])

    classifier = Classifier(model, trainer.data_collator.tokenizer)
    sample = test_texts[:: max(1, len(test_texts) // 96)]
    started = time.perf_counter()
    classifier.probabilities(sample)
    a_text = seconds_since(started) / len(sample)
    epoch = (epoch + a_text * len(trainer.eval_dataset)) / processes()
    return {
        "training": epoch * trainer.args.num_train_epochs / 60,
        "predicting": a_text * len(test_texts) / 60,
    }


def seconds_since(started: float) -> float:
    """Seconds since a `time.perf_counter()`, with all that a GPU was given to do."""
    if device().type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - started


def advice(minutes: dict[str, float], settings: Settings, test_size: int) -> str:
    """One line on the estimate and, where it is long, the faster choice."""
    line = f"About {minutes['training']:.0f} min of training and {minutes['predicting']:.0f} of "
    line += "prediction."
    if sum(minutes.values()) < MANY_MINUTES:
        return line
    faster = [] if settings.backbone == "minilm" else ["BACKBONE=minilm, a third of the size"]
    if test_size > SMALL_TEST:
        faster.append(f"TEST_SIZE={SMALL_TEST}, with wider intervals")
    if settings.labels > FEW_LABELS:
        faster.append(f"LABELS={FEW_LABELS}, for a first look")
    return f"{line} Faster: {'; '.join(faster)}." if faster else line
