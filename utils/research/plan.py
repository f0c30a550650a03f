"""What scripts/research.py does: tasks that know what they need, and whether they are done."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from utils import InputError
from utils.data.reviews import Reviews
from utils.data.splits import DRAW_SEED
from utils.evaluation.calibration import calibrate
from utils.evaluation.metrics import accuracy, report
from utils.evaluation.predictions import evaluate, predict_test, rounded
from utils.export.parity import measure
from utils.files import sha256, write_json
from utils.hardware import versions
from utils.inference.classifier import Classifier
from utils.modeling.backbones import build_model, load_backbone
from utils.modeling.baseline import choose_baseline
from utils.research.distillation import (
    SoftLabels,
    agreement_with_teachers,
    label_softly,
    learnt_from,
    mean_labels,
)
from utils.research.experiments import (
    BASELINE,
    EXPERIMENTS,
    FOLDS,
    TAPT,
    TAPT_SEED,
    Experiment,
    Teacher,
)
from utils.research.pretraining import pretrain
from utils.research.runs import Research
from utils.settings import Settings
from utils.training.fine_tune import fine_tune, load_trained, trained_folder
from utils.training.fingerprint import fingerprint
from utils.training.trainer import make_trainer


class Task(Protocol):
    """One thing to do, which writes a file of results."""

    def needs(self) -> Iterator["Task"]:
        """What is to be done before it."""

    def is_done(self) -> bool:
        """Whether nothing of it is left to do."""

    def run(self) -> Path:
        """Do it, or what is left of it; returns the result's file."""


@dataclass(frozen=True)
class Pretraining:
    """Task-adaptive pretraining of the backbone on the unlabelled reviews."""

    research: Research

    def __str__(self) -> str:
        return f"{TAPT} of {self.research.settings.backbone}"

    def needs(self) -> Iterator["Task"]:
        """Nothing."""
        yield from ()

    def is_done(self) -> bool:
        """Whether its weights are here, and of these reviews."""
        with suppress(InputError):
            self.research.pretrained(load_backbone(self.research.settings.backbone, teacher=True))
            return True
        return False

    def run(self) -> Path:
        """Pretrain, or resume; returns the result's file."""
        research = self.research.of(seed=TAPT_SEED)
        texts, counts = research.unlabelled
        texts = texts.head(learnt_from(texts))
        path = research.path(TAPT)
        backbone = load_backbone(research.settings.backbone, teacher=True)
        result = pretrain(path.with_suffix(""), backbone, texts, TAPT_SEED)
        about = research.about(TAPT) | {"draw_seed": DRAW_SEED, "unlabelled": counts}
        return write_json(path, research.reviews.provenance | result | about)


@dataclass(frozen=True)
class Baseline:
    """TF-IDF with this budget of labels, for the learning curve."""

    research: Research

    def __str__(self) -> str:
        return f"{BASELINE} with {self.research.settings.labels:,} labels"

    def needs(self) -> Iterator["Task"]:
        """Nothing."""
        yield from ()

    def is_done(self) -> bool:
        """It takes seconds, so it is always made anew."""
        return False

    def run(self) -> Path:
        """Choose C on validation, score it, and return the result's file."""
        counted = evaluate_baseline(self.research.reviews)
        result = {
            **self.research.about(BASELINE),
            **self.research.reviews.provenance,
            "training_sha256": self.research.reviews.training_sha256,
            "test": counted["report"],
            "C": counted["C"],
            "validation_accuracy": counted["validation_accuracy"],
            "versions": versions(),
        }
        return write_json(self.research.path(BASELINE), result)


@dataclass(frozen=True)
class Labelling:
    """Soft labels of an experiment's model for the first `count` unlabelled reviews (None: all)."""

    research: Research
    experiment: Experiment
    count: int | None = None

    def __str__(self) -> str:
        settings = self.research.settings
        return f"soft labels of {self.experiment.name}, {settings.backbone}, seed {settings.seed}"

    def needs(self) -> Iterator["Task"]:
        """The model that labels."""
        yield Training(self.research, self.experiment)

    def _labels(self) -> SoftLabels:
        settings = self.research.settings
        itself = Teacher(self.experiment.name, settings.seed, settings.backbone)
        return self.research.soft_labels(itself)

    def is_done(self) -> bool:
        """Whether so many labels of this model are here, as they were saved."""
        texts, _ = self.research.unlabelled
        count = len(texts) if self.count is None else min(self.count, len(texts))
        with suppress(InputError):
            labels = self._labels()
            mean_labels(texts, slice(0, count), [labels])
            known = labels.path.with_suffix(".json")
            result = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
            return result.get("labels_sha256") == sha256(labels.path)
        return False

    def run(self) -> Path:
        """Label what is not labelled yet; returns the file that describes the labels."""
        texts, counts = self.research.unlabelled
        classifier, trained = self.research.trained(self.experiment.name)
        path = self._labels().path
        about = {"unlabelled": counts, "model_sha256": trained["model_sha256"]}
        count = len(texts) if self.count is None else self.count
        labelled = label_softly(classifier, texts, count, path, about)
        result = {
            "soft_labels_of": self.research.about(self.experiment.name),
            **self.research.reviews.provenance,
            **about,
            "labels_sha256": sha256(path),
            "labelled": len(labelled["labels"]),
            "minutes": round(labelled["seconds"] / 60, 2),
            "versions": versions(),
        }
        return write_json(path.with_suffix(".json"), result)


@dataclass(frozen=True)
class Training:
    """One training of an experiment: with a seed, or, of FOLDS, on all labels but a `fold`'s."""

    research: Research
    experiment: Experiment
    fold: int | None = None
    score: bool = False  # on the test, too

    def __str__(self) -> str:
        settings = self.research.settings
        which = f"seed {settings.seed}" if self.fold is None else f"fold {self.fold} of {FOLDS}"
        scored = ", scored on the test" if self.score else ""
        return f"{self.experiment.name}, {settings.backbone}, {which}{scored}"

    def needs(self) -> Iterator["Task"]:
        """The pretraining it starts from, and the labels that it learns."""
        if self.experiment.tapt:
            yield Pretraining(self.research)
        for teacher in self.experiment.teachers:
            at = self.research.of(teacher.seed, teacher.backbone)
            yield Labelling(at, EXPERIMENTS[teacher.experiment], None)

    def is_done(self) -> bool:
        """Whether all is measured; a seed's weights must be here, since others start from them."""
        try:
            result, key = self._known()
        except InputError:  # of what it builds on
            return False
        missing = self._measures().keys() - result.keys()
        return not missing and (self.fold is not None or self._weights_are_here(result, key))

    def run(self) -> Path:
        """Train or resume, measure what is not measured, and return the result's file."""
        result, _ = self._known()
        backbone, reviews, recipe = self._ingredients()
        run = self.research.weights(self.experiment.name, self.fold)
        model = build_model(backbone, recipe.seed)
        trainer = make_trainer(run, model, backbone, reviews, recipe)
        about = {"history": self.research.history(self.experiment)}
        trained = fine_tune(run, trainer, backbone, reviews, recipe, **about)
        if result and result["model_sha256"] != trained["model_sha256"]:
            print("These weights are others than before: what was measured of those is dropped.")
            result = {}
        trained.pop("training_loss")
        result = self.experiment.origin() | trained | result
        result |= self.research.about(self.experiment.name, self.fold)
        classifier, _ = load_trained(run, training_sha256=reviews.training_sha256)
        for name, measured in self._measures().items():
            if name not in result:
                result |= measured(classifier, reviews)
        return write_json(self.research.path(self.experiment.name, self.fold), result)

    def _ingredients(self):
        if self.fold is not None:
            if self.research.settings.seed != Settings.seed:
                raise InputError(f"Folds are compared with SEED={Settings.seed} only.")
            if self.experiment.teachers:
                raise InputError(f"{self.experiment.name} learns from models that saw every label: "
                                 "it cannot be cross-validated.")  # fmt: skip
        backbone = self.research.backbone(self.experiment)
        reviews = self.research.reviews
        if self.fold is not None:
            reviews = reviews.fold(self.fold, FOLDS)
        recipe = self.experiment.recipe(backbone.learning_rate, self.research.settings.seed)
        return backbone, self.research.learnt(self.experiment, reviews), recipe

    def _known(self) -> tuple[dict, str]:
        """What is measured of this very training already, and its fingerprint."""
        backbone, reviews, recipe = self._ingredients()
        path = self.research.path(self.experiment.name, self.fold)
        result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        key = fingerprint(backbone, reviews, recipe)
        same = {
            "reviews_sha256": reviews.reviews_sha256,
            "training_sha256": reviews.training_sha256,
            "recipe": asdict(recipe),
        }
        if not same.items() <= result.items():
            return {}, key
        run = self.research.weights(self.experiment.name, self.fold)
        scored = {"model_sha256": result["model_sha256"], "split_sha256": reviews.split_sha256}
        current = result.get("split_sha256") == reviews.split_sha256
        if self.score and not (current and run.find("evaluation", **scored)):
            result = {k: v for k, v in result.items() if k not in ("test", "split_sha256")}
        return result, key

    def _weights_are_here(self, result: dict, key: str) -> bool:
        run = self.research.weights(self.experiment.name, self.fold)
        saved = {"fingerprint": key, "model_sha256": result["model_sha256"]}
        return trained_folder(run, key).exists() and run.find("training", **saved) is not None

    def _measures(self) -> dict[str, Callable[[Classifier, Reviews], dict]]:
        """What is to be measured, by the field of the result that it gives."""
        measures = {"validation_as_served": self._validate}
        if self.experiment.teachers:
            measures["agreement"] = self._agree
        if self.score:
            measures["test"] = self._score
        return measures

    def _validate(self, classifier: Classifier, reviews: Reviews) -> dict:
        """On validation, read up to 512 tokens, however many were trained on."""
        found = classifier.probabilities(reviews.validation["text"].tolist())
        return {
            "validation_as_served": {
                "accuracy": accuracy(reviews.validation["label"], found),
                "probabilities": rounded(found),
            }
        }

    def _agree(self, classifier: Classifier, reviews: Reviews) -> dict:
        texts, _ = self.research.unlabelled
        teachers = self.research.teachers(self.experiment)
        found = agreement_with_teachers(classifier.probabilities, texts, teachers)
        return {"agreement": found}

    def _score(self, classifier: Classifier, reviews: Reviews) -> dict:
        """On the test, once; and what a card says of the model is saved in its run."""
        run = self.research.weights(self.experiment.name, self.fold)
        trained = run.load("training")
        probabilities = predict_test(run, reviews, classifier, trained)
        baseline = evaluate_baseline(self.research.reviews)  # on the labels alone
        found = evaluate(run, reviews, probabilities, trained, baseline)
        validation = classifier.probabilities(reviews.validation["text"].tolist())
        calibration = calibrate(run, reviews, validation, probabilities)
        kept = ("temperature", "temperature_interval", "calibration_error", "log_loss")
        copies = {}
        if classifier.model.config.model_type == "distilbert":  # the teacher is not exported
            copies = measure(run, classifier, trained, reviews.validation)
        return {
            "test": found["model"],
            "predicting_minutes": found["minutes"],
            "predictions_sha256": hashlib.sha256(np.array(probabilities).tobytes()).hexdigest(),
            "calibration": {name: calibration[name] for name in kept},
            "split_sha256": reviews.split_sha256,
            **{name: copy for name, copy in copies.items() if isinstance(copy, dict)},
        }


def plan(task: Task) -> list[Task]:
    """The tasks that are to be run for one, in their order, with itself where it is not done."""
    if task.is_done():
        return []
    tasks = [before for need in task.needs() for before in plan(need)]
    return list({str(one): one for one in [*tasks, task]}.values())


def evaluate_baseline(reviews: Reviews) -> dict:
    """The baseline of notebook 02 with these labels, chosen on validation and scored."""
    model, by_c = choose_baseline(reviews.train, reviews.validation)
    positive = rounded(model.predict_proba(reviews.test["text"])[:, 1])
    return {
        "C": max(by_c, key=by_c.get),
        "validation_accuracy": max(by_c.values()),
        "report": report(reviews.test["label"].to_numpy(), positive),
        "probabilities": positive,
    }
