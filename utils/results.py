"""The folder of a run, `artifacts/<dataset>-<backbone>/`, and safe writing into it."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from utils import InputError
from utils.settings import ROOT, Settings, resolve_path

# Which notebook makes which result: named when the result is missing.
MADE_BY = {
    "baseline": "02_baseline",
    "training": "03_fine_tuning",
    "predictions": "04_evaluation",
    "evaluation": "04_evaluation",
}


@dataclass(frozen=True)
class Run:
    """One folder of results. A result is a JSON file under `results/`, read by its name."""

    folder: Path

    @classmethod
    def of(cls, settings: Settings, dataset: str) -> "Run":
        """The run of a data set and the chosen backbone.

        A backbone that is given as a path has a hash of it in the name: another folder may be
        called the same.
        """
        backbone = Path(settings.backbone).name
        if backbone != settings.backbone:
            place = resolve_path(settings.backbone).resolve()
            if place.is_relative_to(ROOT):
                place = place.relative_to(ROOT)  # the same in each clone
            backbone += "-" + hashlib.sha256(place.as_posix().encode()).hexdigest()[:6]
        return cls(resolve_path(settings.artifacts) / f"{dataset}-{backbone}")

    @property
    def name(self) -> str:
        """`<dataset>-<backbone>`."""
        return self.folder.name

    def save(self, name: str, result: dict) -> Path:
        """Write one result, whole or not at all."""
        return write_json(self.folder / "results" / f"{name}.json", result)

    def load(self, name: str, **expected) -> dict:
        """Read one result, which must hold the `expected` values (such as the split's hash).

        Raises InputError that names the notebook to run, where it is missing or of other data.
        """
        path = self.folder / "results" / f"{name}.json"
        advice = f"Run notebooks/{MADE_BY.get(name, name)}.ipynb with these settings first."
        if not path.exists():
            raise InputError(f"{self.name}/results/{name}.json is missing. {advice}")
        result = json.loads(path.read_text(encoding="utf-8"))
        for key, value in expected.items():
            if result.get(key) != value:
                raise InputError(
                    f"{self.name}/results/{name}.json was made with another {key} "
                    f"({str(result.get(key))[:12]}, now {str(value)[:12]}). {advice}"
                )
        return result

    def find(self, name: str, **expected) -> dict | None:
        """The same, but None where it is missing or was made with other values."""
        try:
            return self.load(name, **expected)
        except InputError:
            return None


def write_json(path: Path, result: dict) -> Path:
    """Write a result as a JSON file, whole or not at all."""
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    return write(path, lambda file: file.write_text(text, encoding="utf-8"))


def write(path: Path, fill: Callable[[Path], object]) -> Path:
    """Let `fill` write a file under a temporary name, then rename it; keep the old one on error.

    Raises InputError where the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _clear_error(path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            fill(temporary)
            temporary.replace(path)
    finally:
        with suppress(OSError):  # the folder itself may be impossible
            temporary.unlink(missing_ok=True)
    return path


def write_folder(folder: Path, fill: Callable[[Path], object]) -> Path:
    """The same for a whole folder: `fill` gets an empty one that takes the place of `folder`.

    Raises InputError as `write` does.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    try:
        with _clear_error(f"{folder.name}/"):
            temporary.mkdir(parents=True)
            fill(temporary)
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        elif old.exists():
            old.rename(folder)
    return folder


@contextmanager
def _clear_error(name: str) -> Iterator[None]:
    """Turns what a full or read-only disk raises into an InputError that names the file."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{name} could not be written: {getattr(error, 'strerror', None) or error}. "
            "Free some space or choose another folder (of runs: ARTIFACTS), then run again."
        ) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
