"""Fine-tuning: seeded, resumable, watched on validation; and loading what it left."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
from accelerate.utils import gather_object
from safetensors import SafetensorError, safe_open
from transformers import (
    MPNetForSequenceClassification,
    Trainer,
    set_seed,
)
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import SAFE_WEIGHTS_NAME

from utils import InputError
from utils.data.reviews import Reviews
from utils.files import claim, sha256, write_folder
from utils.hardware import processes, versions
from utils.inference.classifier import Classifier
from utils.modeling.backbones import Backbone, build_model
from utils.modeling.model import CustomHeadDistilBert
from utils.modeling.tokenizer import load_tokenizer, model_config
from utils.results import Run
from utils.training.progress import minutes_spent
from utils.training.recipe import Recipe

RESULT = "training.json"  # beside the weights that it is of


def fine_tune(
    run: Run, trainer: Trainer, backbone: Backbone, reviews: Reviews, recipe: Recipe, **about
) -> dict:
    """Train, or resume from the last checkpoint, and save the model and the result.

    `about` is what else the result is to say.

    A training with the same fingerprint that is finished is not repeated. Returns the result as
    saved in `results/training.json`. Of several processes only the first one writes. Raises
    InputError where they would not train on the same, or do not share a folder, another start of
    this training is still at it, its last checkpoint is damaged, or the disk is too full to begin.
    """
    folder = Path(trainer.args.output_dir)
    name = f"the training {run.name}/checkpoints/{folder.name}"
    # A second start would remove the checkpoint that the first one is writing.
    with claim(folder, name) if trainer.is_world_process_zero() else nullcontext():
        return _fine_tune(run, trainer, backbone, reviews, recipe, about)


def _fine_tune(
    run: Run, trainer: Trainer, backbone: Backbone, reviews: Reviews, recipe: Recipe, about: dict
) -> dict:
    writes = trainer.is_world_process_zero()
    folder = Path(trainer.args.output_dir)
    key = folder.name
    if len(set(gather_object([key]))) > 1:  # each process asks the Hub for itself
        raise InputError("The processes have taken different reviews or backbones: set SOURCE and "
                         "BACKBONE, which auto decided differently.")  # fmt: skip
    there = sorted(path.name for path in folder.glob("*"))
    if any(seen != there for seen in gather_object([there])):
        raise InputError(f"The processes do not see the same files in {folder}: set ARTIFACTS to a "
                         "folder that their machines share.")  # fmt: skip
    about |= {
        **reviews.provenance,
        "training_sha256": reviews.training_sha256,
        "seed": recipe.seed,
        "backbone": backbone.title,
    }
    if (folder / "model").exists():
        print(f"This training is finished ({run.name}/checkpoints/{key}); delete it to repeat it.")
        result = json.loads((folder / "model" / RESULT).read_text(encoding="utf-8"))
        for epoch in result["validation"]:
            print(
                "epoch {epoch}: validation accuracy {accuracy:.1%}, loss {loss:.3f}".format(**epoch)
            )
        result |= about  # the fingerprint is the same, but the test may now be another
        if writes:
            run.save("training", result)
            remove_checkpoints(folder)  # in case the first process was killed before it did
        return result

    checkpoint = checkpoint_to_resume(trainer)
    if not checkpoint:
        # An interrupted cell that is run again must not go on from half-trained weights.
        trainer.model.load_state_dict(build_model(backbone, recipe.seed).state_dict())
    trainer.optimizer = trainer.lr_scheduler = None
    set_seed(recipe.seed)
    trainer.train(resume_from_checkpoint=checkpoint)
    minutes = minutes_spent(trainer)

    logs = trainer.state.log_history
    used = "bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "fp32"
    epochs = [log for log in logs if "eval_accuracy" in log]
    result = {
        **about,
        "parameters": trainer.model.num_parameters(),
        "fingerprint": key,
        "recipe": asdict(recipe),
        "train_reviews": len(reviews.train) - reviews.softly_labelled,
        "softly_labelled_reviews": reviews.softly_labelled,
        "validation_reviews": len(reviews.validation),
        "tokens_per_epoch": sum(trainer.train_dataset["length"]),
        "minutes": minutes,
        "resumed": bool(checkpoint),
        "processes": processes(),
        "validation": [
            {"epoch": round(e["epoch"]), "accuracy": float(e["eval_accuracy"]),
             "loss": float(e["eval_loss"])} for e in epochs
        ],
        "training_loss": [
            {"epoch": round(log["epoch"], 3), "loss": log["loss"]} for log in logs if "loss" in log
        ],
        "versions": versions() | {"precision": used},
    }  # fmt: skip

    if writes:
        keep_model(trainer, backbone, result)
        run.save("training", result)
        remove_checkpoints(folder)
    trainer.accelerator.wait_for_everyone()
    return result


def checkpoint_to_resume(trainer: Trainer) -> str | None:
    """The last whole checkpoint in the trainer's folder; torn ones are removed.

    Raises InputError where that checkpoint is damaged, or the disk is too full to begin.
    """
    folder = Path(trainer.args.output_dir)
    _require_space(folder, trainer.model)
    for torn in folder.glob("checkpoint-*") if trainer.is_world_process_zero() else ():
        if not (torn / TRAINER_STATE_NAME).exists():  # written last: the save was interrupted
            shutil.rmtree(torn)
    trainer.accelerator.wait_for_everyone()
    checkpoint = get_last_checkpoint(folder) if folder.exists() else None
    if checkpoint:
        _check(Path(checkpoint))
        print(f"Resuming from {Path(checkpoint).name}.")
    return checkpoint


def _check(checkpoint: Path) -> None:
    """Raise InputError that names the file of a checkpoint which is missing or cut short.

    Trainer would fail without naming it, or begin anew where the optimizer's is missing.
    """
    names = {path.name for path in checkpoint.iterdir()}
    for name in sorted(names | {SAFE_WEIGHTS_NAME, OPTIMIZER_NAME, SCHEDULER_NAME}):
        file = checkpoint / name
        try:
            if file.suffix == ".safetensors":
                with safe_open(file, "pt"):  # compares its header with its size
                    pass
            elif file.suffix in (".pt", ".pth", ".bin"):  # torch's, which are zip files
                with ZipFile(file) as packed:
                    damaged = packed.testzip()
                if damaged:
                    raise BadZipFile(f"{damaged} has another checksum")
            elif file.suffix == ".json":
                json.loads(file.read_text(encoding="utf-8"))
        except (OSError, SafetensorError, BadZipFile, ValueError) as error:
            where = "/".join(checkpoint.parts[-4:])  # from the run's folder on
            raise InputError(
                f"The checkpoint to resume from is damaged: {name} is missing or cut short "
                f"({error}). Delete {where} and run again: training goes on from the checkpoint "
                "before it, or starts anew."
            ) from error


def keep_model(trainer: Trainer, backbone: Backbone, result: dict) -> None:
    """Save the model as `model` in the trainer's folder, with its result, which gets its hash."""

    def fill(folder: Path):
        trainer.model.save_pretrained(folder)
        backbone.tokenizer.save_pretrained(folder)
        result["model_sha256"] = sha256(folder / "model.safetensors")
        (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")

    write_folder(Path(trainer.args.output_dir) / "model", fill)


def remove_checkpoints(folder: Path) -> None:
    """Remove what only an unfinished training needs."""
    for old in folder.glob("checkpoint-*"):
        shutil.rmtree(old)


def trained_folder(run: Run, key: str) -> Path:
    """Where the model of a finished training is kept, by its fingerprint."""
    return run.folder / "checkpoints" / key / "model"


def load_trained(run: Run, **expected) -> tuple[Classifier, dict]:
    """The model that notebook 03 trained, ready to predict, and its result.

    Raises InputError that says what to run, where there is none, or where its result does not hold
    the `expected` values, such as `training_sha256` and `seed`.
    """
    if not any(run.folder.glob("checkpoints/*/model")):
        raise InputError(
            f"The weights of {run.name} are not here (only results are committed): run "
            "notebooks/03_fine_tuning.ipynb with these settings first or, of an experiment of the "
            "research, scripts/research.py."
        )
    result = run.load("training", **expected)
    folder = trained_folder(run, result["fingerprint"])
    if not folder.exists():
        raise InputError(f"The weights of {run.name} are of another training than its results: run "
                         "notebooks/03_fine_tuning.ipynb again.")  # fmt: skip
    if sha256(folder / "model.safetensors") != result["model_sha256"]:
        raise InputError(f"{run.name}/checkpoints/{folder.parent.name}/model holds other weights "
                         "than were trained: delete it and train again.")  # fmt: skip
    kind = CustomHeadDistilBert
    if model_config(folder)["model_type"] == "mpnet":
        kind = MPNetForSequenceClassification  # the research's teacher
    model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return Classifier(model, load_tokenizer(folder, model.config.vocab_size)), result


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
