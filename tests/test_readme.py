"""What README.md and docs/ state is what the committed results say."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields

import pandas as pd
import pytest
from conftest import load_script

from utils.paths import ROOT, resolve_path
from utils.settings import Settings

DOCS = load_script("update_docs.py")
README = ROOT / "README.md"
PAGES = [README, *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("artifacts/*/README.md"))]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))


@pytest.fixture
def committed():
    """Skips what is of the committed results, where there are others."""
    status = ["git", "status", "--porcelain", "artifacts"]
    try:
        changed = subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout, so whose results these are is not known")
    if changed.stdout:
        pytest.skip("artifacts/ holds results of your own, which the README does not describe")


def test_the_tables_are_the_committed_results(committed):
    texts = {path: path.read_text(encoding="utf-8") for path in DOCS.FILES}
    assert DOCS.with_tables(dict(texts)) == texts


def test_the_model_that_notebook_06_serves_is_the_one_that_05_exported(committed):
    served, exported = (DOCS.result("imdb-minilm", name) for name in ("deployment", "export"))
    assert served["served_sha256"] == exported["exported_sha256"]


def use_the_model() -> list[tuple[str, str]]:
    """Language and code of each block that uses the released model, in the README and in docs/."""
    pages = README.read_text(encoding="utf-8"), PAGES[0].with_name("docs") / "inference.md"
    text = pages[0].split("## Results")[0] + pages[1].read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    return [(language, code) for language, code in blocks if "make serve" not in code]


def test_what_uses_the_model_runs_as_written(tmp_path):
    for name in ("artifacts", "scripts", "utils"):
        (tmp_path / name).symlink_to(ROOT / name)
    printed = ""
    for language, code in use_the_model():
        python = language == "python"
        shell = code.replace(".venv/bin/python", shlex.quote(sys.executable))
        command = [sys.executable, "-c", code] if python else ["bash", "-ec", shell]
        out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        printed += out.stdout
    assert printed.count("POSITIVE") == 3
    assert printed.count("NEGATIVE") == 2
    labelled = pd.read_parquet(tmp_path / "labelled.parquet")
    assert labelled["predicted_label"].tolist() == ["POSITIVE", "NEGATIVE"]


def anchors(page: str) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_place_that_a_page_links_to_exists(path):
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", path.read_text(encoding="utf-8"))
    for link, anchor in links:
        page = path.parent / link if link else path
        assert page.exists(), link
        assert not anchor or anchor in anchors(page.read_text(encoding="utf-8")), (link, anchor)


def test_pages_are_short_enough_to_be_read():
    pages = [path for path in PAGES if path.parent.name != "model"]  # whose card is a form
    texts = {path: path.read_text(encoding="utf-8") for path in pages}
    words = {path: sum(map(_is_word, text.split())) for path, text in texts.items()}
    assert len(texts[README].splitlines()) <= 130
    assert words[README] <= 1000
    assert sum(words.values()) <= 7000


def _is_word(part: str) -> bool:
    return any(map(str.isalnum, part))  # and not a table's bar


def test_the_settings_table_is_complete():
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for field in fields(Settings):
        default = f"`{field.default}`" if field.default else "none"
        assert f"| `{field.name.upper()}` | {default} |" in page


def test_relative_paths_start_at_the_root_of_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_path("mine/reviews.csv") == ROOT / "mine" / "reviews.csv"
    assert resolve_path(str(tmp_path / "reviews.csv")) == tmp_path / "reviews.csv"


def test_every_make_target_that_a_page_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for path in PAGES
        for name in re.findall(r"[`\n]make ([a-z-]+)", path.read_text(encoding="utf-8"))
    }
    assert {"run", "test", "serve", "bench"} <= named <= targets
