"""A folder of files of reviews, labelled: each file whole and once, on one engine or another."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from utils import InputError
from utils.files import claim, sha256, write_json
from utils.inference.classifier import Classifier
from utils.inference.files import USUAL, Layout, label_file
from utils.manifest import check_manifest, model_sha256
from utils.settings import require_packages
from utils.tables import FORMATS, table_format

RECORD_SECONDS = 10.0  # to wait for another process that records a file, too
MODEL = "labelled-by.json"  # in the output folder: what its labels are by, and of


@dataclass(frozen=True)
class Labelled:
    """What became of one file; `problem` says why it has no output.

    One that was labelled `before`, by an earlier run, has no rows in this one; `left_out` says why
    one is none to be labelled.
    """

    file: str
    rows: int = 0
    unlabelled: int = 0
    problem: str | None = None
    before: bool = False
    left_out: str | None = None
    runtime: str | None = None  # that predicted


@dataclass(frozen=True)
class Work:
    """Files of one folder to be labelled by a model, into another folder."""

    model: Path
    source: Path
    target: Path
    layout: Layout = USUAL
    runtime: str = "auto"  # of runtimes.NAMES


Engine = Callable[[Work, list[str]], Iterable[Labelled]]


def label_folder(work: Work, engine: Engine) -> Iterator[Labelled]:
    """Label each file of reviews in the source that has no output in the target yet, and say how.

    Outputs have the files' names, and lie in subfolders as they do. Each is written whole or not at
    all, so a run that was killed goes on with what is missing. What is of another format is named.
    Raises InputError where there is nothing to read, or where the target holds labels by another
    model, of another layout, or of another file of one's name.
    """
    source, target = work.source, work.target
    if not source.is_dir():
        raise InputError(f"{source} is no folder.")
    if target.resolve() == source.resolve():
        raise InputError("The output would take the place of the input: give another folder.")
    found = sorted(_visible_files(source, target.resolve()))
    names = [path.relative_to(source).as_posix() for path in found
             if table_format(path) and path != source / MODEL]  # fmt: skip
    if not names:
        raise InputError(f"{source} holds no file of {FORMATS}.")
    done = _claim(work, names)
    for path in found:
        if not table_format(path) or path == source / MODEL:
            why = "it is a link to a folder" if path.is_dir() else "its extension is not read"
            why = "it has the name of this program's own record" if table_format(path) else why
            yield Labelled(path.relative_to(source).as_posix(), left_out=why)
    yield from (Labelled(name, before=True) for name in names if name in done)
    for labelled in engine(work, [name for name in names if name not in done]):
        if labelled.problem is None:
            _record(work, labelled)
        yield labelled


def _visible_files(source: Path, target: Path) -> Iterator[Path]:
    """The files in a folder and those below it, but not in `target`.

    Hidden ones are left out, such as those that macOS leaves. Links to folders are not followed.
    """

    def stop(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from error

    for folder, inner, files in os.walk(source, onerror=stop):
        links = [name for name in inner if (Path(folder) / name).is_symlink()]
        inner[:] = [name for name in inner if name not in links and not name.startswith(".")
                    and (Path(folder) / name).resolve() != target]  # fmt: skip
        yield from (Path(folder) / name for name in [*files, *links] if not name.startswith("."))


def _claim(work: Work, names: list[str]) -> set[str]:
    """Write down whose labels the target holds, of which files; or check that it is the same.

    Returns the names of the files whose outputs are there.
    """
    about = {
        "model_sha256": model_sha256(work.model, check_manifest(work.model)),
        **asdict(work.layout),
    }
    target, path = work.target, work.target / MODEL
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file: for a folder of files give a folder.")
    with claim(path, wait=RECORD_SECONDS):  # or two models could each find it free
        return _checked_claim(work, names, about)


def _checked_claim(work: Work, names: list[str], about: dict) -> set[str]:
    target, path = work.target, work.target / MODEL
    inputs = {_shown(name): _sha256_if_readable(work.source / name) for name in names}
    done = {_shown(name): target / name for name in names if (target / name).exists()}
    known, outputs = {}, {}
    if path.exists():
        saved = asdict(USUAL) | _saved(path)
        known, outputs = saved.pop("inputs", inputs), saved.pop("outputs", {})
        if saved != about:
            raise InputError(f"{target} holds labels by another model, or of another column, "
                             "or with other options: give another folder.")  # fmt: skip
        for name, found in inputs.items():
            if found is None:  # labelling it will say why
                done.pop(name, None)
            elif known.get(name) != found and name in done:
                raise InputError(f"{target / name} holds the labels of another file: delete it to "
                                 "label this one, or give another folder.")  # fmt: skip
        for name in [name for name in done if outputs.get(name, {}).get("rows") == 0]:
            del done[name]  # there was nothing in it: say so again
        for name in done.keys() & outputs.keys():
            size, written = done[name].stat().st_size, outputs[name]["bytes"]
            if size != written:
                raise InputError(f"{target / name} has {size:,} bytes, and {written:,} were "
                                 "written: delete it to label that file again.")  # fmt: skip
    elif any(table_format(file) for file in target.rglob("*") if not file.is_dir()):
        raise InputError(f"{target} holds files already, of which nothing is known: give another "
                         "folder.")  # fmt: skip
    if known != known | inputs or not path.exists():
        write_json(path, about | {"inputs": known | inputs, "outputs": outputs})
    return {name for name in names if _shown(name) in done}


def _saved(path: Path) -> dict:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        saved = None
    if not isinstance(saved, dict):
        raise InputError(f"{path} is damaged: give another folder for the outputs.")
    return saved


def _record(work: Work, labelled: Labelled) -> None:
    """Write down how many rows and bytes a file's output has, by which the next run knows it."""
    path = work.target / MODEL
    with claim(path, wait=RECORD_SECONDS):
        saved = _saved(path)
        saved.setdefault("outputs", {})[_shown(labelled.file)] = {
            "rows": labelled.rows,
            "unlabelled": labelled.unlabelled,
            "runtime": labelled.runtime,
            "bytes": (work.target / labelled.file).stat().st_size,
        }
        write_json(path, saved)


def _shown(name: str) -> str:
    """A file's name as JSON can hold it, also where it is not UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def _sha256_if_readable(file: Path) -> str | None:
    try:
        return sha256(file) if file.is_file() else None
    except OSError:
        return None  # labelling it will say why


class FileLabeller:
    """The model, loaded once, for any number of files."""

    def __init__(self, work: Work):
        self.work, self.classifier = work, Classifier.from_folder(work.model, work.runtime)
        record = work.target / MODEL
        expected = _saved(record)["model_sha256"] if record.exists() else None
        if expected not in (None, model_sha256(work.model, self.classifier.manifest)):
            raise InputError(f"{work.model} was exported anew meanwhile: start again.")

    def label(self, name: str) -> Labelled:
        """Label one file; one that cannot be read has a problem, and keeps no other waiting."""
        source, target = self.work.source / name, self.work.target / name
        try:
            rows, unlabelled = label_file(self.classifier, source, target, self.work.layout)
        except InputError as error:
            return Labelled(name, problem=str(error))
        except Exception as error:  # whatever is in one file, the next one is labelled
            return Labelled(name, problem=f"{type(error).__name__}: {str(error)[:200]}")
        return Labelled(name, rows, unlabelled, runtime=self.classifier.runtime.name)


def local(work: Work, names: list[str]) -> Iterator[Labelled]:
    """One file after another, in this process."""
    labeller = FileLabeller(work) if names else None
    for name in names:
        yield labeller.label(name)


def on_ray(work: Work, names: list[str], actors: int | None = None) -> Iterator[Labelled]:
    """Files spread over actors of Ray Data, each of which loads the model once.

    There is one for each processor that Ray has, unless their number is given. Raises InputError
    where Ray is not installed.
    """
    require_packages("ray", "ray")
    import ray

    class Actor:
        def __init__(self):
            self.labeller = FileLabeller(work)

        def __call__(self, batch: dict) -> dict:
            found = [self.labeller.label(names[number]) for number in batch["number"]]
            return {name: [getattr(one, name) for one in found]
                    for name in Labelled.__dataclass_fields__}  # fmt: skip

    if not names:
        return
    # Actors work in folders of their own.
    folders = {name: getattr(work, name).resolve() for name in ("model", "source", "target")}
    work = replace(work, **folders)
    items = [{"number": number} for number in range(len(names))]  # a name may be no UTF-8
    start_ray()
    actors = actors or max(1, min(len(items), int(ray.cluster_resources().get("CPU", 1))))
    rows = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Actor, batch_size=1, compute=ray.data.ActorPoolStrategy(size=actors), num_cpus=1
    )
    for row in rows.iter_rows():
        yield Labelled(**row)


def start_ray() -> None:
    """Start Ray on this machine, or reach the cluster of RAY_ADDRESS; else InputError."""
    import ray

    try:
        ray.init(ignore_reinit_error=True, include_dashboard=False)
    except ConnectionError as error:
        raise InputError(
            f"{error}: is it started, and RAY_AUTH_MODE=token set? Without RAY_ADDRESS, Ray runs "
            "on this machine alone."
        ) from error


ENGINES = {"local": local, "ray": on_ray}
