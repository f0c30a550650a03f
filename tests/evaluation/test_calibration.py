"""Temperature, calibration error and thresholds; where a model fails; minimal pairs."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from utils import InputError
from utils.evaluation.calibration import (
    best_threshold,
    calibrate,
    calibration_error,
    fit_temperature,
    refit_temperature,
    reliability,
    with_temperature,
)
from utils.evaluation.error_analysis import (
    accuracy_by,
    by_length,
    by_loss,
    by_stars,
    contradicted,
    kind_of,
    small_tests,
)
from utils.evaluation.label_errors import out_of_fold
from utils.evaluation.metrics import share
from utils.evaluation.minimal_pairs import load_pairs, passed_by_kind, score_pairs, score_published
from utils.evaluation.predictions import evaluate_elsewhere
from utils.modeling.baseline import C_VALUES, fit_baseline
from utils.research.plan import evaluate_baseline
from utils.results import Run
from utils.text import Tokens


def overconfident(factor: float, reviews: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from honest probabilities, and these with their logits multiplied."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, reviews)
    labels = (random.random(reviews) < expit(logits)).astype(int)
    return labels, expit(factor * logits)


def test_the_temperature_undoes_overconfidence():
    labels, probabilities = overconfident(3.0)
    temperature = fit_temperature(labels, probabilities)
    assert temperature == pytest.approx(3.0, rel=0.05)
    calibrated = with_temperature(probabilities, temperature)
    assert ((calibrated >= 0.5) == (probabilities >= 0.5)).all()
    before, after = (calibration_error(labels, p) for p in (probabilities, calibrated))
    assert before["value"] > 0.08
    assert after["value"] < 0.015
    # What is left is what chance gives, and what was there before is not.
    assert before["value"] > before["by_chance"][1]
    assert after["value"] < 1.2 * after["by_chance"][1]


def test_a_certain_answer_stays_finite():
    found = with_temperature(np.array([0.0, 1.0]), 2.0)
    assert 0 < found[0] < 0.01
    assert 0.99 < found[1] < 1


def test_the_interval_is_of_the_temperature_that_the_error_is_of():
    labels, probabilities = overconfident(2.0, reviews=4000)
    before = calibration_error(labels, probabilities)["interval"]
    after = calibration_error(labels, probabilities, 2.0)["interval"]
    assert after[1] < before[0]


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    labels = np.array([1, 1, 1, 0, 0, 0, 1, 1])
    probabilities = np.array([0.91, 0.91, 0.91, 0.91, 0.09, 0.09, 0.61, 0.61])
    # Six answers of 91%, of which five are right, and two of 61%, both right.
    bins = reliability(labels, probabilities)
    assert [part["reviews"] for part in bins] == [2, 6]
    assert [round(part["share"], 3) for part in bins] == [1.0, 0.833]
    expected = (2 * 0.39 + 6 * (0.91 - 5 / 6)) / 8
    assert calibration_error(labels, probabilities)["value"] == pytest.approx(expected)


def test_the_interval_is_that_of_the_answers_drawn_anew():
    labels, sure = np.arange(300) % 2, np.full(300, 0.9)  # all 90% sure, half of them right
    low, high = calibration_error(labels, sure)["interval"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.5 * 0.5 / 300), rel=0.1)
    assert (low + high) / 2 == pytest.approx(0.4, abs=0.01)


def test_an_interval_knows_that_the_temperature_was_fitted_on_few_reviews(monkeypatch):
    monkeypatch.setattr("utils.evaluation.calibration.REFITS", 20)
    labels, probabilities = overconfident(2.0, reviews=4000)
    temperature = fit_temperature(labels, probabilities)

    def width(*refitted: float) -> float:
        low, high = calibration_error(labels, probabilities, temperature, refitted)["interval"]
        return high - low

    assert width(temperature, 1.6 * temperature) > 2 * width(temperature)
    refitted = refit_temperature(labels[:100], probabilities[:100])
    assert np.ptp(refitted) > 3 * np.ptp(refit_temperature(labels, probabilities))


def test_the_threshold_is_the_best_one_and_the_nearest_to_a_half():
    labels = np.array([0, 0, 0, 1, 1])
    assert best_threshold(labels, np.array([0.1, 0.6, 0.7, 0.8, 0.9])) == pytest.approx(0.75)
    assert best_threshold(labels, np.array([0.1, 0.2, 0.3, 0.8, 0.9])) == 0.5


def test_only_validation_chooses_temperature_and_threshold(reviews, tmp_path, monkeypatch):
    """Whatever the labels of the test are."""
    monkeypatch.setattr("utils.evaluation.calibration.REFITS", 20)
    run, draw = Run(tmp_path / "run"), np.random.default_rng(0)
    run.save("training", {"model_sha256": "a"})
    known = reviews.validation["label"].to_numpy()
    validation = expit(2 * known - 1 + draw.normal(0, 3, len(known)))
    test, chosen = draw.random(len(reviews.test)), []
    for flip in (False, True):
        labels = reviews.test["label"] ^ flip
        other = replace(reviews, test=reviews.test.assign(label=labels.astype(int)))
        found = calibrate(run, other, validation, test)
        chosen.append([found[name] for name in ("temperature", "temperature_interval")])
        chosen[-1].append(found["threshold"])
    assert chosen[0] == chosen[1]
    assert chosen[0][0] == fit_temperature(known, validation) != 1
    assert chosen[0][2] == best_threshold(known, validation)


def test_only_validation_chooses_the_baseline(reviews):
    flipped = replace(reviews, test=reviews.test.assign(label=1 - reviews.test["label"]))
    ours, other = evaluate_baseline(reviews), evaluate_baseline(flipped)
    assert ours["C"] == other["C"]
    assert ours["probabilities"] == other["probabilities"]
    known = reviews.validation
    scores = {c: fit_baseline(reviews.train, c).score(known["text"], known["label"])
              for c in C_VALUES}  # fmt: skip
    assert ours["validation_accuracy"] == max(scores.values()) == scores[ours["C"]]


def test_texts_that_a_model_was_trained_on_are_no_part_of_another_test(reviews):
    def guess(texts: list[str]) -> np.ndarray:
        return np.linspace(0, 1, len(texts))

    known = set(reviews.test["text"].iloc[:3])
    found = evaluate_elsewhere(reviews, {"one": guess, "another": guess}, known)
    assert found["known_dropped"] == reviews.test["text"].isin(known).sum() >= 3
    left = len(reviews.test) - found["known_dropped"]
    assert [model["reviews"] for model in found["models"].values()] == [left, left]


def test_each_half_of_the_labels_gets_the_answers_of_the_other_halfs_model(reviews, tmp_path):
    paths = [tmp_path / f"half{number}.json" for number in (0, 1)]
    for number, path in enumerate(paths):
        labels = reviews.fold(number, 2).validation["label"]
        answers = (0.1 + 0.8 * labels).tolist()
        path.write_text(json.dumps({"validation_as_served": {"probabilities": answers}}))
    found = out_of_fold(paths, reviews)
    assert len(found) == len(reviews.train) + len(reviews.validation)
    assert ((found["probability"] >= 0.5) == found["label"]).all()


def test_shares_have_wilsons_interval():
    found = share(9, 10)
    assert found["share"] == 0.9
    assert found["interval"] == pytest.approx([0.5958, 0.9821], abs=1e-4)


def test_groups_by_length_are_of_equal_size_and_groups_by_loss_tell_what_was_cut():
    lengths = [*range(10, 60), *range(600, 650)]
    tokens = Tokens([[0] * min(length, 512) for length in lengths], lengths, [])
    groups = by_length(tokens)
    assert groups.value_counts().tolist() == [20] * 5
    assert groups.iloc[-1] == "630 to 649"
    equal = by_length(Tokens([[0]] * 10, [7] * 9 + [8], []))
    assert equal.nunique() == 1
    lost = by_loss(tokens)
    assert (lost[:50] == "nothing").all()
    assert (lost[50:] == "up to a quarter").all()


@pytest.mark.parametrize(
    ("row", "other", "shortened", "kind"),
    [
        ({"rating": 7, "text": "x"}, True, True, "middling stars"),
        ({"rating": 9, "text": "x"}, True, True, "the baseline contradicts it"),
        ({"rating": float("nan"), "text": "x"}, True, False, "the baseline contradicts it"),
        ({"text": "x"}, False, True, "part of it is truncated"),
        ({"text": "But yet. However, so"}, False, False, "it changes direction"),
        ({"text": "butter, yeti"}, False, False, "none of these"),
    ],
)
def test_a_review_gets_the_first_kind_whose_rule_holds(row, other, shortened, kind):
    assert kind_of(pd.Series(row), other, shortened).startswith(kind)


def test_the_baseline_contradicts_a_prediction_whatever_the_true_label_is():
    ours, baseline = np.array([0.9, 0.9, 0.1, 0.1, 0.1]), np.array([0.2, 0.3, 0.8, 0.7, 0.1])
    assert contradicted(ours, baseline).tolist() == [True, False, True, False, False]


def test_reviews_without_a_rating_are_left_out_of_the_figure_by_stars():
    groups = by_stars(pd.Series([9.0, None, 1.0]))
    found = accuracy_by(groups, {"ours": np.ones(3, bool), "theirs": np.ones(3, bool)})["groups"]
    assert [(row["group"], row["reviews"]) for row in found] == [("1", 1), ("9", 1)]


def test_accuracy_is_told_in_the_groups_own_order():
    lost = by_loss(Tokens([[0] * 512] * 2 + [[0]], [2000, 600, 1], []))
    right = {"ours": np.array([False, True, True]), "theirs": np.array([True, True, False])}
    found = accuracy_by(lost, right)["groups"]
    shares = [
        (row["group"], *(model["share"] for model in row["models"].values())) for row in found
    ]
    assert shares == [
        ("nothing", 1.0, 0.0), ("up to a quarter", 1.0, 1.0), ("more than half", 0.0, 1.0),
    ]  # fmt: skip


def test_half_stars_are_a_group_of_their_own():
    groups = by_stars(pd.Series([10.0, 7.0, 7.5, 7.0]))
    right = {"ours": np.array([True, True, False, True]), "theirs": np.ones(4, dtype=bool)}
    found = accuracy_by(groups, right)["groups"]
    assert [(row["group"], row["reviews"]) for row in found] == [("7", 2), ("7.5", 1), ("10", 1)]


def test_groups_that_differ_by_chance_are_told_from_those_that_do_not():
    groups = pd.Series(["a", "b"] * 500)
    uneven = np.arange(1000) % 10 != 0  # all errors in a, 20% of it
    found = accuracy_by(groups, {"ours": uneven, "theirs": uneven})
    assert found["p_value"] < 1e-10
    even = np.arange(1000) % 5 != 0  # 20% of either
    found = accuracy_by(groups, {"ours": even, "theirs": even})
    assert found["p_value"] > 0.5
    perfect = np.ones(1000, dtype=bool)
    found = accuracy_by(groups, {"ours": perfect, "theirs": even})
    assert found["p_value"] is None
    assert found["groups"][0]["gain"]["value"] == pytest.approx(0.2)
    assert found["groups"][0]["gain"]["interval"] == pytest.approx([0.165, 0.235], abs=1e-3)


def test_a_temperature_is_left_alone_where_validation_cannot_tell():
    assert fit_temperature(np.array([0, 1]), np.array([0.2, 0.9])) == 1.0  # no error: ever colder
    assert fit_temperature(np.array([1, 0] * 50), np.array([0.2, 0.9] * 50)) == 1.0


def test_small_tests_rank_two_close_models_wrongly_and_large_ones_do_not():
    labels = np.ones(10_000, dtype=int)
    ours, theirs = np.ones(10_000), np.ones(10_000)
    ours[:1000] = 0  # 90% right
    theirs[900:2100] = 0  # 88% right, partly the same reviews wrong
    found = small_tests(labels, ours, theirs)
    assert found["100"]["ranked_wrongly"] > 0.2
    assert found["3000"]["ranked_wrongly"] < 0.02
    # At 3,000 about 330 and 270 differ: (330 - 270) / sqrt(600) is 2.45, of which 1.96 are needed.
    assert found["3000"]["found"] == pytest.approx(0.68, abs=0.03)
    assert found["300"]["found"] < 0.15
    low, high = found["300"]["accuracy_range"]
    assert (low, high) == pytest.approx((0.9 - 0.034, 0.9 + 0.034), abs=0.005)
    # Whichever is called ours.
    turned = small_tests(labels, theirs, ours)
    assert turned["100"]["ranked_wrongly"] == pytest.approx(
        found["100"]["ranked_wrongly"], abs=0.01
    )


def test_the_projects_pairs_are_enough_of_each_kind_and_all_differ():
    pairs = load_pairs()
    assert len(pairs) >= 120
    assert set(pairs["expected"]) == {"flip", "same", "stronger"}
    assert set(pairs["label"]) == {"POSITIVE", "NEGATIVE"}
    assert (pairs["text"] != pairs["edited"]).all()
    assert pairs.groupby("kind").size().min() >= 12


def test_a_pair_is_passed_only_where_both_answers_are_as_expected():
    rows = [
        # expected, label, P(positive) before and after, passed
        ("flip", "POSITIVE", 0.9, 0.1, True),
        ("flip", "POSITIVE", 0.9, 0.6, False),
        ("flip", "NEGATIVE", 0.2, 0.7, True),
        ("flip", "NEGATIVE", 0.7, 0.9, False),  # wrong to begin with
        ("same", "NEGATIVE", 0.2, 0.4, True),
        ("same", "POSITIVE", 0.9, 0.4, False),
        ("stronger", "POSITIVE", 0.8, 0.9, True),
        ("stronger", "POSITIVE", 0.9992, 0.9989, True),  # no difference
        ("stronger", "NEGATIVE", 0.2, 0.3, False),
        ("stronger", "NEGATIVE", 0.2, 0.1, True),
    ]
    frame = pd.DataFrame(rows, columns=["expected", "label", "before", "after", "passed"])
    frame["kind"], frame["text"], frame["edited"] = frame["expected"], "t", "e"
    answers = np.array([*frame["before"], *frame["after"]])
    found = score_pairs(frame.drop(columns=["before", "after"]), lambda texts: answers)
    assert found["passed"].tolist() == frame["passed"].tolist()
    parts = passed_by_kind(found)
    assert parts["all"]["share"] == pytest.approx(6 / 10)
    assert (parts["flip"]["share"], parts["flip"]["reviews"]) == (0.5, 4)
    assert (parts["keep"]["share"], parts["keep"]["reviews"]) == (pytest.approx(4 / 6), 6)
    assert parts["flip"]["of_first_right"]["reviews"] == 3
    assert parts["flip"]["of_first_right"]["share"] == pytest.approx(2 / 3)
    # Pairs of one effect alone, as in a file of one's own.
    assert set(passed_by_kind(found[found["expected"] == "flip"])) == {"flip", "all"}


def test_pairs_of_ones_own_that_do_not_fit_are_refused_by_their_row(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.evaluation.minimal_pairs.FILE", tmp_path / "own.tsv")
    head, good = "kind\texpected\tlabel\ttext\tedited", 'a\tflip\tPOSITIVE\t"Fine.\tNot fine.'
    (tmp_path / "own.tsv").write_text(f"{head}\n{good}\n")
    assert load_pairs()["text"].tolist() == ['"Fine.']
    for bad, what in (
        ("a\tflip\tPositive\tx\ty", "row 2: the label is not"),
        ("a\tFlip\tPOSITIVE\tx\ty", "row 2: what is expected"),
        ("a\tsame\tPOSITIVE\tx\ty", "row 2: another pair of its kind"),
        ("a\tflip\tPOSITIVE\tx\t", "row 2: a column is empty"),
    ):
        (tmp_path / "own.tsv").write_text(f"{head}\n{good}\n{bad}\n")
        with pytest.raises(InputError, match=what):
            load_pairs()
    (tmp_path / "own.tsv").write_text(good)
    with pytest.raises(InputError, match="it needs kind, expected, label, text, edited"):
        load_pairs()


def published(folder, name: str, rows: list[tuple[str, str]]):
    path = folder / name
    pd.DataFrame(rows, columns=["Sentiment", "Text"]).to_csv(path, sep="\t", index=False)
    return path


def test_published_pairs_are_scored_row_by_row(tmp_path):
    originals = published(tmp_path, "o.tsv", [("Positive", "good"), ("Negative", "bad")])
    edits = published(tmp_path, "e.tsv", [("Negative", "not good"), ("Positive", "good")])

    def predict(texts):
        return np.array(["good" in text for text in texts], dtype=float)

    found = score_published(originals, edits, predict, known=set())
    assert {name: part["share"] for name, part in found.items()} == {
        "originals": 1.0, "edits": 0.5, "both of a pair": 0.5,
    }  # fmt: skip
    # A pair that the model was trained on is not counted.
    found = score_published(originals, edits, predict, known={"not good"})
    assert found["edits"] == share(1, 1)
    with pytest.raises(InputError, match="trained on all"):
        score_published(originals, edits, predict, known={"good"})


def test_published_pairs_that_do_not_fit_are_refused(tmp_path):
    one = published(tmp_path, "one.tsv", [("Positive", "good")])
    two = published(tmp_path, "two.tsv", [("Positive", "good"), ("so-so", "bad")])
    with pytest.raises(InputError, match=r"two.tsv, data row 2: Sentiment is 'so-so'"):
        score_published(one, two, lambda texts: np.ones(len(texts)), set())
    two = published(tmp_path, "two.tsv", [("Positive", "good"), ("Negative", "bad")])
    with pytest.raises(InputError, match=r"1 rows and two.tsv 2"):
        score_published(one, two, lambda texts: np.ones(len(texts)), set())
    (tmp_path / "plain.tsv").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="it needs Sentiment and Text"):
        score_published(tmp_path / "plain.tsv", one, lambda texts: np.ones(len(texts)), set())
