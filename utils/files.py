"""Files and folders, written whole or not at all; JSON without surprises; hashes."""

import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout, UnixFileLock
from safetensors import SafetensorError

from utils import InputError


def each_once(pairs: list[tuple[str, object]]) -> dict:
    """An object of which no key is given twice: the last would silently win."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def write_json(path: Path, result: dict) -> Path:
    """Write a result as a JSON file, whole or not at all.

    Raises InputError as `write` does, and where a number is NaN or infinite: JSON has neither.
    """
    try:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise InputError(
            f"{path.name} was not written: it would hold {_not_finite(result)}, which is no number "
            "in JSON."
        ) from error
    return write(path, lambda file: file.write_text(text, encoding="utf-8"))


def _not_finite(value, place: str = "") -> str | None:
    """The first NaN or infinity in a result, with its place there."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} as {place}"
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return None
    found = (_not_finite(v, f"{place}.{key}" if place else str(key)) for key, v in value.items())
    return next(filter(None, found), None)


def write(path: Path, fill: Callable[[Path], object]) -> Path:
    """Let `fill` write a file under a temporary name, then rename it; keep the old one on error.

    Raises InputError where the disk is full, the folder cannot be written, or another process is
    writing the same file.
    """
    with _clear_error(path.name), claim(path):
        _clean(path)
        temporary = _unused(path, "part")
        try:
            temporary.touch(exist_ok=False)
            fill(temporary)
            _sync(temporary)
            temporary.replace(path)
        finally:
            _clean(path)
    return path


def write_folder(folder: Path, fill: Callable[[Path], object]) -> Path:
    """The same for a whole folder: `fill` gets an empty one that takes the place of `folder`.

    Raises InputError as `write` does.
    """
    with _clear_error(f"{folder.name}/"), claim(folder):
        _clean(folder)
        temporary = _unused(folder, "part")
        try:
            temporary.mkdir()
            fill(temporary)
            for file in temporary.rglob("*"):
                if file.is_file():
                    _sync(file)
            if folder.exists():
                folder.rename(_unused(folder, "old"))
            temporary.rename(folder)
        finally:
            _clean(folder)
    return folder


def restore_folder(folder: Path) -> None:
    """Bring back a folder whose writer was killed between taking the old one away and the new one.

    The next `write_folder` does so itself; this is for whoever reads first. Raises InputError as
    `write` does.
    """
    if not folder.exists() and folder.parent.is_dir() and _left(folder, "old"):
        with _clear_error(f"{folder.name}/"), claim(folder):
            _clean(folder)


@contextmanager
def claim(path: Path, name: str = "", wait: float = 0.0) -> Iterator[None]:
    """Keep other processes from writing a file or folder, by a hidden lock file beside it.

    A process may claim a path again that it holds. The system frees the lock of one that is killed.
    Raises InputError where another holds it for more than `wait` seconds, which calls the path
    `name`, or where the folder around it cannot be written.
    """
    with _clear_error(path.name):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), is_singleton=True)
        try:
            lock.acquire(timeout=wait)
        except Timeout as error:
            raise InputError(f"Not now: another process is writing {name or path.name}. Wait until "
                             "it is done, or stop it, then run again.") from error  # fmt: skip
    try:
        yield
    finally:
        if lock.lock_counter == 1 and isinstance(lock, UnixFileLock):
            # filelock leaves it there. While we hold it nobody else does, and who has opened it
            # and waits sees that it is gone.
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _unused(path: Path, kind: str) -> Path:
    """A hidden name beside `path` that no other process takes, wherever it runs."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.{kind}")


def _left(path: Path, kind: str) -> list[Path]:
    """What stands beside `path` under names of `_unused`; no glob, since a name may hold * or [."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]+\.{kind}")
    return [found for found in path.parent.iterdir() if name.fullmatch(found.name)]


def _clean(path: Path) -> None:
    """Remove what writers of `path` have left, and put the old one back where it is missing.

    Only for who has the claim: then whoever began them is done, or was killed.
    """
    old = _left(path, "old")
    if not path.exists() and len(old) == 1:
        old.pop().rename(path)
    for left in _left(path, "part") + (old if path.exists() else []):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _sync(file: Path) -> None:
    """Have the disk hold a file's content before its name does, should the power fail."""
    with file.open("rb" if os.name == "posix" else "r+b") as opened:
        os.fsync(opened.fileno())


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


@contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Have what asks for over `more` bytes beyond those in use raise MemoryError, meanwhile.

    For files of strangers. It is of the whole process, and only on Linux.
    """
    status = Path("/proc/self/status")
    said = status.read_text(encoding="utf-8") if status.exists() else ""
    held = re.search(r"VmData:\s+(\d+) kB", said)
    if held is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = [n for n in (soft, hard, 1024 * int(held[1]) + more) if n != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
