"""Where things lie in the repository; importing it imports nothing heavy."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARTIFACTS = ROOT / "artifacts"
RELEASED = ARTIFACTS / "model"  # the exported model that comes with the repository
BENCHMARK = ARTIFACTS / "benchmark"
RESEARCH = ARTIFACTS / "research"


def resolve_path(value: str) -> Path:
    """A path from a setting: relative ones are taken from the root of the repository."""
    path = Path(value).expanduser()
    return path if path.is_absolute() else ROOT / path
