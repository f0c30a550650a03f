"""The cascade: who answers what, what is chosen, and that it is measured."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from utils import InputError
from utils.research import cascade as module
from utils.research.cascade import Cascade, cascade, choose, trade

SURE = {"great": 0.99, "dull": 0.02, "odd": 0.55, "strange": 0.41}


def linear(texts):
    return np.array([SURE[text] for text in texts])


def test_the_encoder_reads_only_what_the_linear_student_is_unsure_of():
    asked = []

    def encoder(texts):
        asked.extend(texts)
        return np.full(len(texts), 0.1)

    found = cascade(linear, encoder, 0.3)(["odd", "great", "strange", "dull"])
    assert asked == ["odd", "strange"]
    assert found.tolist() == [0.1, 0.99, 0.1, 0.02]
    asked.clear()
    assert cascade(linear, encoder, 0.0)(["odd"]).tolist() == [0.55]
    assert not asked


def test_the_trade_goes_from_the_encoder_alone_to_the_linear_student_alone(monkeypatch):
    monkeypatch.setattr(module, "SHARES", (0, 0.5, 1))
    texts = ["great", "dull", "odd", "strange"]
    teachers = np.array([0.9, 0.1, 0.2, 0.3])
    rows = trade(linear, lambda some: np.full(len(some), 0.1), texts, teachers)
    # The encoder errs on "great", the linear student on "odd"; together they err on none.
    assert [row["share"] for row in rows] == [0.75, 1.0, 0.75]
    assert choose(rows)["left_to_linear"] == 1  # as often as the encoder alone
    rows[-1]["share"] = 0.7
    assert choose(rows)["left_to_linear"] == 0.5


@pytest.fixture
def research(tmp_path, monkeypatch):
    """What a cascade asks of the research, with two words that say all."""
    texts = ["great fun", "dull thing"] * 50
    labels = [1, 0] * 50
    frame = pd.DataFrame({"text": texts, "label": labels})
    frame["hash"] = [f"h{place}" for place in range(100)]
    frame["probability"] = frame["label"].astype(float)
    monkeypatch.setattr(module, "mean_labels", lambda all_texts, rows, teachers: labels[rows])
    monkeypatch.setattr(module, "check_manifest", lambda folder: {"run": {"fingerprint": "f"}})
    monkeypatch.setattr(module.Classifier, "from_folder", lambda folder: SimpleNamespace(
        runtime=SimpleNamespace(name="torch, fp32"),
        probabilities=lambda texts: np.full(len(texts), 0.6),
    ))  # fmt: skip
    labels = np.array(labels, float)
    return SimpleNamespace(
        reviews=SimpleNamespace(test=frame, provenance={"dataset": "made-up"}),
        result=lambda name: {"fingerprint": "f", "features": 10, "C": 1.0},
        learnt=lambda experiment: SimpleNamespace(train=frame),
        unlabelled=(frame, {}),
        teachers=lambda experiment: [],
        about=lambda name: {"experiment": name},
        path=lambda name: tmp_path / f"{name}.json",
    )


def test_a_cascade_is_chosen_on_held_out_reviews_and_scored(research):
    result = json.loads(Cascade(research).run().read_text())
    assert result["chosen"]["left_to_linear"] == 1  # the encoder here knows one class alone
    assert result["test"]["metrics"]["accuracy"]["value"] == 1
    assert result["encoder_alone"]["test"]["metrics"]["accuracy"]["value"] == 0.5
    assert result["trade"][0]["share"] == 0.5
    assert {"flip", "keep"} <= result["minimal_pairs"].keys()


def test_a_released_model_of_another_training_is_no_part_of_it(research, monkeypatch):
    monkeypatch.setattr(module, "check_manifest", lambda folder: {"run": {"fingerprint": "g"}})
    with pytest.raises(InputError, match="The released model is not distilled_3_teachers"):
        Cascade(research).run()
