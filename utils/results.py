"""The folder of a run, `artifacts/<dataset>-<backbone>/`, and its results."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from utils import InputError
from utils.files import write_json
from utils.paths import ROOT, resolve_path
from utils.settings import Settings


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


# Which notebook makes which result: named when the result is missing.
MADE_BY = {
    "baseline": "02_baseline",
    "training": "03_fine_tuning",
    "predictions": "04_evaluation",
    "evaluation": "04_evaluation",
}
