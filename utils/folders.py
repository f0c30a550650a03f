"""A folder of files of reviews, labelled: each file whole and once, on one engine or another."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from utils import InputError
from utils.inference import Classifier
from utils.manifest import weights_sha256
from utils.packaged import require_packages
from utils.results import sha256, write_json
from utils.scoring import label_file
from utils.settings import ROOT
from utils.tables import READERS

MODEL = "labelled-by.json"  # in the output folder: what its labels are by, and of


@dataclass(frozen=True)
class Labelled:
    """What became of one file; `problem` says why it has no output.

    One that was labelled `before`, by an earlier run, has no rows in this one.
    """

    file: str
    rows: int = 0
    unlabelled: int = 0
    problem: str | None = None
    before: bool = False


Engine = Callable[[Path, list[tuple[Path, Path]], str | None], Iterable[Labelled]]


def label_folder(
    model: Path, source: Path, target: Path, text_column: str | None, engine: Engine
) -> Iterator[Labelled]:
    """Label each file of reviews in `source` that has no output in `target` yet, and say how.

    Outputs have the files' names. Each is written whole or not at all, so a run that was killed
    goes on with what is missing. Raises InputError where there is nothing to read, or where
    `target` holds labels by another model, of another column, or of another file of one's name.
    """
    if not source.is_dir():
        raise InputError(f"{source} is no folder.")
    if target.resolve() == source.resolve():
        raise InputError("The output would take the place of the input: give another folder.")
    files = sorted(path for path in source.iterdir() if _is_of_reviews(path))
    if not files:
        raise InputError(f"{source} holds no {', '.join(READERS)} file.")
    weights = weights_sha256(model)
    _claim(target, {"model_sha256": weights, "text_column": text_column}, files)
    pairs = [(path, target / path.name) for path in files]
    missing = [pair for pair in pairs if not pair[1].exists()]
    done = {path.name for path in files} - {path.name for path, _ in missing}
    yield from (Labelled(name, before=True) for name in sorted(done))
    yield from engine(model, missing, text_column)


def _is_of_reviews(path: Path) -> bool:
    """Whether it is a file to be labelled; hidden ones are not, such as those macOS leaves."""
    hidden = path.name.startswith(".")
    return path.suffix.lower() in READERS and not hidden and not path.is_dir()


def _claim(target: Path, about: dict, files: list[Path]) -> None:
    """Write down whose labels `target` holds, and of which files; or check that it is the same."""
    path = target / MODEL
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file: for a folder of files give a folder.")
    inputs, known = {file.name: _sha256_if_readable(file) for file in files}, {}
    if path.exists():
        saved = {"text_column": None} | json.loads(path.read_text())
        known = saved.pop("inputs", inputs)
        if saved != about:
            raise InputError(f"{target} holds labels by another model, or of another column: give "
                             "another folder.")  # fmt: skip
        for name, found in inputs.items():
            if known.get(name) != found and (target / name).exists():
                raise InputError(f"{target / name} holds the labels of another file: delete it to "
                                 "label this one, or give another folder.")  # fmt: skip
    elif target.exists() and any(file.suffix.lower() in READERS for file in target.iterdir()):
        raise InputError(f"{target} holds files already, of which nothing is known: give another "
                         "folder.")  # fmt: skip
    if known != known | inputs:
        write_json(path, about | {"inputs": known | inputs})


def _sha256_if_readable(file: Path) -> str | None:
    try:
        return sha256(file)
    except OSError:
        return None  # labelling it will say why


class FileLabeller:
    """The model, loaded once, for any number of files."""

    def __init__(self, model: Path, text_column: str | None):
        self.classifier, self.text_column = Classifier.from_folder(model), text_column

    def label(self, source: Path, target: Path) -> Labelled:
        """Label one file; one that cannot be read has a problem, and keeps no other waiting."""
        try:
            rows, unlabelled = label_file(self.classifier, source, target, self.text_column)
        except InputError as error:
            return Labelled(source.name, problem=str(error))
        return Labelled(source.name, rows, unlabelled)


def local(
    model: Path, pairs: list[tuple[Path, Path]], text_column: str | None
) -> Iterator[Labelled]:
    """One file after another, in this process."""
    labeller = FileLabeller(model, text_column) if pairs else None
    for source, target in pairs:
        yield labeller.label(source, target)


def on_ray(
    model: Path,
    pairs: list[tuple[Path, Path]],
    text_column: str | None,
    actors: int | None = None,
) -> Iterator[Labelled]:
    """Files spread over actors of Ray Data, each of which loads the model once.

    There is one for each processor that Ray has, unless their number is given. Raises InputError
    where Ray is not installed.
    """
    require_packages("requirements-ray.txt", "ray")
    import ray

    class Actor:
        def __init__(self):
            self.labeller = FileLabeller(model, text_column)

        def __call__(self, batch: dict) -> dict:
            found = [
                self.labeller.label(Path(source), Path(target))
                for source, target in zip(batch["source"], batch["target"], strict=True)
            ]
            return {name: [getattr(one, name) for one in found]
                    for name in Labelled.__dataclass_fields__}  # fmt: skip

    if not pairs:
        return
    # Actors work in folders of their own.
    model = model.resolve()
    items = [{"source": str(source.resolve()), "target": str(target.resolve())}
             for source, target in pairs]  # fmt: skip
    start_ray()
    actors = actors or max(1, min(len(items), int(ray.cluster_resources().get("CPU", 1))))
    rows = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Actor, batch_size=1, compute=ray.data.ActorPoolStrategy(size=actors), num_cpus=1
    )
    for row in rows.iter_rows():
        yield Labelled(**row)


def start_ray() -> None:
    """Start Ray on this machine, with this project where its workers look for modules."""
    import ray

    paths = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    ray.init(ignore_reinit_error=True, include_dashboard=False, runtime_env=paths)


ENGINES = {"local": local, "ray": on_ray}
