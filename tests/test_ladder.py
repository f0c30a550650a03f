"""The research's tables: what a step gave, what it cost, and how many labels it is worth."""

import json

import pytest
from conftest import run_script

from utils.ladder import ladder, ladder_table, learning_curve, worth
from utils.recipe import Recipe


def report(accuracy: float) -> dict:
    return {"reviews": 1000, "metrics": {"accuracy": {"value": accuracy}}}


def write_training(folder, step, which, accuracy, minutes, test=None, split="a", run="imdb-minilm"):
    result = {
        "recipe": Recipe(1e-4, seed=42).__dict__,
        "split_sha256": split,
        "validation": [],
        "validation_reviews": 400,
        "validation_as_served": {"accuracy": accuracy},
        "minutes": minutes,
    }
    if test is not None:
        result["test"] = report(test)
    (folder / f"{step}-{run}-{which}.json").write_text(json.dumps(result))


def write_labels(folder, step, run, seed, minutes):
    result = {"labelled": 28_000, "minutes": minutes}
    (folder / f"{step}-{run}-seed{seed}-labels.json").write_text(json.dumps(result))


def test_folds_and_seeds_are_told_apart(tmp_path):
    write_training(tmp_path, "short", "fold0", 0.85, 5, split="a")
    write_training(tmp_path, "short", "fold1", 0.95, 5, split="b")
    write_training(tmp_path, "plain", "seed42", 0.90, 10, test=0.89)
    write_training(tmp_path, "plain", "seed43", 0.92, 12, test=0.91)
    short, plain = ladder(folder=tmp_path)
    assert (short["folds"]["share"], short["folds"]["reviews"]) == (pytest.approx(0.9), 800)
    assert (short["seeds"], short["test"]) == (None, None)
    # Seeds are validated on the same reviews: two of them are no more than one.
    assert (plain["seeds"]["share"], plain["seeds"]["reviews"]) == (pytest.approx(0.91), 400)
    assert plain["test"]["mean"] == pytest.approx(0.90)
    assert plain["test"]["spread"] == pytest.approx(0.01414, rel=1e-3)
    assert plain["minutes"] == 11
    read = ladder_table([short, plain])
    assert "90.0%" in read["validation, by folds"][0]
    assert read["test accuracy"][1].startswith("0.9000 ± 0.0141")


def test_minutes_count_what_a_step_builds_on_and_each_part_once(tmp_path):
    (tmp_path / "mlm-imdb-minilm-seed42.json").write_text(json.dumps({"minutes": 90}))
    for seed in (42, 43, 44):
        write_training(tmp_path, "adapted", f"seed{seed}", 0.91, 10)
        write_labels(tmp_path, "adapted", "imdb-minilm", seed, 8)
    write_training(tmp_path, "self_taught", "seed42", 0.92, 60)
    write_training(tmp_path, "teacher", "seed42", 0.94, 20, run="imdb-mpnet")
    write_labels(tmp_path, "teacher", "imdb-mpnet", 42, 50)
    write_training(tmp_path, "taught_few", "seed42", 0.93, 15)
    minutes = {row["step"]: row["minutes"] for row in ladder(folder=tmp_path)}
    assert minutes == {
        "adapted": 90 + 10,
        "self_taught": 90 + 3 * (10 + 8) + 60,
        "taught_few": 90 + 20 + 50 / 2 + 15,  # it learns from half of the labels
        "teacher": 20,
    }


def test_unknown_minutes_are_not_made_up(tmp_path):
    write_training(tmp_path, "short", "fold0", 0.85, None)
    (row,) = ladder(folder=tmp_path)
    assert row["minutes"] is None
    assert ladder_table([row])["minutes"][0] == ""


def test_a_learning_curve_joins_the_budgets_and_says_what_labels_are_worth(tmp_path):
    for labels, accuracy in ((500, 0.80), (1000, 0.84)):
        found = json.dumps({"test": report(accuracy)})
        (tmp_path / f"tfidf-imdb-minilm-labels{labels}-seed42.json").write_text(found)
    write_training(tmp_path, "plain", "labels500-seed42", 0.8, 1, test=0.82)
    write_training(tmp_path, "plain", "seed42", 0.9, 10, test=0.90)
    curves = learning_curve(("plain", "adapted"), folder=tmp_path)
    assert [row["labels"] for row in curves["plain"]] == [500, 4000]
    assert list(curves) == ["TF-IDF", "plain"]
    assert worth(curves["TF-IDF"], 0.82) == round(500 * 2**0.5)
    assert worth(curves["TF-IDF"], 0.90) is None


@pytest.mark.slow
def test_another_label_budget_has_its_own_results(tiny_bert, reviews_folder, tmp_path):
    settings = {"source": reviews_folder, "backbone": tiny_bert, "artifacts": tmp_path}
    for labels in (60, 100):
        found = run_script("research.py", "tfidf", labels=labels, **settings)
        assert found.returncode == 0, found.stderr
    names = sorted(path.name for path in (tmp_path / "research").glob("*.json"))
    assert [name.split("-labels")[1] for name in names] == ["100-seed42.json", "60-seed42.json"]
