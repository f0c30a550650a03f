"""What the README states is what the committed results say.

`PYTHONPATH=. .venv/bin/python tests/test_readme.py` prints the tables to paste after a new run.
"""

import json
import re

from utils.evaluation import METRICS
from utils.settings import ROOT

RUNS = ("imdb-minilm", "rotten-tomatoes-minilm")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def result(run: str, name: str) -> dict:
    return json.loads((ROOT / "artifacts" / run / "results" / f"{name}.json").read_text())


def results_table() -> str:
    """One row a run and model: the four metrics with their intervals."""
    lines = [
        "| test reviews | model | accuracy | precision | recall | F1 |",
        "|---|---|---|---|---|---|",
    ]
    for run in RUNS:
        found = result(run, "evaluation")
        data = f"{found['dataset']}, {found['model']['reviews']:,}"
        for name, key in (("**fine-tuned**", "model"), ("TF-IDF baseline", "baseline")):
            cells = []
            for metric in METRICS:
                value = found[key]["metrics"][metric]
                low, high = value["interval"]
                cells.append(f"{value['value']:.3f} [{low:.3f}, {high:.3f}]")
            lines.append(f"| {data} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def minutes_table() -> str:
    """One row a run: measured minutes, and on what."""
    lines = [
        "| run | training | predicting the test | precision | processor |",
        "|---|---|---|---|---|",
    ]
    for run in RUNS:
        trained, predicted = result(run, "training"), result(run, "predictions")
        reviews = result(run, "evaluation")["model"]["reviews"]
        lines.append(
            f"| {trained['dataset']} | {trained['minutes']:.0f} min | "
            f"{predicted['minutes']:.1f} min ({reviews:,} reviews) | "
            f"{trained['versions']['precision']} | {trained['versions']['processor']} |"
        )
    return "\n".join(lines)


def test_the_results_table_is_the_committed_results():
    assert results_table() in README


def test_the_minutes_are_the_measured_ones():
    assert minutes_table() in README


def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_settings_table_is_complete():
    for name in ("SOURCE", "BACKBONE", "LABELS", "SEED", "TEST_SIZE", "ARTIFACTS"):
        assert f"| `{name}` |" in README


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "test"} <= set(re.findall(r"\bmake ([a-z-]+)", README)) <= targets


if __name__ == "__main__":
    print(results_table(), minutes_table(), sep="\n\n")
