"""Fine-tuning with transformers' Trainer: seeded, resumable, the best epoch on validation."""

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import EvalPrediction, get_last_checkpoint

from utils import InputError
from utils.backbone import Backbone, build_model
from utils.data import Reviews
from utils.hardware import device, keep_freed_memory, precision, versions
from utils.inference import Classifier
from utils.model import CustomHeadDistilBert
from utils.results import Run, sha256, write_folder
from utils.sampling import ShuffledBatchesTrainer
from utils.text import tokenize
from utils.timing import TextProgress


@dataclass(frozen=True)
class Recipe:
    """How the model is fine-tuned; everything that the result depends on besides the data."""

    learning_rate: float
    seed: int
    epochs: int = 3
    batch_size: int = 16
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.01
    shuffled: bool = False  # batches of similar length in random order, not from long to short


def fingerprint(backbone: Backbone, reviews: Reviews, recipe: Recipe) -> str:
    """A hash of all that decides the trained weights; a finished training is known by it."""
    weights = hashlib.sha256()
    for name in sorted(backbone.weights):
        weights.update(name.encode() + backbone.weights[name].numpy().tobytes())
    machine = [device().type, precision()[0]]  # attention dropout depends on the device
    config = backbone.config.to_dict()
    parts = [weights.hexdigest(), config, reviews.training_sha256, machine, asdict(recipe)]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_dataset(tokenizer: PreTrainedTokenizerBase, frame: pd.DataFrame) -> Dataset:
    """A frame of reviews as the columns `input_ids`, `length` and `labels`."""
    ids = tokenize(tokenizer, frame["text"].tolist()).ids
    columns = {"input_ids": ids, "length": [len(row) for row in ids]}
    return Dataset.from_dict({**columns, "labels": frame["label"].tolist()})


def make_trainer(
    run: Run,
    model: CustomHeadDistilBert,
    backbone: Backbone,
    reviews: Reviews,
    recipe: Recipe,
    **changes,
) -> Trainer:
    """The Trainer of a recipe; its folder, named by the fingerprint, gets a checkpoint an epoch.

    `changes` are TrainingArguments that are to differ from the recipe's, for a comparison.
    """
    keep_freed_memory()
    values = dict(
        output_dir=str(run.folder / "checkpoints" / fingerprint(backbone, reviews, recipe)),
        seed=recipe.seed,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=2 * recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup,
        lr_scheduler_type="linear",
        weight_decay=recipe.weight_decay,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        train_sampling_strategy="group_by_length",
        bf16=precision()[0] == "bf16",
        use_cpu=device().type == "cpu",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,  # beside the best one
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        logging_steps=5,
        dataloader_pin_memory=device().type == "cuda",
        disable_tqdm=True,
        report_to="none",
    )
    trainer = (ShuffledBatchesTrainer if recipe.shuffled else Trainer)(
        model=model,
        args=TrainingArguments(**{**values, **changes}),
        train_dataset=as_dataset(backbone.tokenizer, reviews.train),
        eval_dataset=as_dataset(backbone.tokenizer, reviews.validation),
        data_collator=DataCollatorWithPadding(backbone.tokenizer),
        compute_metrics=_accuracy,
        callbacks=[TextProgress()],
    )
    trainer.remove_callback(PrinterCallback)  # prints dicts; TextProgress says it in words
    return trainer


def _accuracy(output: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float(np.mean(output.predictions.argmax(-1) == output.label_ids))}


def fine_tune(
    run: Run, trainer: Trainer, backbone: Backbone, reviews: Reviews, recipe: Recipe
) -> dict:
    """Train, or resume from the last checkpoint, and save the best epoch's model and the result.

    A training with the same fingerprint that is finished is not repeated. Returns the result as
    saved in `results/training.json`. Raises InputError where the disk is too full to begin.
    """
    folder = Path(trainer.args.output_dir)
    key = folder.name
    about = {
        **reviews.provenance,
        "training_sha256": reviews.training_sha256,
        "seed": recipe.seed,
        "backbone": backbone.title,
    }
    if (folder / "model").exists():
        print(f"This training is finished ({run.name}/checkpoints/{key}); delete it to repeat it.")
        result = json.loads((folder / "model" / "training.json").read_text())
        for epoch in result["validation"]:
            print(
                "epoch {epoch}: validation accuracy {accuracy:.1%}, loss {loss:.3f}".format(**epoch)
            )
        result |= about  # the fingerprint is the same, but the test may now be another
        run.save("training", result)
        _remove_checkpoints(folder)  # in case the first process was killed before it did
        return result

    _require_space(folder, trainer.model)
    for torn in folder.glob("checkpoint-*"):
        if not (torn / "trainer_state.json").exists():  # written last: the save was interrupted
            shutil.rmtree(torn)
    checkpoint = get_last_checkpoint(folder) if folder.exists() else None
    if checkpoint:
        print(f"Resuming from {Path(checkpoint).name}.")
    else:
        # An interrupted cell that is run again must not go on from half-trained weights.
        trainer.model.load_state_dict(build_model(backbone, recipe.seed).state_dict())
    trainer.optimizer = trainer.lr_scheduler = None
    set_seed(recipe.seed)
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=checkpoint)
    minutes = (time.perf_counter() - started) / 60
    if trainer.state.best_model_checkpoint is None:
        raise InputError(
            "The checkpoint of the best epoch is gone (was the folder moved?): delete "
            f"{run.name}/checkpoints/{key} and train again."
        )

    logs = trainer.state.log_history
    epochs = [log for log in logs if "eval_accuracy" in log]
    best = max(epochs, key=lambda log: log["eval_accuracy"])  # the first of equals, as Trainer
    result = {
        **about,
        "parameters": trainer.model.num_parameters(),
        "fingerprint": key,
        "recipe": asdict(recipe),
        "train_reviews": len(reviews.train),
        "validation_reviews": len(reviews.validation),
        "tokens_per_epoch": sum(trainer.train_dataset["length"]),
        "minutes": None if checkpoint else round(minutes, 2),
        "resumed": bool(checkpoint),
        "best_epoch": round(best["epoch"]),
        "validation": [
            {"epoch": round(e["epoch"]), "accuracy": float(e["eval_accuracy"]),
             "loss": float(e["eval_loss"])} for e in epochs
        ],
        "training_loss": [
            {"epoch": round(log["epoch"], 3), "loss": log["loss"]} for log in logs if "loss" in log
        ],
        "versions": versions(),
    }  # fmt: skip

    def fill(model_folder: Path):
        trainer.model.save_pretrained(model_folder)
        backbone.tokenizer.save_pretrained(model_folder)
        result["model_sha256"] = sha256(model_folder / "model.safetensors")
        (model_folder / "training.json").write_text(json.dumps(result))

    write_folder(folder / "model", fill)
    run.save("training", result)
    _remove_checkpoints(folder)
    return result


def _remove_checkpoints(folder: Path) -> None:
    for old in folder.glob("checkpoint-*"):
        shutil.rmtree(old)


def load_trained(run: Run, **expected) -> tuple[Classifier, dict]:
    """The model that notebook 03 trained, ready to predict, and its result.

    Raises InputError that names the notebook, where there is none, or where its result does not
    hold the `expected` values, such as `training_sha256` and `seed`.
    """
    result = run.load("training", **expected)
    folder = run.folder / "checkpoints" / result["fingerprint"] / "model"
    if not folder.exists():
        raise InputError(
            f"The weights of {run.name} are not here (only its results are committed): run "
            "notebooks/03_fine_tuning.ipynb first."
        )
    model = CustomHeadDistilBert.from_pretrained(folder, local_files_only=True)
    return Classifier(model, AutoTokenizer.from_pretrained(folder, local_files_only=True)), result


def validation_accuracy(classifier: Classifier, reviews: Reviews) -> float:
    """Share of the validation reviews that the classifier labels rightly."""
    positive = classifier.probabilities(reviews.validation["text"].tolist()) >= 0.5
    return float(np.mean(positive == reviews.validation["label"]))


def _require_space(folder: Path, model: CustomHeadDistilBert) -> None:
    """Two checkpoints with AdamW's two moments, and the final model: ten times the weights."""
    needed = 10 * sum(p.numel() * p.element_size() for p in model.parameters())
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            f"Training needs {needed / 1e9:.1f} GB of free disk for its checkpoints, and "
            f"{free / 1e9:.1f} GB are free: free some, or set ARTIFACTS to another disk."
        )
