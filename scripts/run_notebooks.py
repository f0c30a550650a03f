"""Run notebooks in order and keep executed copies and HTML in the run's folder.

Example: python scripts/run_notebooks.py 01 02 03 04 05
"""

import argparse
import atexit
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from utils import InputError
from utils.files import write
from utils.paths import ROOT
from utils.results import Run
from utils.settings import Settings, set_up

LOG_SECONDS = 60


class PrintingClient(NotebookClient):
    """A client that also prints what the cells print, so that long ones show their progress."""

    live = False  # whether the line that is updated in place is the last one printed
    shown = 0.0  # when such a line was last printed to a log

    def process_message(self, msg, cell, cell_index):
        content = msg["content"]
        if msg["msg_type"] == "stream" and content["name"] == "stdout":
            print("\n" * self.live + content["text"], end="", flush=True)
            self.live = False
        elif msg["msg_type"] == "update_display_data":
            text = content["data"].get("text/plain", "")
            if sys.stdout.isatty():
                print("\r" + text, end="", flush=True)
                self.live = True
            elif time.monotonic() - self.shown > LOG_SECONDS:  # of a log, each is a line
                print(text, flush=True)
                self.shown = time.monotonic()
        return super().process_message(msg, cell, cell_index)


def run_notebook(path: Path, run: Run) -> None:
    """Execute one notebook in its own folder; keep the copy also where a cell fails.

    Raises InputError that says why, where its kernel does not start.
    """
    answered = []
    notebook = nbformat.read(path, as_version=4)
    client = PrintingClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
        extra_arguments=["--Application.log_level=ERROR"],
        on_notebook_start=lambda notebook: answered.append(True),  # once the kernel has answered
    )
    started = time.perf_counter()
    print(f"\n=== {path.name}", flush=True)
    try:
        client.execute()
    except Exception as error:  # of a kernel that does not start there are many kinds
        if answered:
            raise
        atexit.unregister(client._cleanup_kernel)  # it would fail on exit: there is nothing left
        raise InputError(
            f"The kernel of {path.name} did not start ({type(error).__name__}: {error}). Install "
            "the requirements again; `jupyter kernelspec list` shows other kernels called python3."
        ) from error
    finally:
        copy = run.folder / "notebooks" / path.name
        if answered:
            notebook.metadata.pop("widgets", None)
            for cell in notebook.cells:
                cell.metadata.pop("execution", None)  # times of day: noise in every difference
            write(copy, lambda file: nbformat.write(notebook, file))
    from nbconvert import HTMLExporter  # which takes a second

    without_set_up = {"remove_input_tags": {"bootstrap"}, "enabled": True}
    exporter = HTMLExporter(config={"TagRemovePreprocessor": without_set_up})
    html, _ = exporter.from_notebook_node(notebook)
    write(copy.with_suffix(".html"), lambda file: file.write_text(html, encoding="utf-8"))
    print(f"=== {path.name}: {(time.perf_counter() - started) / 60:.1f} min", flush=True)


def export_settings(settings: Settings) -> None:
    """Hand the decided settings to the kernels, so that `auto` is decided once for all."""
    for name, value in asdict(settings).items():
        os.environ[name.upper()] = str(value)


def closing_words(run: Run) -> str:
    """A short table of what was found and where to look next: the model, too, if it is exported."""
    from utils.evaluation.metrics import table

    result = run.load("evaluation")
    reports = {"fine-tuned": result["model"], "TF-IDF baseline": result["baseline"]}
    where = os.path.relpath(run.folder)
    words = (
        f"\n{result['dataset']}, {result['model']['reviews']:,} test reviews, one seed "
        f"({result['seed']}); 95% bootstrap intervals\n\n{table(reports)}\n\n"
        f"figures     {where}/figures/confusion_matrices.png and others\n"
        f"notebooks   {where}/notebooks/04_evaluation.html and others"
    )
    if (run.folder / "model").exists() and run.find("export", model_sha256=result["model_sha256"]):
        words += (
            f"\nmodel       {where}/model/ and its zip; try it:\n"
            f"            .venv/bin/python scripts/model-inference.py --model {where}/model "
            '"A moving, clever film."'
        )
    return words


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("numbers", nargs="*", help="how their names begin; without any, all")
    numbers = parser.parse_args().numbers or [""]
    found = {n: sorted((ROOT / "notebooks").glob(f"{n}*.ipynb")) for n in numbers}
    if missing := [number for number, paths in found.items() if not paths]:
        sys.exit(f"error: no notebook's name begins with {' or '.join(missing)}.")
    paths = [path for paths in found.values() for path in paths]
    # Imported here, so that --help and a wrong argument answer at once.
    from utils.data.reviews import load_reviews

    try:
        settings = set_up()
        run = Run.of(settings, load_reviews(settings).name)
        export_settings(settings)
        print(f"One seed is trained: {settings.seed}. Results go to {os.path.relpath(run.folder)}/")
        for path in paths:
            run_notebook(path, run)
        if any(path.name.startswith("04_") for path in paths):
            print(closing_words(run))
    except InputError as error:
        sys.exit(f"error: {error}")
    except CellExecutionError as error:
        sys.exit(f"error: {path.name} stopped with {error.ename}: {error.evalue}")
    except DeadKernelError:
        sys.exit(f"error: the kernel of {path.name} died; the memory may be too small.")


if __name__ == "__main__":
    main()
