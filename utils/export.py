"""The exported model: a folder that holds all one needs to predict, and its zip."""

import json
import re
import zipfile
from pathlib import Path

from utils import InputError
from utils.hardware import versions
from utils.inference import Classifier
from utils.results import sha256, write, write_folder
from utils.settings import ROOT

INFERENCE_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def export_model(classifier: Classifier, trained: dict, folder: Path) -> Path:
    """Write `folder` and `folder`.zip, each whole or not at all, and return the folder.

    It holds the weights (safetensors, fp32), the configuration with its labels, the tokenizer,
    the pinned packages that inference needs, and a manifest with the SHA-256 of every other file.
    Raises InputError where `folder` holds something else, which would be lost, or where it cannot
    be written.
    """

    folder = folder.resolve()
    exported = (folder / "manifest.json").exists()
    if folder.exists() and not exported and (folder.is_file() or any(folder.iterdir())):
        raise InputError(f"{folder.name} exists and is no exported model: choose another folder.")

    def fill(new: Path):
        classifier.model.save_pretrained(new)
        classifier.tokenizer.save_pretrained(new)
        (new / "requirements.txt").write_text(inference_requirements())
        manifest = {
            "run": {key: trained[key] for key in ("dataset", "backbone", "fingerprint", "recipe")},
            "data": {key: trained[key] for key in ("reviews_sha256", "training_sha256")},
            "versions": versions(),
            "sha256": {file.name: sha256(file) for file in sorted(new.iterdir())},
        }
        (new / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")

    write_folder(folder, fill)

    def fill_zip(temporary: Path):
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, f"{folder.name}/{file.name}")

    write(folder.with_name(f"{folder.name}.zip"), fill_zip)
    return folder


def inference_requirements() -> str:
    """The lines of requirements.txt that predicting needs, without training or notebooks."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = re.compile(rf"({'|'.join(INFERENCE_PACKAGES)})==")
    return "\n".join(line for line in lines if pins.match(line)) + "\n"
