"""The notebooks: as committed, opened alone in Colab, and run from first to last."""

import io
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
from conftest import load_script, make_reviews, run_script
from nbclient import NotebookClient

from utils import InputError
from utils.evaluation.figures import coloured_words
from utils.paths import BENCHMARK, RELEASED, ROOT
from utils.results import Run

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
BOOTSTRAP = "Opened alone in Colab"


def code_of(path: Path) -> list:
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def bootstrap_of(path: Path) -> str:
    """What a notebook's set-up cell does before it reads the settings."""
    cell = next(cell for cell in code_of(path) if BOOTSTRAP in cell.source)
    return cell.source.split("from utils.settings")[0]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_executed_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    cells = code_of(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    hidden = [cell for cell in cells if cell.metadata.get("jupyter", {}).get("source_hidden")]
    assert len(hidden) == 1  # the set-up, beside the cell of parameters
    assert max(len(cell.source.splitlines()) for cell in cells) <= 30
    text = path.read_text(encoding="utf-8")
    machine = re.search(r"/(home|root|tmp|work|Users|content)/\w|site-packages", text)
    assert machine is None


def test_the_bootstrap_is_the_same_everywhere_and_knows_the_projects_address():
    assert len({bootstrap_of(path) for path in NOTEBOOKS}) == 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    address = project.get("urls", {}).get("Repository", "")
    assert f'REPOSITORY = "{address}"' in bootstrap_of(NOTEBOOKS[0])


def test_utils_is_found_from_any_folder(tmp_path):
    code = f"{bootstrap_of(NOTEBOOKS[0])}\nimport utils.paths\nprint(utils.paths.ROOT)"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout.strip() == str(ROOT)


def test_where_utils_is_not_installed_the_bootstrap_says_what_to_do(tmp_path):
    code = bootstrap_of(NOTEBOOKS[0]).replace('find_spec("utils")', 'find_spec("no_utils")')
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "run `pip install -e .` in the repository" in run.stderr


def test_alone_in_colab_the_bootstrap_asks_for_the_zip(tmp_path):
    """A stand-in for Colab: its upload, and pip, which only writes down what it is asked."""
    with zipfile.ZipFile(tmp_path / "repository.zip", "w") as archive:
        for name in ("pyproject.toml", "requirements-embedded.txt"):
            archive.write(ROOT / name, f"project-main/{name}")
        for path in (ROOT / "utils").glob("*.py"):
            archive.write(path, f"project-main/utils/{path.name}")
    colab = (
        "import importlib.metadata, json, subprocess, sys, types\n"
        "files = types.SimpleNamespace(upload=lambda: {'repository.zip': b''})\n"
        "for name in ('google', 'google.colab'):\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        "sys.modules['google.colab'].files = files\n"
        "installed = importlib.metadata.version\n"
        "def version(name):\n"
        "    if name in ('apiflask', 'seaborn', 'jupyterlab'):\n"
        "        raise importlib.metadata.PackageNotFoundError(name)\n"
        "    return installed(name)\n"
        "importlib.metadata.version = version\n"
        "asked = []\n"
        "subprocess.run = lambda command, check: asked.append(command[2:])\n"
    )
    code = f"{colab}{bootstrap_of(NOTEBOOKS[0])}\nprint(sys.path[0])\nprint(json.dumps(asked))"
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    *_, name, asked = run.stdout.splitlines()
    assert Path(name).name == "project-main"
    commands = json.loads(asked)
    assert commands[-1][:4] == ["pip", "install", "--quiet", "--no-deps"]
    (wanted,) = commands[:-1]
    names = [re.match(r"[\w-]+", word)[0] for word in wanted if ">=" in word]
    assert sorted(names) == ["apiflask", "seaborn"]  # notebook 06 serves; none edits notebooks
    assert {f"{name}=={version(name)}" for name in ("torch", "numpy", "pandas")} <= set(wanted)


def test_each_notebook_that_is_asked_for_must_exist():
    run = run_script("run_notebooks.py", "01", "3")
    assert run.returncode == 1
    assert "no notebook's name begins with 3." in run.stderr
    assert not run.stdout


# A kernelspec that jupyter finds before the one of this environment, and what its error says.
BROKEN_KERNELS = {
    "{": "JSONDecodeError",
    '{"argv": ["/no/such/python"], "language": "python", "display_name": ""}': "No such file",
    json.dumps({"argv": [sys.executable, "-c", "import nothing_like_ipykernel"],
                "language": "python", "display_name": ""}): "Kernel died before replying",
}  # fmt: skip


@pytest.mark.parametrize("spec", BROKEN_KERNELS, ids=BROKEN_KERNELS.values())
def test_a_kernel_that_does_not_start_is_one_sentence(spec, reviews_folder, tmp_path):
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(spec)
    run = run_script("run_notebooks.py", "01", jupyter_path=tmp_path / "jupyter", labels=200,
                     source=reviews_folder, backbone="minilm", artifacts=tmp_path)  # fmt: skip
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith("error: The kernel of 01_data_exploration.ipynb did not start (")
    assert BROKEN_KERNELS[spec] in last
    assert "run_notebooks.py" not in run.stderr  # no traceback of ours
    assert not list(tmp_path.glob("*/notebooks/*"))


def test_a_missing_kernel_is_one_sentence(tmp_path, monkeypatch):
    script = load_script("run_notebooks.py")

    class Client(script.PrintingClient):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{**kwargs, "kernel_name": "none such"})

    monkeypatch.setattr(script, "PrintingClient", Client)
    with pytest.raises(
        InputError, match=r"did not start \(NoSuchKernel: No such kernel named none"
    ):
        script.run_notebook(NOTEBOOKS[0], Run(tmp_path))


def test_words_that_push_most_show_without_colours():
    pushes = {"fine": 2.0, "<weak>": -1.5, "film": 0.5, "a": None}
    shown = coloured_words([{"text": text, "weight": push} for text, push in pushes.items()])
    assert "<b>fine</b>" in shown
    assert "<i>&lt;weak&gt;</i>" in shown
    assert shown.count("<b>") + shown.count("<i>") == 2


@pytest.mark.slow
def test_the_first_notebooks_say_which_one_is_missing(tiny_bert, reviews_folder, tmp_path):
    run = run_script("run_notebooks.py", "04", **settings(tiny_bert, reviews_folder, tmp_path))
    assert run.returncode != 0
    assert "notebooks/03_fine_tuning.ipynb" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_closing_words_offer_a_model_only_where_one_was_exported(tmp_path, monkeypatch):
    script = load_script("run_notebooks.py")
    monkeypatch.setattr("utils.evaluation.metrics.table", str)
    run, result = Run(tmp_path / "imdb-minilm"), {"dataset": "IMDB", "seed": 43, "baseline": {}}
    run.save("evaluation", result | {"model": {"reviews": 300}, "model_sha256": "of seed 43"})
    offered = []
    for of, there in (("of seed 43", False), ("of seed 42", True), ("of seed 43", True)):
        run.save("export", {"model_sha256": of})  # committed, where the folder is not
        if there:
            (run.folder / "model").mkdir(exist_ok=True)
        offered.append("imdb-minilm/model" in script.closing_words(run))
    assert offered == [False, False, True]


def with_solutions(path: Path, folder: Path) -> None:
    """Copy a notebook, with the Python solutions of its exercises as cells at its end."""
    notebook = nbformat.read(path, as_version=4)
    closing = notebook.cells[-1].source
    solutions = re.findall(r"```python\n(.*?)```", closing.split("<details>")[1], re.DOTALL)
    assert len(solutions) >= 2
    notebook.cells += [nbformat.v4.new_code_cell(solution) for solution in solutions]
    nbformat.write(notebook, folder / path.name)


@pytest.mark.slow
def test_every_notebook_runs_on_a_tiny_model(tiny_bert, reviews_folder, tmp_path, monkeypatch):
    chosen = settings(tiny_bert, reviews_folder, tmp_path)
    (tmp_path / "notebooks").mkdir()
    for path in NOTEBOOKS:
        with_solutions(path, tmp_path / "notebooks")
    with monkeypatch.context() as patch:
        patch.setattr("utils.paths.ROOT", tmp_path)  # where run_notebooks.py looks for them
        run = run_script("run_notebooks.py", **chosen)
    assert run.returncode == 0, run.stderr[-3000:]
    [folder] = (tmp_path / "artifacts").glob("made-up-tiny-*")
    for path in NOTEBOOKS:
        cells = code_of(folder / "notebooks" / path.name)
        shown = [output for cell in cells for output in cell.outputs]
        assert not [o.text for o in shown if "TqdmWarning" in o.get("text", "")]
        assert (folder / "notebooks" / f"{path.stem}.html").stat().st_size > 10_000
    evaluation = json.loads((folder / "results" / "evaluation.json").read_text())
    assert f"{evaluation['model']['metrics']['f1']['value']:.3f}" in run.stdout
    assert zipfile.is_zipfile(io.BytesIO((folder / "model.zip").read_bytes()))

    # What `make evaluate` adds, and notebook 04b then shows.
    executed = folder / "notebooks" / "04b_why_and_how_far.ipynb"
    assert "Missing: explanations, minimal_pairs, labels" in shown_in(executed)
    other = tmp_path / "others.csv"
    make_reviews(60, seed=7).to_csv(other, index=False)  # too few for as many labels as ours
    for script, arguments in (
        ("evaluate.py", ["--also", other]),
        ("run_notebooks.py", ["04b"]),
    ):
        run = run_script(script, *arguments, **chosen)
        assert run.returncode == 0, run.stderr[-3000:]
    assert "Missing" not in shown_in(executed)
    assert "passed edits that should flip the label" in shown_in(executed)  # its card
    assert "const reviews" in (folder / "errors.html").read_text()
    assert {path.stem for path in (folder / "figures").glob("*.png")} >= {
        "without_words", "minimal_pairs", "reliability", "small_tests", "accuracy_by",
        "selective", "cls_states",
    }  # fmt: skip
    assert (folder / "results" / "on_others.json").exists()
    labels = json.loads((folder / "results" / "labels.json").read_text())
    assert labels["out_of_fold_accuracy"]["reviews"] == 100


COLABS_FILES = """
from pathlib import Path
def upload(): return {"repository.zip": b""}
def download(name): Path("downloaded").write_text(name)
"""


@pytest.mark.slow
def test_every_notebook_runs_alone_as_in_colab(tiny_bert, reviews_folder, tmp_path):
    """Each is opened in a folder that has no repository; pip is asked for what is missing."""
    package = tmp_path / "google" / "colab"
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "files.py").write_text(COLABS_FILES)
    startup.mkdir(parents=True)
    (startup / "colab.py").write_text("import google.colab")  # before the first cell
    content = tmp_path / "content"
    content.mkdir()
    with zipfile.ZipFile(content / "repository.zip", "w") as archive:
        folders = (ROOT / "utils", ROOT / "docs", RELEASED, BENCHMARK)
        files = [path for folder in folders for path in folder.rglob("*") if path.suffix != ".pyc"]
        for path in (*files, *ROOT.glob("*.txt"), ROOT / "pyproject.toml"):
            archive.write(path, f"project-main/{path.relative_to(ROOT)}")
    chosen = settings(tiny_bert, reviews_folder, tmp_path)
    variables = {name.upper(): str(value) for name, value in chosen.items()}
    variables |= {"IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": str(tmp_path)}
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        if path.stem[:3] not in ("01_", "02_", "03_", "04_", "05_"):  # 06, say, needs a service
            (last,) = (n for n, cell in enumerate(notebook.cells) if BOOTSTRAP in cell.source)
            notebook.cells = notebook.cells[: last + 1]
        client = NotebookClient(notebook, resources={"metadata": {"path": content}})
        client.execute(env=os.environ | variables)
        assert "SOURCE=made-up" in json.dumps(notebook)
    zipped = Path((content / "downloaded").read_text())
    assert zipfile.is_zipfile(zipped)
    assert (content / "project" / "project-main" / "utils").is_dir()


def shown_in(notebook: Path) -> str:
    """What a notebook's cells put out, as text."""
    return json.dumps([cell.outputs for cell in code_of(notebook)])


def settings(backbone: Path, source: Path, folder: Path) -> dict:
    """Of a quick run in a folder."""
    return {
        "source": source,
        "backbone": backbone,
        "labels": 100,
        "test_size": 150,
        "artifacts": folder / "artifacts",
    }
