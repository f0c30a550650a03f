"""On Colab: install what is missing, and nothing over Colab's own torch, numpy or pandas."""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement

from utils.paths import ROOT

COLABS_OWN = ("torch", "numpy", "pandas")
NOT_FOR_NOTEBOOKS = (
    *("jupyterlab", "nbclient", "nbconvert", "pytest", "ruff"),
    *("onnx", "onnxscript", "onnxruntime"),
)


def missing() -> list[str]:
    """The requirements of the notebooks that are absent, or installed in an unfit version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = []
    for requirement in map(Requirement, project["dependencies"]):
        if requirement.name in (*COLABS_OWN, *NOT_FOR_NOTEBOOKS):
            continue
        if not requirement.specifier.contains(_version(requirement.name) or "0"):
            found.append(str(requirement))
    return found


def install_missing() -> None:
    """Install them with Colab's own packages held at their versions, then the embedded default."""
    held = [f"{name}=={_version(name)}" for name in COLABS_OWN if _version(name)]
    wanted = missing()
    if wanted:
        print("Installing", ", ".join(wanted))
        _pip(*wanted, *held)
    _pip("--no-deps", "-r", str(ROOT / "requirements-embedded.txt"))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *arguments], check=True)
