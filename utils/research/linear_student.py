"""The linear student: TF-IDF with logistic regression on the teachers' soft labels."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline

from utils import InputError
from utils.evaluation.calibration import calibration_error, fit_temperature, refit_temperature
from utils.evaluation.metrics import accuracy, report
from utils.evaluation.minimal_pairs import load_pairs, passed_by_kind, score_pairs
from utils.evaluation.predictions import rounded
from utils.files import write_json
from utils.formatting import said
from utils.hardware import versions
from utils.modeling.baseline import fit_linear_student
from utils.research.distillation import agreement_with_teachers
from utils.research.experiments import EXPERIMENTS, Experiment
from utils.research.plan import Labelling, Task
from utils.research.runs import Research

C_VALUES = (1, 3, 10)  # of the logistic regression, chosen by agreement with the teachers
FEATURES = 300_000


@dataclass(frozen=True)
class LinearStudent:
    """One that is fitted, measured, and scored on the test."""

    research: Research
    experiment: Experiment

    def __str__(self) -> str:
        return f"{self.experiment.name}, seed {self.research.settings.seed}"

    def needs(self) -> Iterator[Task]:
        """The labels that it learns."""
        for teacher in self.experiment.teachers:
            at = self.research.of(teacher.seed, teacher.backbone)
            yield Labelling(at, EXPERIMENTS[teacher.experiment])

    def is_done(self) -> bool:
        """Whether its result is here, of these reviews, this test and these labels."""
        with suppress(InputError):
            made = self.research.result(self.experiment.name)
            return made["split_sha256"] == self.research.reviews.split_sha256
        return False

    def run(self) -> Path:
        """Choose `C` by agreement with the teachers, score once, and return the result's file."""
        research, teachers = self.research, self.research.teachers(self.experiment)
        texts, _ = research.unlabelled
        learnt = research.learnt(self.experiment)
        agreements, students, started = {}, {}, time.perf_counter()
        for c in C_VALUES:
            students[c] = fit_linear_student(learnt.train, FEATURES, c)
            agreements[c] = agreement_with_teachers(predict_with(students[c]), texts, teachers)
            print(f"C={c}: {said(agreements[c])} of the teachers' labels", flush=True)
        minutes = (time.perf_counter() - started) / 60
        chosen = max(agreements, key=lambda c: agreements[c]["share"])
        predict, reviews = predict_with(students[chosen]), research.reviews
        known, labels = (part["label"].to_numpy() for part in (reviews.validation, reviews.test))
        started = time.perf_counter()
        test = np.array(rounded(predict(reviews.test["text"].tolist())))
        predicting = (time.perf_counter() - started) / 60
        validation = np.array(rounded(predict(reviews.validation["text"].tolist())))
        temperature = fit_temperature(known, validation)
        refitted = refit_temperature(known, validation)
        pairs = passed_by_kind(score_pairs(load_pairs(), predict))
        result = {
            **research.about(self.experiment.name),
            **self.experiment.origin(),
            **reviews.provenance,
            "training_sha256": learnt.training_sha256,
            "softly_labelled_reviews": learnt.softly_labelled,
            "validation_reviews": len(known),
            "C": chosen,
            "features": FEATURES,
            "agreement_by_C": {str(c): found["share"] for c, found in agreements.items()},
            "agreement": agreements[chosen],
            "validation_as_served": {
                "accuracy": accuracy(known, validation), "probabilities": validation.tolist()
            },
            "minutes": round(minutes, 2),
            "predicting_minutes": round(predicting, 2),
            "test": report(labels, test),
            "calibration": {"temperature": temperature, "calibration_error": {
                "before": calibration_error(labels, test),
                "after": calibration_error(labels, test, temperature, refitted),
            }},
            "minimal_pairs": pairs,
            "versions": versions(),
        }  # fmt: skip
        return write_json(research.path(self.experiment.name), result)


def predict_with(model: Pipeline) -> Callable[[list[str]], np.ndarray]:
    """Texts -> the fitted model's probabilities of positive, (texts,)."""
    return lambda texts: model.predict_proba(texts)[:, 1]
