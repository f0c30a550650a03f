"""The research's runs: a step trained, compared on validation, scored if chosen; all resumable."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils import InputError
from utils.adapt import adapt
from utils.agreement import measure
from utils.backbone import Backbone, build_model, load_backbone
from utils.baseline import choose_baseline
from utils.calibration import calibrate
from utils.data import Reviews
from utils.evaluation import evaluate, metrics, predict_test, report, rounded
from utils.hardware import versions
from utils.recipe import Recipe, fingerprint
from utils.results import Run, sha256, write_json
from utils.settings import Settings, resolve_path
from utils.steps import MLM, MLM_SEED, STEPS, TFIDF, Step, describe
from utils.teaching import label_softly, with_soft_labels
from utils.trainer import make_trainer
from utils.training import fine_tune, load_trained
from utils.unlabelled import load_unlabelled


class Research:
    """The steps on some reviews; results are JSON files in `artifacts/research/`.

    Weights and test predictions are in a folder of the same name, which is not committed.
    """

    def __init__(self, settings: Settings, reviews: Reviews):
        self.settings, self.reviews = settings, reviews
        self.folder = resolve_path(settings.artifacts) / "research"
        # Another label budget than the usual one is part of the name: for the learning curve.
        self.budget = "" if settings.labels == Settings.labels else f"-labels{settings.labels}"

    def path(self, step: str, which: str, backbone: str | None = None) -> Path:
        """The JSON of a step: `which` is a seed or a fold, as in seed42."""
        settings = replace(self.settings, backbone=backbone or self.settings.backbone)
        run = Run.of(settings, self.reviews.name).name
        budget = "" if step == MLM else self.budget  # no label is used there
        return self.folder / f"{step}-{run}{budget}-{which}.json"

    def pretrain(self) -> Path:
        """Go on pretraining the backbone on the reviews without labels."""
        texts, counts = load_unlabelled(self.settings, self.reviews)
        path = self.path(MLM, f"seed{MLM_SEED}")
        backbone = load_backbone(self.settings.backbone)
        result = adapt(path.with_suffix(""), backbone, texts, MLM_SEED)
        return write_json(path, self.reviews.provenance | {"unlabelled": counts} | result)

    def count_words(self) -> Path:
        """The baseline of notebook 02 with this label budget, chosen on validation and scored."""
        model, by_strength = choose_baseline(self.reviews.train, self.reviews.validation)
        positive = model.predict_proba(self.reviews.test["text"])[:, 1]
        result = {
            **self.reviews.provenance,
            "training_sha256": self.reviews.training_sha256,
            "labels": self.settings.labels,
            "C": max(by_strength, key=by_strength.get),
            "validation_accuracy": max(by_strength.values()),
            "test": report(self.reviews.test["label"].to_numpy(), positive),
            "versions": versions(),
        }
        return write_json(self.path(TFIDF, f"seed{self.settings.seed}"), result)

    def label(self, step: str, count: int) -> Path:
        """Label reviews that have none with the model of a step."""
        texts, counts = load_unlabelled(self.settings, self.reviews)
        path = self.path(step, f"seed{self.settings.seed}")
        classifier, trained = self.trained(path)
        path = path.with_name(f"{path.stem}-labels.npz")
        about = {"unlabelled": counts, "model_sha256": trained["model_sha256"]}
        labelled = label_softly(classifier, texts, count, path, about)
        result = {
            **self.reviews.provenance,
            **about,
            "labels_sha256": sha256(path),
            "labelled": len(labelled["labels"]),
            "minutes": round(labelled["seconds"] / 60, 2),
            "versions": versions(),
        }
        return write_json(path.with_suffix(".json"), result)

    def trained(self, path: Path):
        """The model of a finished step, and its result."""
        if not path.exists():
            raise InputError(f"{path.name} is missing: run that step with its seed first.")
        return load_trained(Run(path.with_suffix("")))

    def backbone(self, step: Step) -> Backbone:
        """What the step starts from."""
        backbone = load_backbone(self.settings.backbone)
        if step.start is None:
            return backbone
        path = self.path(step.start, f"seed{MLM_SEED if step.start == MLM else self.settings.seed}")
        if not path.exists():
            raise InputError(f"{path.name} is missing: run scripts/research.py {step.start} first.")
        if step.start == MLM:
            pretrained = load_backbone(str(path.with_suffix("") / "model"))
            return replace(backbone, weights=pretrained.weights)
        model = self.trained(path)[0].model
        encoder, head = (
            {name: value.cpu() for name, value in part.state_dict().items()}
            for part in (model.base_model, model.head)
        )
        return replace(backbone, weights=encoder, head=head)

    def history(self, name: str, recipe: Recipe, reviews: Reviews) -> list[str]:
        """What was done to the pretrained encoder, step by step, for the card of a model."""
        step, earlier = STEPS[name], []
        if step.start == MLM:
            texts = json.loads(self.path(MLM, f"seed{MLM_SEED}").read_text())["reviews"]
            earlier = [f"masked language modelling on {texts:,} reviews without their labels"]
        elif step.start:
            start = Run(self.path(step.start, f"seed{recipe.seed}").with_suffix(""))
            earlier = start.load("training")["history"]
        soft = f", on {reviews.softly_labelled:,} of their reviews" if step.teachers else ""
        return [*earlier, f"{name}: {describe(recipe, replace(step, start=None))}{soft}"]

    def train(self, name: str, fold: int | None, score: bool) -> Path:
        """Train or resume, score if asked to, and return the JSON of this step's seed or fold."""
        step, reviews = STEPS[name], self.reviews
        if fold is not None:
            if step.teachers or step.start not in (None, MLM):
                raise InputError(f"{name} learns from models that saw every fold: give no --folds.")
            reviews = reviews.fold(fold)
        if step.teachers:
            texts, _ = load_unlabelled(self.settings, self.reviews)
            found = [self.path(teacher, f"seed{seed}", backbone)
                     for teacher, backbone, seed in step.teachers]  # fmt: skip
            labels = [path.with_name(f"{path.stem}-labels.npz") for path in found]
            reviews = with_soft_labels(reviews, texts, step.unlabelled or len(texts), labels)
        path = self.path(name, f"seed{self.settings.seed}" if fold is None else f"fold{fold}")
        run = Run(path.with_suffix(""))
        backbone = self.backbone(step)
        recipe = replace(Recipe(backbone.learning_rate, self.settings.seed), **step.changes)
        old = json.loads(path.read_text()) if path.exists() else {}
        same = old.get("fingerprint") == fingerprint(backbone, reviews, recipe)
        known = old if same else {}
        if "validation_as_served" in known and ("test" in known or not score):
            return path
        if score:  # before the work begins: it may be missing
            baseline = Run.of(self.settings, reviews.name).load(
                "baseline", split_sha256=self.reviews.split_sha256
            )
        model = build_model(backbone, self.settings.seed)
        trainer = make_trainer(run, model, backbone, reviews, recipe)
        history = self.history(name, recipe, reviews)
        trained = fine_tune(run, trainer, backbone, reviews, recipe, step=name, history=history)
        result = {**known, **trained}
        del result["training_loss"]
        classifier, _ = load_trained(run, training_sha256=reviews.training_sha256)
        found = classifier.probabilities(reviews.validation["text"].tolist())
        result["validation_as_served"] = {  # up to 512 tokens, however many were trained on
            "accuracy": metrics(reviews.validation["label"], found)["accuracy"],
            "probabilities": rounded(found),
        }
        if score and "test" not in known:
            result |= test_results(run, reviews, found, baseline)
        return write_json(path, result)


def test_results(run: Run, reviews: Reviews, validation: np.ndarray, baseline: dict) -> dict:
    """The test's metrics, and where bf16 was computed what that changed on validation.

    What a card says of the model is saved in its run, as the notebooks do for theirs.
    """
    classifier, trained = load_trained(run)
    probabilities = predict_test(run, reviews, classifier, trained)
    found = evaluate(run, reviews, probabilities, trained, baseline)
    calibrate(run, reviews, validation, probabilities)
    copies = {}
    if classifier.model.config.model_type == "distilbert":  # the teacher is not exported
        copies = measure(run, classifier, trained, reviews.validation)
    return {
        "test": found["model"],
        "predicting_minutes": found["minutes"],
        "predictions_sha256": hashlib.sha256(probabilities.tobytes()).hexdigest(),
        **({"bf16": copies["bf16"]} if "bf16" in copies else {}),
    }
