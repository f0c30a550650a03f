"""What of the research is there: results of steps, weights to start from, labels to learn."""

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
from utils.research.distillation import learnt_from, with_soft_labels
from utils.research.experiments import MLM, MLM_SEED, STEPS, Step, describe, is_of, result_name
from utils.research.pretraining import pretraining_fingerprint
from utils.results import Run
from utils.settings import Settings
from utils.training.fine_tune import load_trained
from utils.training.recipe import Recipe


class Research:
    """The steps on some reviews; results are JSON files in `artifacts/research/`.

    Weights and test predictions are in a folder of the same name, which is not committed.
    """

    def __init__(self, settings: Settings, reviews: Reviews):
        self.settings, self.reviews = settings, reviews
        self.folder = resolve_path(settings.artifacts) / "research"

    @cached_property
    def unlabelled(self) -> tuple[pd.DataFrame, dict[str, int]]:
        """What `load_unlabelled` returns for these reviews."""
        return load_unlabelled(self.settings, self.reviews)

    def path(self, step: str, which: str, backbone: str | None = None) -> Path:
        """The JSON of a step: `which` is a seed or a part held out, as in seed42, fold3, half0."""
        settings = replace(self.settings, backbone=backbone or self.settings.backbone)
        run = Run.of(settings, self.reviews.name).name
        return self.folder / result_name(step, run, which, self.settings.labels)

    def result(self, step: str, seed: int, backbone: str | None = None) -> dict:
        """The result of a finished step.

        Raises InputError where there is none, where the step has been changed since, or where it
        was made from other reviews, another split of them or, a student, from other soft labels.
        """
        path = self.path(step, f"seed{seed}", backbone)
        result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        same = {"reviews_sha256": self.reviews.reviews_sha256}
        if "training_sha256" in result:  # pretraining has none: see `pretrained`
            same["training_sha256"] = self.learnt(STEPS[step], self.reviews).training_sha256
        if not same.items() <= result.items() or not is_of(step, result):
            raise InputError(
                f"{path.name} is missing, or of an earlier recipe or other reviews: "
                f"run scripts/research.py {step} "
                f"with {f'BACKBONE={backbone} and ' if backbone else ''}SEED={seed} first."
            )
        return result

    def learnt(self, step: Step, reviews: Reviews) -> Reviews:
        """The reviews as the step learns them: with its teachers' labels, where it has any."""
        if not step.teachers:
            return reviews
        texts, _ = self.unlabelled
        count = learnt_from(texts, step.unlabelled)
        return with_soft_labels(reviews, texts, count, self.teachers(step))

    def trained(self, step: str) -> tuple[Classifier, dict]:
        """The model of a finished step, and its result.

        Raises InputError where its weights are gone, as from a clone, or of another training.
        """
        seed = self.settings.seed
        model_sha256 = self.result(step, seed)["model_sha256"]
        run = Run(self.path(step, f"seed{seed}").with_suffix(""))
        try:
            return load_trained(run, model_sha256=model_sha256)
        except InputError as error:
            raise InputError(
                f"The weights of {run.name} are not here, or of another training: run "
                f"scripts/research.py {step} with SEED={seed} first."
            ) from error

    def backbone(self, step: Step) -> Backbone:
        """What the step starts from.

        Raises InputError where it is not here, or the step is for encoders of another layout.
        """
        backbone = load_backbone(self.settings.backbone, teacher=True)
        own = step.start or step.teachers or {"usual", "layer_decay"} & step.changes.keys()
        if own and backbone.config.model_type != "distilbert":
            raise InputError(f"This step is for encoders in DistilBERT's layout, which "
                             f"{backbone.title} is not: give another BACKBONE.")  # fmt: skip
        if step.start is None:
            return backbone
        if step.start == MLM:
            return replace(backbone, weights=self.pretrained(backbone))
        model = self.trained(step.start)[0].model
        encoder, head = (
            {name: value.cpu() for name, value in part.state_dict().items()}
            for part in (model.base_model, model.head)
        )
        return replace(backbone, weights=encoder, head=head)

    def pretrained(self, backbone: Backbone) -> dict[str, torch.Tensor]:
        """The weights of the backbone that was pretrained further.

        It may be of more labels than these. Raises InputError where it is of another backbone, or
        of a split of the reviews from which it has read what is now a label's text or the test's.
        """
        made, path = self.result(MLM, MLM_SEED), self.path(MLM, f"seed{MLM_SEED}")
        then = self
        if made["labels"] > self.settings.labels:
            settings = replace(self.settings, labels=made["labels"])
            then = Research(settings, load_reviews(settings))
        texts, _ = then.unlabelled
        read = hash_of(texts.head(learnt_from(texts, None)))
        expected = pretraining_fingerprint(backbone, read, MLM_SEED)
        folder = path.with_suffix("") / expected / "model"
        if made["fingerprint"] != expected or not self.budget <= then.budget or not folder.exists():
            raise InputError(
                f"{path.name} is of another backbone, recipe, data or version of transformers, or "
                f"its weights are not here: run scripts/research.py {MLM} with these settings "
                "first."
            )
        return load_backbone(str(folder)).weights

    @property
    def budget(self) -> set[str]:
        """The hashes of the labelled texts."""
        return {*self.reviews.train["hash"], *self.reviews.validation["hash"]}

    def history(self, name: str, recipe: Recipe, reviews: Reviews) -> list[str]:
        """What was done to the pretrained encoder, step by step, for the card of a model."""
        step, earlier = STEPS[name], []
        if step.start == MLM:
            texts = self.result(MLM, MLM_SEED)["reviews"]
            earlier = [f"masked language modelling on {texts:,} reviews without their labels"]
        elif step.start:
            earlier = self.result(step.start, recipe.seed).get("history", [])
        soft = f" ({reviews.softly_labelled:,})" if step.teachers else ""
        return [*earlier, f"{name}: {describe(recipe, replace(step, start=None))}{soft}"]

    def labels_of(self, step: str, seed: int, backbone: str | None = None) -> tuple[Path, str]:
        """The file of a step's labels, and the hash of the model they must be of."""
        path = self.path(step, f"seed{seed}", backbone)
        model_sha256 = self.result(step, seed, backbone)["model_sha256"]
        return path.with_name(f"{path.stem}-labels.npz"), model_sha256

    def teachers(self, step: Step) -> dict[Path, str]:
        """The same of each of its teachers."""
        return dict(self.labels_of(name, seed, backbone) for name, backbone, seed in step.teachers)
