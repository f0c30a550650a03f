"""The manifest of an exported folder: each file's SHA-256, checked before the folder is used."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from utils import InputError
from utils.files import restore_folder, sha256

NAME = "manifest.json"
KNOWN = {
    *("config.json", "model.safetensors", "model.onnx", "model_int8.onnx"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"),
    *("openvino/openvino_model.xml", "openvino/openvino_model.bin"),
    *("README.md", "requirements.txt"),
}
PROSE = {"README.md", "requirements.txt"}  # of which no prediction depends
MOST_BYTES = 1_000_000  # of a manifest
LEFT_BY_OTHERS = {".DS_Store", ".ipynb_checkpoints"}
AGAIN = "download the folder again, or export it again"


def write_manifest(folder: Path, about: dict) -> None:
    """Write what the folder is about, and the SHA-256 of each file in it."""
    manifest = {**about, "sha256": {name: sha256(folder / name) for name in _files(folder)}}
    (folder / NAME).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def check_manifest(folder: Path) -> dict:
    """The manifest of a folder that holds just what it lists, byte for byte.

    It tells a damaged or mixed-up folder, not who made it. Raises InputError that names the file
    which is missing, changed, not listed or not of an export; hidden files, such as git's, do not
    count.
    """
    manifest = _read(folder)
    for name, expected in manifest["sha256"].items():
        _check(folder / name, folder / name, expected)
    return manifest


@contextmanager
def checked_copy(folder: Path) -> Iterator[tuple[Path, dict]]:
    """A copy of such a folder's files, checked as above, and its manifest.

    So what is loaded is what was checked, whoever changes the folder meanwhile.
    """
    manifest = _read(folder)
    with TemporaryDirectory() as copy:
        for name, expected in manifest["sha256"].items():
            target = Path(copy, name)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, target)
            except OSError as error:
                raise InputError(
                    f"{folder / name} cannot be copied to {copy} ({error.strerror}): make room "
                    "there, or set TMPDIR to another folder."
                ) from error
            _check(target, folder / name, expected)
        yield Path(copy), manifest


def _check(file: Path, shown: Path, expected: str) -> None:
    if is_pointer(file):
        raise InputError(f"{shown} is a Git LFS pointer, no weights: `git lfs pull`.")
    if sha256(file) != expected:
        raise InputError(f"{shown} is not the file that {NAME} lists: {AGAIN}.")


def _read(folder: Path) -> dict:
    """The manifest of a folder whose files' names are those that it lists."""
    restore_folder(folder)
    path = folder / NAME
    if not path.exists() and (folder / "config.json").exists():
        raise InputError(
            f"{folder} is a checkpoint, and no exported model: convert it with "
            f"`python scripts/convert-legacy.py {folder} --output NEW_FOLDER`."
        )
    if not path.exists():
        raise InputError(
            f"{folder} holds no exported model: run notebook 05, or scripts/model-export.py."
        )
    try:
        manifest = _load(path)
    except ValueError as error:
        raise InputError(f"{path} is damaged: {AGAIN}.") from error
    listed, found = manifest["sha256"], _files(folder)
    for name in sorted(set(listed) | set(found)):
        if name not in found:
            raise InputError(f"{folder / name} is missing: {AGAIN}.")
        if name not in listed:
            raise InputError(f"{folder / name} is not listed in {NAME}: remove it.")
        if name not in KNOWN:
            raise InputError(f"{folder / name} is no file of an exported model: {AGAIN}.")
    return manifest


def _load(path: Path) -> dict:
    """A manifest that holds a table of SHA-256.

    Raises ValueError where it does not, is over MOST_BYTES or is no regular file: a link to a
    device might never end. Links to files are fine, the Hub's cache has them.
    """
    if not path.is_file():
        raise ValueError("no regular file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError("too large")
    try:
        manifest = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("sha256"), dict):
        raise ValueError("no table of SHA-256")
    return manifest


def model_sha256(folder: Path, manifest: dict) -> str:
    """A SHA-256 of all files in a manifest by which a model predicts: weights, config, tokenizer.

    Raises InputError where it lists no torch weights.
    """
    require_weights(folder, manifest)
    table = {name: found for name, found in manifest["sha256"].items() if name not in PROSE}
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def require_weights(folder: Path, manifest: dict) -> None:
    """Raise InputError where a manifest lists no torch weights."""
    if "model.safetensors" not in manifest["sha256"]:
        raise InputError(f"{folder} holds no torch weights: give the folder that make export "
                         "writes, not its ONNX copy.")  # fmt: skip


def check_replaceable(folder: Path) -> None:
    """Raise InputError where writing an export as `folder` would delete anything else.

    It may be absent, empty, or an earlier export in which nobody stands, and without hidden files
    other than those that file managers and Jupyter leave.
    """
    if Path.cwd().is_relative_to(folder.resolve()):
        raise InputError(f"{folder} is the folder you are in, or above it: name one to be made.")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        listed = _load(folder / NAME)["sha256"]
        exported = "config.json" in listed
    except (OSError, ValueError):
        exported = False
    if not exported:
        raise InputError(f"{folder.name} exists and is no exported model: choose another folder.")
    lost = set(_files(folder)) - set(listed)
    hidden = {path.relative_to(folder) for path in folder.rglob(".*")}
    lost |= {path.as_posix() for path in hidden if LEFT_BY_OTHERS.isdisjoint(path.parts)}
    if lost:
        raise InputError(
            f"{folder.name} also holds {min(lost)}, which would be lost: choose another folder."
        )


def is_pointer(path: Path) -> bool:
    """Whether a file is the small text that Git LFS leaves where the real one was not fetched."""
    with path.open("rb") as file:
        return file.read(40).startswith(b"version https://git-lfs")


def _files(folder: Path) -> list[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    visible = (p for p in files if not any(part.startswith(".") for part in p.parts))
    return sorted(p.as_posix() for p in visible if p.as_posix() != NAME)
