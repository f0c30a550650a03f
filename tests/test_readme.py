"""What the README states is what the committed results say.

`PYTHONPATH=. .venv/bin/python tests/test_readme.py` prints the tables to paste after a new run.
"""

import json
import re
import subprocess
import sys

import pandas as pd

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


def copies_table() -> str:
    """What other ways of running each run's model lose on validation."""
    lines = [
        "| run | way of running the model | accuracy | labels that differ | size |",
        "|---|---|---|---|---|",
    ]
    for run in RUNS:
        found, onnx = result(run, "agreement"), result(run, "onnx")
        size, name = onnx["megabytes"], result(run, "training")["dataset"]
        full = size["model.safetensors"]
        reviews, ours = found["pipeline"]["reviews"], found["pipeline"]["our_accuracy"]
        lines.append(
            f"| {name} | our inference, fp32 | {ours:.1%} | | {size['model.safetensors']:.0f} MB |"
        )
        for title, copy, megabytes in (
            ("a bare pipeline, fp32", found["pipeline"], full),
            ("stored in fp16, as released", found["fp16"], full / 2),
            ("ONNX, int8", onnx["int8"], size["model_int8.onnx"]),
        ):
            flips = f"{copy['label_flips']} of {reviews}"
            lines.append(
                f"| {name} | {title} | {copy['accuracy']:.1%} | {flips} | {megabytes:.0f} MB |"
            )
    return "\n".join(lines)


def test_the_table_of_copies_is_the_committed_results():
    assert copies_table() in README


def use_the_model() -> list[tuple[str, str]]:
    """Language and code of each block in the section that shows how to use the model."""
    section = README.split("## Use the model")[1].split("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)


def test_the_use_the_model_section_runs_as_written(tmp_path):
    for name in ("artifacts", "scripts", "utils"):
        (tmp_path / name).symlink_to(ROOT / name)
    printed = ""
    for language, code in use_the_model():
        python = language == "python"
        shell = code.replace(".venv/bin/python", sys.executable)
        command = [sys.executable, "-c", code] if python else ["bash", "-ec", shell]
        out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        printed += out.stdout
    assert printed.count("POSITIVE") == 3
    assert printed.count("NEGATIVE") == 2
    labelled = pd.read_parquet(tmp_path / "labelled.parquet")
    assert labelled["predicted_label"].tolist() == ["POSITIVE", "NEGATIVE"]


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
    print(results_table(), minutes_table(), copies_table(), sep="\n\n")
