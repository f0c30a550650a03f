"""The exported model: a folder in transformers' own layout that needs none of our code."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import DistilBertForSequenceClassification, PreTrainedTokenizerBase

from utils import InputError
from utils.evaluation.calibration import temperature_of
from utils.export.card import model_card
from utils.files import write, write_folder
from utils.hardware import versions
from utils.inference.classifier import Classifier
from utils.manifest import NAME as MANIFEST
from utils.manifest import check_replaceable, write_manifest
from utils.modeling.model import fold_head
from utils.paths import RELEASED, ROOT
from utils.results import Run

INFERENCE_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def export_model(
    run: Run,
    classifier: Classifier,
    trained: dict,
    folder: Path,
    add: Callable[[Path], object] | None = None,
) -> Path:
    """Write a run's model as `folder` and `folder`.zip, each whole or not at all.

    Its head is folded into the stock class; the weights are fp32 safetensors. `add` may write more
    into the folder before it is packed. Returns the folder. Raises InputError where `folder` holds
    something else, which would be lost, or where it cannot be written.
    """
    folder = folder.resolve()
    packed = folder.with_name(f"{folder.name}.zip")
    if packed.exists() and not _is_export(packed, folder.name):
        raise InputError(f"{packed.name} exists and is not this export's: move it, or choose "
                         "another folder.")  # fmt: skip
    stock = fold_head(classifier.model, temperature_of(run, trained))
    card = model_card(run, trained, folder.name, half=False)
    folder = write_model(stock, classifier.tokenizer, card, _about(trained), folder)
    if add:
        add(folder)

    def fill(temporary: Path):
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.write(file, Path(folder.name) / file.relative_to(folder))

    write(packed, fill)
    return folder


def _is_export(packed: Path, name: str) -> bool:
    """Whether a file is a zip that an export of this name has left."""
    if not zipfile.is_zipfile(packed):
        return False
    with zipfile.ZipFile(packed) as archive:
        return f"{name}/{MANIFEST}" in archive.namelist()


def release_model(run: Run, classifier: Classifier, trained: dict, folder: Path = RELEASED) -> Path:
    """Write a run's model as the one that comes with the repository: half the size, no zip.

    Weights are stored in fp16, and the configuration says to compute in fp32. Raises InputError
    as `export_model` does.
    """
    stock = fold_head(classifier.model, temperature_of(run, trained)).half()
    card = model_card(run, trained, "artifacts/model", half=True)
    return write_model(stock, classifier.tokenizer, card, _about(trained), folder)


def write_model(
    stock: DistilBertForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    card: str,
    about: dict,
    folder: Path,
) -> Path:
    """Write weights, configuration, tokenizer, model card, requirements and manifest as a folder.

    Raises InputError as `export_model` does.
    """
    folder = folder.resolve()
    check_replaceable(folder)
    for left_over in ("is_local", "local_files_only"):  # how we loaded it is nobody's concern
        tokenizer.init_kwargs.pop(left_over, None)
    tokenizer.backend_tokenizer.no_truncation()  # nor how it was last called
    tokenizer.backend_tokenizer.no_padding()

    def fill(new: Path):
        stock.save_pretrained(new)
        stock.config.dtype = torch.float32  # what to compute in, however the weights are stored
        stock.config.architectures = [type(stock).__name__]
        stock.config.save_pretrained(new)
        tokenizer.save_pretrained(new)
        (new / "README.md").write_text(card, encoding="utf-8")
        (new / "requirements.txt").write_text(inference_requirements(), encoding="utf-8")
        for file in new.iterdir():
            file.chmod(0o644)  # safetensors are written for their owner alone
        write_manifest(new, about)

    return write_folder(folder, fill)


def _about(trained: dict) -> dict:
    """What the manifest says of a run's model beside its hashes."""
    return {
        "run": {key: trained[key] for key in ("dataset", "backbone", "fingerprint", "recipe")},
        "data": {key: trained[key] for key in ("reviews_sha256", "training_sha256")},
        "versions": versions(),
    }


def inference_requirements() -> str:
    """The lines of requirements.txt that predicting needs, without training or notebooks."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = re.compile(rf"({'|'.join(INFERENCE_PACKAGES)})==")
    return "\n".join(line for line in lines if pins.match(line)) + "\n"
