"""The research's tables: what a step gave, what it cost, and how many labels it is worth."""

import json
from dataclasses import asdict, replace

import pytest
from conftest import run_script

from utils.evaluation.metrics import share
from utils.research.experiments import FIRST_REVIEWS, STEPS, built_on, describe
from utils.research.figures import ladder as ladder_figure
from utils.research.figures import learning_curve as learning_curve_figure
from utils.research.ladder import (
    ladder,
    ladder_table,
    learning_curve,
    learning_curve_table,
    points_gained,
    worth,
)
from utils.research.students import students
from utils.training.recipe import Recipe


def report(accuracy: float) -> dict:
    return {"reviews": 1000, "metrics": {"accuracy": {"value": accuracy}}}


def write_training(folder, step, which, accuracy, minutes, test=None, run="imdb-minilm"):
    recipe = replace(Recipe(1e-4, seed=42), **STEPS[step].changes)
    soft = (STEPS[step].unlabelled or 26_000) if STEPS[step].teachers else 0
    result = {
        "step": step,
        "recipe": asdict(recipe),
        **built_on(STEPS[step]),
        "validation": [],
        "validation_reviews": 400,
        "softly_labelled_reviews": soft,
        "validation_as_served": {"accuracy": accuracy},
        "minutes": minutes,
    }
    if test is not None:
        result["test"] = report(test)
    (folder / f"{step}-{run}-{which}.json").write_text(json.dumps(result))


def write_labels(folder, step, run, seed, minutes):
    result = {"labelled": 28_000, "minutes": minutes}
    (folder / f"{step}-{run}-seed{seed}-labels.json").write_text(json.dumps(result))


def test_halves_and_seeds_are_told_apart(tmp_path):
    write_training(tmp_path, "short", "half0", 0.85, 5)
    write_training(tmp_path, "short", "half1", 0.95, 5)
    write_training(tmp_path, "plain", "seed42", 0.90, 10, test=0.89)
    write_training(tmp_path, "plain", "seed43", 0.92, 12, test=0.91)
    short, plain = ladder(folder=tmp_path)
    assert (short["half"]["share"], short["half"]["reviews"]) == (pytest.approx(0.9), 800)
    assert (short["seed"], short["test"]) == (None, None)
    # Seeds are validated on the same reviews: two of them are no more than one.
    assert (plain["seed"]["share"], plain["seed"]["reviews"]) == (pytest.approx(0.91), 400)
    assert plain["test"]["mean"] == pytest.approx(0.90)
    assert plain["test"]["spread"] == pytest.approx(0.01414, rel=1e-3)
    assert plain["minutes"] == 11
    read = ladder_table([short, plain])
    assert "90.0%" in read["validation, by halves"][0]
    assert read["test accuracy"][1].startswith("0.9000 ± 0.0141")


def test_a_mean_over_seeds_is_not_rounded_to_whole_reviews(tmp_path):
    for seed, right in ((42, 375), (43, 372), (44, 377)):
        write_training(tmp_path, "plain", f"seed{seed}", right / 400, 10)
    (plain,) = ladder(folder=tmp_path)
    assert plain["seed"]["share"] == pytest.approx((375 + 372 + 377) / 1200)
    assert ladder_table([plain])["validation, by seeds"][0].startswith("93.7%")


def test_a_step_says_its_epochs_also_where_they_are_the_usual_ones():
    assert "3 epochs" in describe(Recipe(1e-4, seed=42), STEPS["taught"])
    assert "1 epoch, " in describe(Recipe(1e-4, seed=42, epochs=1), STEPS["taught"])


def test_the_ladder_tells_a_step_by_what_it_changes_in_the_plain_one(tmp_path):
    write_training(tmp_path, "short_fast", "half0", 0.85, 5)
    (alone,) = ladder(folder=tmp_path)
    assert alone["recipe"] == "learning rate 0.0002, 3 epochs, 256 tokens"
    write_training(tmp_path, "plain", "seed42", 0.90, 10)
    plain, fast = ladder(folder=tmp_path)
    assert plain["recipe"] == "learning rate 0.0001, 3 epochs, 512 tokens"
    assert fast["recipe"] == "learning rate 0.0002, 256 tokens"


def test_minutes_count_what_a_step_builds_on_and_each_part_once(tmp_path):
    (tmp_path / "mlm-imdb-minilm-seed42.json").write_text(json.dumps({"minutes": 90}))
    for seed in (42, 43, 44):
        write_training(tmp_path, "adapted", f"seed{seed}", 0.91, 10)
        write_labels(tmp_path, "adapted", "imdb-minilm", seed, 8)
    write_training(tmp_path, "self_taught", "seed42", 0.92, 60)
    write_training(tmp_path, "teacher", "seed42", 0.94, 20, run="imdb-mpnet")
    write_labels(tmp_path, "teacher", "imdb-mpnet", 42, 50)
    write_training(tmp_path, "taught_few_adapted", "seed42", 0.93, 15)
    minutes = {row["step"]: row["minutes"] for row in ladder(folder=tmp_path)}
    expected = {
        "adapted": 90 + 10,
        # Of the 28,000 labels some are for comparing alone: they are not the student's cost.
        "self_taught": pytest.approx(90 + 3 * (10 + 8 * 26 / 28) + 60),
        "taught_few_adapted": 90 + 20 + 50 / 2 + 15,  # it learns from half of the labels
        "teacher": 20,
    }
    assert minutes == expected
    # What lacks a part has no minutes, and does not keep the others from being shown.
    (tmp_path / "teacher-imdb-mpnet-seed42-labels.json").unlink()
    minutes = {row["step"]: row["minutes"] for row in ladder(folder=tmp_path)}
    assert minutes == expected | {"taught_few_adapted": None}
    (tmp_path / "mlm-imdb-minilm-seed42.json").unlink()
    minutes = {row["step"]: row["minutes"] for row in ladder(folder=tmp_path)}
    assert [step for step, value in minutes.items() if value] == ["teacher"]


def test_a_student_that_goes_on_has_the_cost_of_all_labels_that_it_ever_learnt(tmp_path):
    (tmp_path / "mlm-imdb-minilm-seed42.json").write_text(json.dumps({"minutes": 90}))
    for seed in (42, 43, 44):
        write_training(tmp_path, "teacher", f"seed{seed}", 0.94, 20, run="imdb-mpnet")
        write_labels(tmp_path, "teacher", "imdb-mpnet", seed, 50)
    write_training(tmp_path, "taught_by_three", "seed42", 0.93, 60)
    write_training(tmp_path, "taught_by_three_then_512", "seed42", 0.93, 15)
    minutes = {row["step"]: row["minutes"] for row in ladder(folder=tmp_path)}
    assert minutes["taught_by_three"] == pytest.approx(90 + 3 * (20 + 50 * 26 / 28) + 60)
    assert minutes["taught_by_three_then_512"] == minutes["taught_by_three"] + 15
    # Where what it started from is of an earlier recipe, its cost is not known.
    path = tmp_path / "taught_by_three-imdb-minilm-seed42.json"
    path.write_text(path.read_text().replace('"epochs": 2', '"epochs": 5'))
    minutes = {row["step"]: row["minutes"] for row in ladder(folder=tmp_path)}
    assert minutes["taught_by_three_then_512"] is None


def test_results_of_an_earlier_recipe_of_a_step_are_left_out(tmp_path):
    write_training(tmp_path, "short", "seed42", 0.85, 5)
    write_training(tmp_path, "plain", "seed43", 0.95, 5)
    (tmp_path / "plain-imdb-minilm-seed43.json").rename(tmp_path / "short-imdb-minilm-seed43.json")
    (row,) = ladder(folder=tmp_path)
    assert (row["step"], row["seed"]["trainings"], row["minutes"]) == ("short", 1, 5)
    # Nor are those that learnt from other teachers, or from more of their labels.
    write_training(tmp_path, "taught_few", "seed42", 0.93, 20)
    path = tmp_path / "taught_few-imdb-minilm-seed42.json"
    result = json.loads(path.read_text())
    assert len(ladder(folder=tmp_path)) == 2
    for changed in ({"unlabelled": FIRST_REVIEWS + 1}, {"teachers": [["teacher", "mpnet", 43]]}):
        path.write_text(json.dumps(result | changed))
        assert len(ladder(folder=tmp_path)) == 1


def test_students_are_compared_with_the_nearest_of_their_own_teachers(tmp_path):
    away = {"taught_few": [0.1, 0.3], "taught_few_fast": [0.2, 0.5], "self_taught": [0.0, 0.1],
            "taught_by_three": [0.1, 0.2], "taught_by_three_then_512": [0.1, 0.1]}  # fmt: skip
    for step, divergences in away.items():
        write_training(tmp_path, step, "seed42", 0.9, 5)
        path = tmp_path / f"{step}-imdb-minilm-seed42.json"
        found = {**share(1, 2), "texts_sha256": "the same", "divergences": divergences}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"against_teachers": found}))
    rows = [line.split(" | ") for line in students(folder=tmp_path).splitlines()[2:]]
    assert [row[0].removeprefix("| ") for row in rows] == [
        "self_taught", "taught_few_fast", "taught_few",
        "taught_by_three", "taught_by_three_then_512",  # which goes on with some of the answers
    ]  # fmt: skip
    farther = [row[-1].removesuffix(" |").strip() for row in rows]
    assert farther[0] == farther[2] == farther[4] == ""
    assert farther[3].startswith("0.0500 [")
    # Pairs differ by 0.1 and 0.2: a mean of 0.15, and 12.7 (t of one degree) times 0.05 around it.
    assert farther[1] == "0.1500 [-0.4853, 0.7853]"
    # Students that were asked about other reviews are not paired.
    path = tmp_path / "taught_few_fast-imdb-minilm-seed42.json"
    path.write_text(path.read_text().replace("the same", "others"))
    assert "0.1500 [-0.4853" not in students(folder=tmp_path)


def test_unknown_minutes_are_not_made_up(tmp_path):
    write_training(tmp_path, "short", "seed42", 0.85, None)
    (row,) = ladder(folder=tmp_path)
    assert row["minutes"] is None
    assert ladder_table([row])["minutes"][0] == ""
    # One that was made on a busy processor does not hide the minutes of another.
    write_training(tmp_path, "short", "seed43", 0.85, 6)
    assert ladder(folder=tmp_path)[0]["minutes"] == 6


def test_a_learning_curve_joins_the_budgets_and_says_what_labels_are_worth(tmp_path):
    for labels, accuracy in ((500, 0.80), (1000, 0.84)):
        found = json.dumps({"test": report(accuracy)})
        (tmp_path / f"tfidf-imdb-minilm-labels{labels}-seed42.json").write_text(found)
    write_training(tmp_path, "plain", "labels500-seed42", 0.8, 1, test=0.82)
    write_training(tmp_path, "plain", "seed42", 0.9, 10, test=0.90)
    curves = learning_curve(("plain", "adapted"), folder=tmp_path)
    assert [row["labels"] for row in curves["plain"]] == [500, 4000]
    assert list(curves) == ["TF-IDF", "plain"]
    shown = learning_curve_table(curves)
    assert shown["labels"].tolist() == ["500", "1,000", "4,000"]
    assert shown["plain"].tolist()[1] == ""
    assert shown["TF-IDF"].tolist()[1].startswith("0.8400 [")
    assert worth(curves["TF-IDF"], 0.82) == round(500 * 2**0.5)
    assert worth(curves["TF-IDF"], 0.90) is None
    title = learning_curve_figure(curves).axes[0].get_title(loc="left")
    assert title == "500 labels do for “plain” as about 710 for TF-IDF"
    more = curves | {"adapted": curves["plain"][-1:]}  # not yet run with fewer labels
    assert learning_curve_figure(more).axes[0].get_title(loc="left") == title
    above = curves | {"plain": [curves["plain"][0] | {"mean": 0.86}, curves["plain"][1]]}
    title = learning_curve_figure(above).axes[0].get_title(loc="left")
    assert title == "500 labels give “plain” 86.0%, 1,000 give TF-IDF 84.0%"
    single = learning_curve_figure(curves | {"plain": curves["plain"][1:]})
    assert single.axes[0].get_title(loc="left") == ""
    write_training(tmp_path, "plain", "labels1000-seed42", 0.8, 1)  # not scored: not a point
    assert len(learning_curve(("plain",), folder=tmp_path)["plain"]) == 2


@pytest.mark.parametrize("backbone", ["mini-labels", "mini-labels-1", "mini[v2]*", "a-labels500-b"])
def test_a_runs_name_may_hold_anything(backbone, tmp_path):
    for which, accuracy in (("half0", None), ("seed42", 0.9), ("labels500-seed42", 0.8)):
        write_training(tmp_path, "plain", which, 0.9, 5, accuracy, f"imdb-{backbone}")
    write_training(tmp_path, "plain", "seed42", 0.9, 5, 0.7, f"my-imdb-{backbone}")
    write_training(tmp_path, "plain", "seed42", 0.9, 5, 0.6, "imdb-mini")
    write_labels(tmp_path, "plain", f"imdb-{backbone}", 42, 1)
    (row,) = ladder(backbone=backbone, folder=tmp_path)
    assert (row["half"]["trainings"], row["test"]["values"], row["minutes"]) == (1, [0.9], 5)
    for run, means in ((f"imdb-{backbone}", [0.8, 0.9]), ("imdb-mini", [0.6])):
        curve = learning_curve(("plain",), run, tmp_path)["plain"]
        assert [point["mean"] for point in curve] == means


def test_the_ladder_is_drawn_whatever_was_scored(tmp_path):
    write_training(tmp_path, "teacher", "seed42", 0.94, 20, test=0.93, run="imdb-mpnet")
    assert ladder_figure(ladder(folder=tmp_path), {}).axes[0].get_title(loc="left") == ""
    write_training(tmp_path, "adapted", "seed42", 0.90, 10, test=0.91)
    assert ladder_figure(ladder(folder=tmp_path), {}).axes[0].get_title(loc="left") == ""
    write_training(tmp_path, "plain", "seed42", 0.90, 10, test=0.90)
    write_training(tmp_path, "best_epoch", "seed42", 0.90, 10, test=0.92)  # on no rung
    figure = ladder_figure(ladder(folder=tmp_path), {"others": 0.9282})
    title = figure.axes[0].get_title(loc="left")
    assert (
        title == "+1.0 points over fine-tuning, with the same 4,000 labels,\nreviews without labels"
    )
    assert points_gained({"mean": 0.93757}, {"mean": 0.9002}) == pytest.approx(3.737)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[::-1][:2] == ["fine-tuned", "pretrained further, then fine-tuned"]


@pytest.mark.slow
def test_another_label_budget_has_its_own_results(tiny_bert, reviews_folder, tmp_path):
    settings = {"source": reviews_folder, "backbone": tiny_bert, "artifacts": tmp_path}
    for labels in (60, 100):
        found = run_script("research.py", "tfidf", labels=labels, **settings)
        assert found.returncode == 0, found.stderr
    names = sorted(path.name for path in (tmp_path / "research").glob("*.json"))
    assert [name.split("-labels")[1] for name in names] == ["100-seed42.json", "60-seed42.json"]
