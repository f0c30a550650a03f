"""The research's tables: what an experiment gave, what it cost, what labels are worth."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from conftest import run_script

from utils.research.experiments import EXPERIMENTS
from utils.research.figures import experiments as experiments_figure
from utils.research.figures import learning_curve as learning_curve_figure
from utils.research.tables import (
    REFERENCES,
    Results,
    best_card,
    cascade_findings,
    experiments_table,
    gain,
    learning_curve_table,
    scored_findings,
    scored_table,
    tried_table,
    worth,
)


def report(accuracy: float) -> dict:
    return {"reviews": 1000, "metrics": {"accuracy": {"value": accuracy}}}


def write_training(
    folder, name, accuracy, minutes, test=None, seed=42, fold=None, labels=4000, run="imdb-minilm"
):
    experiment = EXPERIMENTS[name]
    result = {
        "experiment": name, "run": run, "labels": labels, "seed": seed, "fold": fold,
        "recipe": asdict(experiment.recipe(1e-4, seed)),
        **experiment.origin(),
        "validation_reviews": 400,
        "softly_labelled_reviews": 26_000 if experiment.teachers else 0,
        "validation_as_served": {"accuracy": accuracy},
        "minutes": minutes,
    }  # fmt: skip
    if test is not None:
        result["test"] = report(test)
    path = folder / f"{len(list(folder.iterdir()))}.json"  # its name says nothing
    path.write_text(json.dumps(result))
    return path


def write_labels(folder, name, run, seed, minutes):
    about = {"experiment": name, "run": run, "labels": 4000, "seed": seed, "fold": None}
    result = {"soft_labels_of": about, "labelled": 28_000, "minutes": minutes}
    path = folder / f"labels{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(result))
    return path


def write_pretraining(folder):
    about = {"experiment": "tapt_mlm", "run": "imdb-minilm", "labels": 4000, "seed": 42}
    path = folder / "pretraining.json"
    path.write_text(json.dumps(about | {"fold": None, "minutes": 90}))
    return path


def test_folds_and_seeds_are_told_apart(tmp_path):
    for fold, accuracy in ((0, 0.85), (1, 0.95)):
        write_training(tmp_path, "fine_tuned_256", accuracy, 5, fold=fold)
    write_training(tmp_path, "fine_tuned", 0.90, 10, test=0.89)
    write_training(tmp_path, "fine_tuned", 0.92, 12, test=0.91, seed=43)
    short, plain = Results(folder=tmp_path).rows()
    found = short["cross_validated"]
    assert (found["share"], found["reviews"]) == (pytest.approx(0.9), 800)
    assert (short["validation"], short["test"]) == (None, None)
    # Seeds are validated on the same reviews: two of them are no more than one.
    found = plain["validation"]
    assert (found["share"], found["reviews"]) == (pytest.approx(0.91), 400)
    assert plain["test"]["mean"] == pytest.approx(0.90)
    assert plain["test"]["spread"] == pytest.approx(0.01414, rel=1e-3)
    assert plain["minutes"] == 11
    read = experiments_table([short, plain])
    assert read["2-fold cross-validation"][0].startswith("90.0% [")
    assert read["test accuracy"][1].startswith("90.00 ± 1.41% [")
    assert len(scored_table([short, plain])) == 1


def test_minutes_count_what_an_experiment_builds_on_and_each_part_once(tmp_path):
    pretraining = write_pretraining(tmp_path)
    for seed in (42, 43, 44):
        write_training(tmp_path, "tapt", 0.91, 10, seed=seed)
        write_labels(tmp_path, "tapt", "imdb-minilm", seed, 8)
    write_training(tmp_path, "self_trained", 0.92, 60)
    write_training(tmp_path, "teacher", 0.94, 20, run="imdb-mpnet")
    labels = write_labels(tmp_path, "teacher", "imdb-mpnet", 42, 50)
    write_training(tmp_path, "distilled_1_teacher", 0.93, 15)

    def minutes() -> dict:
        return {row["name"]: row["minutes"] for row in Results(folder=tmp_path).rows()}

    expected = {
        "tapt": 90 + 10,
        # Of the 28,000 labels some are for comparing alone: they are not the student's cost.
        "self_trained": pytest.approx(90 + 3 * (10 + 8 * 26 / 28) + 60),
        "distilled_1_teacher": pytest.approx(90 + 20 + 50 * 26 / 28 + 15),
        "teacher": 20,
    }
    assert minutes() == expected
    # What lacks a part has no minutes, and does not keep the others from being shown.
    labels.unlink()
    assert minutes() == expected | {"distilled_1_teacher": None}
    pretraining.unlink()
    assert [name for name, value in minutes().items() if value] == ["teacher"]


def test_unknown_minutes_are_not_made_up(tmp_path):
    write_training(tmp_path, "fine_tuned", 0.85, None)
    (row,) = Results(folder=tmp_path).rows()
    assert row["minutes"] is None
    assert experiments_table([row])["minutes to train"][0] == ""
    # One that was made on a busy processor does not hide the minutes of another.
    write_training(tmp_path, "fine_tuned", 0.85, 6, seed=43)
    assert Results(folder=tmp_path).rows()[0]["minutes"] == 6


@pytest.mark.parametrize("changed", [
    {"recipe": {"learning_rate": 1e-4, "seed": 42, "epochs": 9}},
    {"teachers": [{"experiment": "teacher", "seed": 43, "backbone": "mpnet"}]},
    {"tapt": False},
])  # fmt: skip
def test_results_of_an_earlier_recipe_are_left_out(tmp_path, changed):
    path = write_training(tmp_path, "distilled_1_teacher", 0.85, 5)
    assert len(Results(folder=tmp_path).rows()) == 1
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    assert Results(folder=tmp_path).rows() == []


def test_a_learning_curve_joins_the_budgets_and_says_what_labels_are_worth(tmp_path):
    for labels, accuracy in ((500, 0.80), (1000, 0.84)):
        about = {"experiment": "tfidf", "run": "imdb-minilm", "labels": labels, "seed": 42}
        found = json.dumps(about | {"fold": None, "test": report(accuracy)})
        (tmp_path / f"tfidf{labels}.json").write_text(found)
    write_training(tmp_path, "fine_tuned", 0.8, 1, test=0.82, labels=500)
    write_training(tmp_path, "fine_tuned", 0.9, 10, test=0.90)
    write_training(tmp_path, "fine_tuned", 0.8, 1, labels=1000)  # not scored: not a point
    curves = Results(folder=tmp_path).learning_curve()
    assert list(curves) == ["TF-IDF", "fine-tuned"]
    assert [row["labels"] for row in curves["fine-tuned"]] == [500, 4000]
    shown = learning_curve_table(curves)
    assert shown["labels"].tolist() == ["500", "1,000", "4,000"]
    assert shown["fine-tuned"].tolist()[1] == ""
    assert shown["TF-IDF"].tolist()[1].startswith("84.00% [")
    assert worth(curves["TF-IDF"], 0.82) == round(500 * 2**0.5)
    assert worth(curves["TF-IDF"], 0.90) is None
    title = learning_curve_figure(curves).axes[0].get_title(loc="left")
    assert title == "500 labels do for “fine-tuned” as about 710 for TF-IDF"
    above = curves | {"fine-tuned": [row | {"mean": 0.86} for row in curves["fine-tuned"]]}
    title = learning_curve_figure(above).axes[0].get_title(loc="left")
    assert title == "500 labels give “fine-tuned” 86.0%, 1,000 give TF-IDF 84.0%"
    single = learning_curve_figure(curves | {"fine-tuned": curves["fine-tuned"][1:]})
    assert single.axes[0].get_title(loc="left") == ""


@pytest.mark.parametrize("backbone", ["mini-labels", "mini-labels-1", "mini[v2]*", "a-labels500-b"])
def test_a_runs_name_may_hold_anything(backbone, tmp_path):
    for fields in ({"fold": 0}, {"test": 0.9}, {"test": 0.8, "labels": 500}):
        write_training(tmp_path, "fine_tuned", 0.9, 5, run=f"imdb-{backbone}", **fields)
    write_training(tmp_path, "fine_tuned", 0.9, 5, 0.7, run=f"my-imdb-{backbone}")
    write_training(tmp_path, "fine_tuned", 0.9, 5, 0.6, run="imdb-mini")
    (row,) = Results(backbone=backbone, folder=tmp_path).rows()
    assert (row["cross_validated"]["trainings"], row["test"]["values"]) == (1, [0.9])
    for name, means in ((backbone, [0.8, 0.9]), ("mini", [0.6])):
        curve = Results(backbone=name, folder=tmp_path).learning_curve()["fine-tuned"]
        assert [point["mean"] for point in curve] == means


def test_the_experiments_are_drawn_whatever_was_scored(tmp_path):
    def title() -> str:
        figure = experiments_figure(Results(folder=tmp_path).rows(), REFERENCES)
        return figure.axes[0].get_title(loc="left")

    write_training(tmp_path, "teacher", 0.94, 20, test=0.93, run="imdb-mpnet")
    assert title() == ""
    write_training(tmp_path, "tapt", 0.90, 10, test=0.91)
    assert title() == ""
    write_training(tmp_path, "fine_tuned", 0.90, 10, test=0.90)
    assert title() == (
        "+1.0 percentage points over fine-tuning, with the same 4,000 labels,\nunlabelled reviews"
    )
    assert gain({"mean": 0.93757}, {"mean": 0.9002}) == pytest.approx(3.737)


def test_what_was_dropped_has_its_row():
    table = tried_table()
    assert len(table) > 20
    averaged = table[table["experiment"].str.contains("weights averaged")]
    assert averaged["gain, pp"].tolist()[-1] == "+0.0 [-0.4, +0.4]"


@pytest.mark.slow
def test_another_label_budget_has_its_own_results(tiny_bert, reviews_folder, tmp_path):
    settings = {"source": reviews_folder, "backbone": tiny_bert, "artifacts": tmp_path}
    for labels in (60, 100):
        found = run_script("research.py", "tfidf", labels=labels, **settings)
        assert found.returncode == 0, found.stderr
    found = [json.loads(path.read_text()) for path in (tmp_path / "research").glob("*.json")]
    assert sorted(result["labels"] for result in found) == [60, 100]


def test_each_method_is_compared_with_the_one_before_it(tmp_path):
    labels = np.array([0, 1] * 200)
    for name, accuracy, wrong in (("fine_tuned", 0.9, 40), ("tapt", 0.92, 20)):
        path = write_training(tmp_path, name, 0.9, 10, test=accuracy)
        result = json.loads(path.read_text())
        probabilities = labels.astype(float)
        probabilities[:wrong] = 1 - probabilities[:wrong]
        result["validation_as_served"]["probabilities"] = probabilities.tolist()
        path.write_text(json.dumps(result))
    results = Results(folder=tmp_path)
    row = results.neighbours(labels).iloc[-1]
    assert row["against"] == "fine-tuned"
    assert row["test gain, pp"].startswith("+2.0 [-")  # 1,000 reviews: two points may be chance
    assert row["validation gain, pp"].startswith("+5.0 [+")
    assert float(row["McNemar's p"]) < 1e-5
    assert "+2.0" in best_card(results.rows())
    assert "+2.0 pp against fine-tuning" in scored_findings(results.rows())


def test_the_cascade_is_shown_between_its_two_models(tmp_path):
    assert Results(folder=tmp_path).cascade_table().empty
    found = Results()
    names, speeds = (found.cascade_table()[column].tolist() for column in ("model", "reviews/s"))
    assert names[1].startswith("cascade, ")
    linear, cascade, encoder = (float(speed.replace(",", "")) for speed in speeds)
    assert linear > cascade > encoder
    said = cascade_findings(found.cascade())
    assert f"{cascade / encoder:.1f} times as fast" in said
