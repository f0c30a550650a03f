"""The settings of a run, read from environment variables in this one place.

`make run SOURCE=my.csv` and the parameters cell of a notebook mean the same; where both are
given the environment wins, so that a command never depends on what a cell was left at.
"""

import os
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path

from utils import InputError

FEWEST_LABELS = 20  # so that validation, a tenth of them, can have both classes


@dataclass(frozen=True)
class Settings:
    """What can be chosen, as documented in docs/data.md."""

    source: str = "auto"
    backbone: str = "auto"
    labels: int = 4000
    seed: int = 42
    test_size: int | str = "auto"
    artifacts: str = "artifacts"
    # Of a file of one's own, where it is not the usual way:
    separator: str = ""  # of a CSV; else a comma
    text_column: str = ""  # else text or review
    label_column: str = ""  # else label or sentiment
    positive: str = ""  # the label of positive reviews; else 1, positive and the like

    @classmethod
    def read(cls, **values) -> "Settings":
        """The given values, overridden by the variables of the same names in capitals.

        Raises InputError where a number is not one, or out of range, and for a separator of more
        than one character, other than `tab`.
        """
        values = {**values, **{f.name: os.environ[f.name.upper()] for f in fields(cls)
                               if os.environ.get(f.name.upper())}}  # fmt: skip
        ranges = {
            "labels": (FEWEST_LABELS, 10**9),
            "seed": (0, 2**32 - 1),
            "test_size": (20, 10**9),
        }
        for name, (least, most) in ranges.items():
            value = values.get(name, getattr(cls, name))
            if name == "test_size" and value == "auto":
                continue
            if not str(value).isdecimal() or not least <= int(value) <= most:
                kind = "'auto' or a whole number" if name == "test_size" else "a whole number"
                raise InputError(f"{name.upper()}={value}: give {kind} from {least} to {most}.")
            values[name] = int(value)
        if "separator" in values:
            values["separator"] = separator_of(values["separator"])
        return cls(**values)

    def resolve(self) -> "Settings":
        """The same settings with `auto` decided for SOURCE and BACKBONE, and the reason printed.

        Takes under 5 seconds without internet; HF_HUB_OFFLINE=1 decides at once.
        """
        if "auto" not in (self.source, self.backbone):
            return self
        from utils.hub import HUB_BACKBONE, HUB_DATASET, hub_problem

        source, backbone, problem = self.source, self.backbone, None
        if source == "auto":
            problem = hub_problem(HUB_DATASET)
            source = "embedded" if problem else "hub"
            print(_decision("SOURCE", source, HUB_DATASET, problem))
        if backbone == "auto":
            if problem is None or problem.kind != "unreachable":  # a silent Hub is asked once
                problem = hub_problem(HUB_BACKBONE)
            backbone = "minilm" if problem else "distilbert"
            print(_decision("BACKBONE", backbone, HUB_BACKBONE, problem))
        return replace(self, source=source, backbone=backbone)


def _decision(name: str, choice: str, repository: str, problem) -> str:
    reason = f"the Hub did not give {repository} ({problem})" if problem else "the Hub gave it"
    return f"{name}=auto takes '{choice}': {reason}."


def set_up(**values) -> Settings:
    """Read and resolve the settings, and print them with versions, device and precision."""
    from transformers.utils.logging import disable_progress_bar

    from utils.hardware import precision, versions

    disable_progress_bar()  # the bars of loading weights: widgets, in a notebook
    settings = Settings.read(**values)
    found = versions()
    kind, why = precision()
    print(", ".join(f"{name} {found[name]}" for name in list(found)[:6]))
    print(f"{found['processor']}: {kind}, since {why}.")
    settings = settings.resolve()
    of_a_file = ("separator", "text_column", "label_column", "positive")
    shown = {f.name.upper(): getattr(settings, f.name) for f in fields(settings)
             if f.name not in of_a_file or getattr(settings, f.name)}  # fmt: skip
    for name in ("SOURCE", "BACKBONE", "ARTIFACTS"):
        shown[name] = Path(shown[name]).name  # never a path of this machine
    print(", ".join(f"{name}={value}" for name, value in shown.items()))
    return settings


def separator_of(value: str) -> str:
    """The separator that a setting or an option names, `tab` among them; else InputError."""
    if value.lower() in ("tab", "\\t"):
        return "\t"
    if len(value) > 1 or value in ('"', "\n", "\r"):
        raise InputError(f"The separator {value!r} is not one character, or 'tab'.")
    return value


def require_packages(extra: str, *names: str) -> None:
    """Raise InputError where modules are missing that an extra of this project installs."""
    if missing := [name for name in names if find_spec(name) is None]:
        raise InputError(f"Not installed: {', '.join(missing)}: "
                         f'pip install -c requirements.txt -e ".[{extra}]".')  # fmt: skip
