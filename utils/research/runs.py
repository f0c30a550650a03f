"""What of the experiments is there: results, weights to start from, soft labels to learn."""

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch

from utils import InputError
from utils.data.reviews import Reviews, load_reviews
from utils.data.unlabelled import hash_of, load_unlabelled
from utils.inference.classifier import Classifier
from utils.modeling.backbones import Backbone, load_backbone
from utils.paths import resolve_path
from utils.research.distillation import SoftLabels, learnt_from, with_soft_labels
from utils.research.experiments import EXPERIMENTS, TAPT, TAPT_SEED, Experiment, Teacher, is_of
from utils.research.pretraining import pretraining_fingerprint
from utils.results import Run
from utils.settings import Settings
from utils.training.fine_tune import load_trained


class Research:
    """The experiments on some reviews; results are JSON files in `artifacts/research/`.

    Weights and test predictions are in a folder of the same name, which is not committed.
    """

    def __init__(self, settings: Settings, reviews: Reviews):
        self.settings, self.reviews = settings, reviews
        self.folder = resolve_path(settings.artifacts) / "research"

    def of(self, seed: int | None = None, backbone: str | None = None) -> "Research":
        """The same on these reviews, with another seed or backbone."""
        seed = self.settings.seed if seed is None else seed
        backbone = backbone or self.settings.backbone
        return Research(replace(self.settings, seed=seed, backbone=backbone), self.reviews)

    @cached_property
    def unlabelled(self) -> tuple[pd.DataFrame, dict[str, int]]:
        """What `load_unlabelled` returns for these reviews."""
        return load_unlabelled(self.settings, self.reviews)

    @property
    def run(self) -> str:
        """`<dataset>-<backbone>`."""
        return Run.of(self.settings, self.reviews.name).name

    def about(self, name: str, fold: int | None = None) -> dict:
        """The fields by which tables find a result of these settings."""
        return {"experiment": name, "run": self.run, "labels": self.settings.labels,
                "seed": self.settings.seed, "fold": fold}  # fmt: skip

    def path(self, name: str, fold: int | None = None) -> Path:
        """The JSON of an experiment with these settings; pretraining uses no label."""
        which = f"seed{self.settings.seed}" if fold is None else f"fold{fold}"
        usual = name == TAPT or self.settings.labels == Settings.labels
        budget = "" if usual else f"-labels{self.settings.labels}"
        return self.folder / f"{name}-{self.run}{budget}-{which}.json"

    def weights(self, name: str, fold: int | None = None) -> Run:
        """The folder of a training's weights and predictions."""
        return Run(self.path(name, fold).with_suffix(""))

    def result(self, name: str) -> dict:
        """The result of a finished experiment.

        Raises InputError where there is none, where the experiment has been changed since, or where
        it was made from other reviews, another split of them or, a student, other soft labels.
        """
        path = self.path(name)
        result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        same = {"reviews_sha256": self.reviews.reviews_sha256}
        current = name == TAPT
        if name in EXPERIMENTS:
            experiment = EXPERIMENTS[name]
            same["training_sha256"] = self.learnt(experiment).training_sha256
            current = is_of(experiment, result)
        if not current or not same.items() <= result.items():
            raise InputError(
                f"{path.name} is missing, or of an earlier recipe or other reviews: run "
                f"scripts/research.py {name} with BACKBONE={self.settings.backbone} and "
                f"SEED={self.settings.seed} first."
            )
        return result

    def learnt(self, experiment: Experiment, reviews: Reviews | None = None) -> Reviews:
        """The reviews as the experiment learns them: with its teachers' labels, if it has any."""
        reviews = reviews or self.reviews
        if not experiment.teachers:
            return reviews
        texts, _ = self.unlabelled
        return with_soft_labels(reviews, texts, self.teachers(experiment))

    def trained(self, name: str) -> tuple[Classifier, dict]:
        """The model of a finished experiment, and its result.

        Raises InputError where its weights are gone, as from a clone, or of another training.
        """
        model_sha256 = self.result(name)["model_sha256"]
        run = self.weights(name)
        try:
            return load_trained(run, model_sha256=model_sha256)
        except InputError as error:
            raise InputError(
                f"The weights of {run.name} are not here, or of another training: run "
                f"scripts/research.py {name} with SEED={self.settings.seed} first."
            ) from error

    def backbone(self, experiment: Experiment) -> Backbone:
        """What the experiment starts from.

        Raises InputError where it is not here, or the experiment is for another layout.
        """
        backbone = load_backbone(self.settings.backbone, teacher=True)
        if (experiment.tapt or experiment.teachers) and backbone.config.model_type != "distilbert":
            raise InputError(f"{experiment.name} is for encoders in DistilBERT's layout, which "
                             f"{backbone.title} is not: give another BACKBONE.")  # fmt: skip
        if not experiment.tapt:
            return backbone
        return replace(backbone, weights=self.pretrained(backbone))

    def pretrained(self, backbone: Backbone) -> dict[str, torch.Tensor]:
        """The weights of the backbone after task-adaptive pretraining.

        It may be of more labels than these. Raises InputError where it is of another backbone, or
        of a split of the reviews from which it has read what is now a label's text or the test's.
        """
        at = self.of(seed=TAPT_SEED)
        made, then = at.result(TAPT), self
        if made["labels"] > self.settings.labels:
            settings = replace(self.settings, labels=made["labels"])
            then = Research(settings, load_reviews(settings))
        texts, _ = then.unlabelled
        read = hash_of(texts.head(learnt_from(texts)))
        expected = pretraining_fingerprint(backbone, read, TAPT_SEED)
        folder = at.path(TAPT).with_suffix("") / expected / "model"
        if made["fingerprint"] != expected or not self.budget <= then.budget or not folder.exists():
            raise InputError(
                f"{at.path(TAPT).name} is of another backbone, recipe, data or version of "
                f"transformers, or its weights are not here: run scripts/research.py {TAPT} with "
                "these settings first."
            )
        return load_backbone(str(folder)).weights

    @property
    def budget(self) -> set[str]:
        """The hashes of the labelled texts."""
        return {*self.reviews.train["hash"], *self.reviews.validation["hash"]}

    def history(self, experiment: Experiment) -> list[str]:
        """What was done to the pretrained encoder, for the card of a model, and notes on it."""
        done = []
        if experiment.tapt:
            read = self.of(seed=TAPT_SEED).result(TAPT)["reviews"]
            done.append("Task-adaptive pretraining: masked language modelling on "
                        f"{read:,} unlabelled reviews, of which a few hundred only watched the "
                        "loss.")  # fmt: skip
        if not experiment.teachers:
            return [*done, "Fine-tuning on the labels."]
        learnt = self.learnt(experiment).softly_labelled
        text = f"{experiment.title}: fine-tuning on the labels, and on the mean probabilities of "
        text += f"{len(experiment.teachers)} for {learnt:,} unlabelled reviews. {experiment.note}"
        return [*done, text.strip()]

    def soft_labels(self, teacher: Teacher) -> SoftLabels:
        """Where a teacher's labels are, and the hash of the model they must be of."""
        at = self.of(teacher.seed, teacher.backbone)
        path = at.path(teacher.experiment)
        model_sha256 = at.result(teacher.experiment)["model_sha256"]
        return SoftLabels(teacher, path.with_name(f"{path.stem}-labels.npz"), model_sha256)

    def teachers(self, experiment: Experiment) -> list[SoftLabels]:
        """The same of each of its teachers."""
        return [self.soft_labels(teacher) for teacher in experiment.teachers]
