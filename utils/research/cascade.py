"""A cascade: the linear student labels what it is surest of, the released encoder the rest."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils import InputError
from utils.evaluation.calibration import calibration_error
from utils.evaluation.metrics import report, share
from utils.evaluation.minimal_pairs import load_pairs, passed_by_kind, score_pairs
from utils.files import write_json
from utils.hardware import versions
from utils.inference.classifier import Classifier
from utils.manifest import check_manifest
from utils.modeling.baseline import fit_linear_student
from utils.paths import RELEASED
from utils.research.distillation import learnt_from, mean_labels
from utils.research.experiments import CASCADE, EXPERIMENTS
from utils.research.linear_student import LinearStudent, predict_with
from utils.research.plan import Task
from utils.research.runs import Research

Predict = Callable[[list[str]], np.ndarray]  # texts -> probabilities of positive
LINEAR, ENCODER = "linear_student", "distilled_3_teachers"
SHARES = (0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)  # of reviews, left to the linear student


def cascade(linear: Predict, encoder: Predict, margin: float) -> Predict:
    """The linear model where its probability is at least `margin` away from a half, else the other.

    Such are the cascades of Viola and Jones (2001): the cheap model first.
    """

    def predict(texts: list[str]) -> np.ndarray:
        found = linear(texts)
        unsure = np.flatnonzero(np.abs(found - 0.5) < margin)
        if len(unsure):
            found[unsure] = encoder([texts[place] for place in unsure])
        return found

    return predict


def trade(linear: Predict, encoder: Predict, texts: list[str], teachers: np.ndarray) -> list[dict]:
    """For each of SHARES, the cascade's agreement with the teachers, and its reviews a second.

    `teachers` are their probabilities of positive for the texts, (texts,). A row has the share
    `left_to_linear`, the `margin` that leaves it that, and the agreement as a `share`.
    """
    margins = np.sort(np.abs(linear(texts) - 0.5))[::-1]
    rows = []
    for left in SHARES:
        count = round(left * len(texts))
        margin = float(margins[count - 1]) if count else 1.0
        started = time.perf_counter()
        found = cascade(linear, encoder, margin)(texts)
        seconds = time.perf_counter() - started
        same = int(((found >= 0.5) == (teachers >= 0.5)).sum())
        rows.append({"left_to_linear": left, "margin": margin, **share(same, len(texts)),
                     "reviews_per_second": round(len(texts) / seconds, 2)})  # fmt: skip
        print(f"{left:.0%} left to the linear student: {same / len(texts):.1%} as the teachers, "
              f"{len(texts) / seconds:.0f} reviews/s", flush=True)  # fmt: skip
    return rows


def choose(rows: list[dict]) -> dict:
    """The row that leaves most to the linear student, and agrees as often as the encoder alone."""
    alone = next(row for row in rows if row["left_to_linear"] == 0)
    return max((row for row in rows if row["share"] >= alone["share"]),
               key=lambda row: row["left_to_linear"])  # fmt: skip


@dataclass(frozen=True)
class Cascade:
    """One that is measured on held-out reviews, chosen there, and scored on the test."""

    research: Research

    def __str__(self) -> str:
        return f"{CASCADE} of {LINEAR} and the released model"

    def needs(self) -> Iterator[Task]:
        """The linear student's result."""
        yield LinearStudent(self.research, EXPERIMENTS[LINEAR])

    def is_done(self) -> bool:
        """Nothing builds on it: asked for, it is measured anew."""
        return False

    def run(self) -> Path:
        """Measure the trade, choose, score the chosen one, and return the result's file."""
        research, experiment = self.research, EXPERIMENTS[LINEAR]
        reviews, known = research.reviews, research.result(LINEAR)
        released = check_manifest(RELEASED)["run"]["fingerprint"]
        if released != research.result(ENCODER)["fingerprint"]:
            raise InputError(
                f"The released model is not {ENCODER} of these settings and this seed: release it "
                "first, or give the settings of artifacts/model/README.md."
            )
        learnt = research.learnt(experiment)
        linear = predict_with(fit_linear_student(learnt.train, known["features"], known["C"]))
        classifier = Classifier.from_folder(RELEASED)
        texts, _ = research.unlabelled
        rows = slice(learnt_from(texts), len(texts))
        theirs = mean_labels(texts, rows, research.teachers(experiment))
        held_out = texts["text"].iloc[rows].tolist()
        classifier.probabilities(held_out[:100])  # kernels are made for each shape that is new
        traded = trade(linear, classifier.probabilities, held_out, theirs)
        chosen = choose(traded)
        predict = cascade(linear, classifier.probabilities, chosen["margin"])
        asked, labels = reviews.test["text"].tolist(), reviews.test["label"].to_numpy()
        alone = classifier.probabilities(asked)
        by_text = dict(zip(asked, alone, strict=True))  # so that the encoder reads none twice
        again = cascade(linear, lambda some: np.array([by_text[text] for text in some]),
                        chosen["margin"])  # fmt: skip
        pairs = load_pairs()
        result = {
            **research.about(CASCADE),
            **reviews.provenance,
            "models": [LINEAR, ENCODER],
            "runtime": classifier.runtime.name,
            "trade": traded,
            "chosen": chosen,
            "test": report(labels, again(asked)),
            "minimal_pairs": passed_by_kind(score_pairs(pairs, predict)),
            "encoder_alone": {
                "test": report(labels, alone),
                "calibration_error": calibration_error(labels, alone),
                "minimal_pairs": passed_by_kind(score_pairs(pairs, classifier.probabilities)),
            },
            "versions": versions(),
        }
        return write_json(research.path(CASCADE), result)
