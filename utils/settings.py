"""The settings of a run, read from environment variables in this one place.

`make run SOURCE=my.csv` and the parameters cell of a notebook mean the same; where both are
given the environment wins, so that a command never depends on what a cell was left at.
"""

import os
import platform
import threading
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path

import torch
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from transformers.utils.logging import disable_progress_bar

ROOT = Path(__file__).resolve().parent.parent
HUB_DATASET = "stanfordnlp/imdb"
HUB_BACKBONE = "distilbert-base-uncased"
HUB_PATIENCE = 4.0  # seconds; without internet a name look-up can hang for much longer


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, and what to do."""


@dataclass(frozen=True)
class Settings:
    """What can be chosen, as documented in the README."""

    source: str = "auto"
    backbone: str = "auto"
    labels: int = 4000
    seed: int = 42
    test_size: int | str = "auto"
    artifacts: str = "artifacts"

    @classmethod
    def read(cls, **values) -> "Settings":
        """The given values, overridden by SOURCE, BACKBONE, LABELS, SEED, TEST_SIZE, ARTIFACTS.

        Raises InputError where a number is not one, or out of range.
        """
        values = {**values, **{f.name: os.environ[f.name.upper()] for f in fields(cls)
                               if os.environ.get(f.name.upper())}}  # fmt: skip
        for name, least in (("labels", 20), ("seed", 0), ("test_size", 20)):
            value = values.get(name, "auto")
            if value == "auto" and name in ("test_size", *(set(cls.__annotations__) - set(values))):
                continue
            if not str(value).isdecimal() or int(value) < least:
                kind = "'auto' or a whole number" if name == "test_size" else "a whole number"
                raise InputError(f"{name.upper()}={value}: give {kind} of at least {least}.")
            values[name] = int(value)
        return cls(**values)

    def resolve(self) -> "Settings":
        """The same settings with `auto` decided for SOURCE and BACKBONE, and the reason printed.

        Takes under 5 seconds without internet; HF_HUB_OFFLINE=1 decides at once.
        """
        if "auto" not in (self.source, self.backbone):
            return self
        source, backbone = self.source, self.backbone
        if source == "auto":
            problem = hub_problem(HUB_DATASET, "README.md", "dataset")
            source = "embedded" if problem else "hub"
            print(_decision("SOURCE", source, HUB_DATASET, problem))
        if backbone == "auto":
            problem = hub_problem(HUB_BACKBONE, "config.json", "model")
            backbone = "minilm" if problem else "distilbert"
            print(_decision("BACKBONE", backbone, HUB_BACKBONE, problem))
        return replace(self, source=source, backbone=backbone)


def _decision(name: str, choice: str, repository: str, problem: str | None) -> str:
    reason = f"the Hub did not give {repository} ({problem})" if problem else "the Hub answers"
    return f"{name}=auto takes '{choice}': {reason}."


def hub_problem(repository: str, filename: str, repo_type: str) -> str | None:
    """Why the Hub cannot give this file now, in a few words; None where it can."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    answer = ["no answer within 4 seconds"]

    def ask():
        try:
            url = hf_hub_url(repository, filename, repo_type=repo_type)
            get_hf_file_metadata(url, timeout=HUB_PATIENCE - 1)
            answer[0] = None
        except Exception as error:  # whatever it is, it only decides and is reported
            status = getattr(getattr(error, "response", None), "status_code", None)
            answer[0] = f"HTTP {status}" if status else f"no connection: {type(error).__name__}"

    # A daemon thread, since a hanging name look-up cannot be given a time limit.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_PATIENCE)
    return answer[0]


def device() -> torch.device:
    """The accelerator that torch finds, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def precision() -> tuple[str, str]:
    """("bf16" or "fp32", the reason): bf16 only where the processor multiplies it natively."""
    kind = device().type
    if kind == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the GPU multiplies bf16 natively"
        return "fp32", "the GPU has no native bf16"
    if kind == "mps":
        return "fp32", "on Apple GPUs"
    if torch.cpu._is_amx_tile_supported():
        return "bf16", "the CPU has AMX"
    if torch.cpu._is_avx512_bf16_supported():
        return "bf16", "the CPU has AVX512-BF16"
    return "fp32", "the CPU has no bf16 instructions, and emulating them is slower"


def versions() -> dict[str, str]:
    """Versions that a result depends on, with the processor they ran on."""
    names = ("torch", "transformers", "datasets", "scikit-learn", "numpy")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "processor": processor(),
        "precision": precision()[0],
    }


def processor() -> str:
    """The accelerator's or the CPU's name and the number of cores used."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    extension = torch.backends.cpu.get_cpu_capability()
    return f"{name} ({torch.get_num_threads()} threads, {extension})"


def set_up(**values) -> Settings:
    """Read and resolve the settings, and print them with versions, device and precision."""
    disable_progress_bar()  # the bars of loading weights: widgets, in a notebook
    settings = Settings.read(**values)
    found = versions()
    kind, why = precision()
    print(", ".join(f"{name} {found[name]}" for name in list(found)[:6]))
    print(f"{found['processor']}: {kind}, since {why}.")
    settings = settings.resolve()
    shown = {f.name.upper(): getattr(settings, f.name) for f in fields(settings)}
    for name in ("SOURCE", "BACKBONE", "ARTIFACTS"):
        shown[name] = Path(shown[name]).name  # never a path of this machine
    print(", ".join(f"{name}={value}" for name, value in shown.items()))
    return settings


def resolve_path(value: str) -> Path:
    """A path from a setting: relative ones are taken from the root of the repository."""
    path = Path(value).expanduser()
    return path if path.is_absolute() else ROOT / path
