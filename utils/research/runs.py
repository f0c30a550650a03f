"""The research's runs: a step trained, compared on validation, scored if asked to; resumable."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from utils import InputError
from utils.backbone import Backbone, build_model, load_backbone
from utils.data import Reviews
from utils.draw import DRAW_SEED
from utils.evaluation import metrics, rounded
from utils.hardware import versions
from utils.inference import Classifier
from utils.recipe import Recipe, fingerprint
from utils.research.adapt import adapt, pretraining_fingerprint
from utils.research.scores import evaluate_baseline, score_run
from utils.research.steps import (
    MLM,
    MLM_SEED,
    PARTS,
    STEPS,
    TFIDF,
    Step,
    built_on,
    describe,
    is_of,
    result_name,
)
from utils.research.teaching import (
    against_teachers,
    label_softly,
    learnt_from,
    soft_labels,
    with_soft_labels,
)
from utils.research.unlabelled import load_unlabelled
from utils.results import Run, sha256, write_json
from utils.settings import Settings, resolve_path
from utils.trainer import make_trainer
from utils.training import fine_tune, load_trained, trained_folder


class Research:
    """The steps on some reviews; results are JSON files in `artifacts/research/`.

    Weights and test predictions are in a folder of the same name, which is not committed.
    """

    def __init__(self, settings: Settings, reviews: Reviews):
        self.settings, self.reviews = settings, reviews
        self.folder = resolve_path(settings.artifacts) / "research"

    def path(self, step: str, which: str, backbone: str | None = None) -> Path:
        """The JSON of a step: `which` is a seed or a part held out, as in seed42, fold3, half0."""
        settings = replace(self.settings, backbone=backbone or self.settings.backbone)
        run = Run.of(settings, self.reviews.name).name
        return self.folder / result_name(step, run, which, self.settings.labels)

    def pretrain(self) -> Path:
        """Go on pretraining the backbone on the reviews without labels that students learn from."""
        texts, counts = load_unlabelled(self.settings, self.reviews)
        texts = texts.head(learnt_from(texts, None))
        path = self.path(MLM, f"seed{MLM_SEED}")
        backbone = load_backbone(self.settings.backbone)
        result = adapt(path.with_suffix(""), backbone, texts, MLM_SEED)
        about = {"labels": self.settings.labels, "draw_seed": DRAW_SEED, "unlabelled": counts}
        return write_json(path, self.reviews.provenance | about | result)

    def score_baseline(self) -> Path:
        """The baseline's score with this budget of labels, for the learning curve."""
        counted = evaluate_baseline(self.reviews)
        del counted["probabilities"]
        result = {
            **self.reviews.provenance,
            "training_sha256": self.reviews.training_sha256,
            "test": counted.pop("report"),
            **counted,
            "versions": versions(),
        }
        return write_json(self.path(TFIDF, f"seed{self.settings.seed}"), result)

    def label(self, step: str, count: int) -> Path:
        """Label reviews that have none with the model of a step, unless that is done."""
        texts, counts = load_unlabelled(self.settings, self.reviews)
        path, model_sha256 = self.labels_of(step, self.settings.seed)
        with suppress(InputError):
            soft_labels(texts, slice(0, min(count, len(texts))), {path: model_sha256})
            if path.with_suffix(".json").exists():
                return path.with_suffix(".json")
        classifier, _ = self.trained(step)
        about = {"unlabelled": counts, "model_sha256": model_sha256}
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

    def result(self, step: str, seed: int, backbone: str | None = None) -> dict:
        """The result of a finished step.

        Raises InputError where there is none, where the step has been changed since, or where it,
        or a teacher of its, was made from other reviews or another split of them.
        """
        path = self.path(step, f"seed{seed}", backbone)
        result = json.loads(path.read_text()) if path.exists() else {}
        teachers = STEPS[step].teachers if step in STEPS else ()
        same = {"reviews_sha256": self.reviews.reviews_sha256}
        if "training_sha256" in result and not teachers:  # of a student it is of soft labels, too
            same["training_sha256"] = self.reviews.training_sha256
        if not same.items() <= result.items() or not is_of(step, result):
            raise InputError(
                f"{path.name} is missing, or of an earlier recipe or other reviews: "
                f"run scripts/research.py {step} "
                f"with {f'BACKBONE={backbone} and ' if backbone else ''}SEED={seed} first."
            )
        for name, teachers_backbone, teachers_seed in teachers:
            self.result(name, teachers_seed, teachers_backbone)
        return result

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
        """What the step starts from."""
        backbone = load_backbone(self.settings.backbone)
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

        Raises InputError where it is of another backbone, or has read the texts of the labels.
        """
        made, path = self.result(MLM, MLM_SEED), self.path(MLM, f"seed{MLM_SEED}")
        expected = pretraining_fingerprint(backbone, made["texts_sha256"], MLM_SEED)
        folder = path.with_suffix("") / made["fingerprint"] / "model"
        if (
            made["fingerprint"] != expected
            or made["labels"] < self.settings.labels  # fewer labels are some of these
            or made["draw_seed"] != DRAW_SEED
            or not folder.exists()
        ):
            raise InputError(
                f"{path.name} is of another backbone, recipe or data, or its weights are not here: "
                f"run scripts/research.py {MLM} with these settings first."
            )
        return load_backbone(str(folder)).weights

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

    def train(self, name: str, part: tuple[str, int] | None, score: bool) -> Path:
        """Train or resume, score if asked to, and return the step's JSON, of its seed or part.

        `part`, such as ("half", 0), is what of the labels is held out, instead of the usual tenth.
        Parts are compared with one seed, the usual one. A finished step is trained again where its
        weights are gone, since others may start from them; a part's nobody needs.
        """
        step, reviews = STEPS[name], self.reviews
        if part:
            if self.settings.seed != Settings.seed:
                raise InputError(f"Halves and folds are compared with SEED={Settings.seed} only.")
            if step.teachers or step.start not in (None, MLM):
                raise InputError(f"{name} learns from models that saw every label: hold none out.")
            kind, number = part
            reviews = reviews.fold(number, PARTS[kind])
        if step.teachers:
            texts, _ = load_unlabelled(self.settings, self.reviews)
            teachers = self.teachers(step)
            count = learnt_from(texts, step.unlabelled)
            reviews = with_soft_labels(reviews, texts, count, teachers)
        kind, number = part or ("seed", self.settings.seed)
        path = self.path(name, f"{kind}{number}")
        run = Run(path.with_suffix(""))
        backbone = self.backbone(step)
        recipe = replace(Recipe(backbone.learning_rate, self.settings.seed), **step.changes)
        old = json.loads(path.read_text()) if path.exists() else {}
        key = fingerprint(backbone, reviews, recipe)
        same = {"fingerprint": key, "reviews_sha256": reviews.reviews_sha256}
        known = old if same.items() <= old.items() else {}
        weights = {"fingerprint": key, "model_sha256": known.get("model_sha256")}
        here = trained_folder(run, key).exists() and run.find("training", **weights)
        scored = {"model_sha256": known.get("model_sha256"), "split_sha256": reviews.split_sha256}
        if score and not run.find("evaluation", **scored):  # not these weights on these reviews
            known = {k: v for k, v in known.items() if k not in ("test", "split_sha256")}
        measured = ["validation_as_served", *(["against_teachers"] if step.teachers else []),
                    *(["test"] if score else [])]  # fmt: skip
        if known.keys() >= set(measured) and (part or here):
            return path
        model = build_model(backbone, self.settings.seed)
        trainer = make_trainer(run, model, backbone, reviews, recipe)
        history = self.history(name, recipe, reviews)
        trained = fine_tune(run, trainer, backbone, reviews, recipe, step=name, history=history)
        if known and known["model_sha256"] != trained["model_sha256"]:
            print("These weights are others than before: what was measured of those is dropped.")
            known = {}
        result = {**built_on(step), **trained, **known}
        del result["training_loss"]
        classifier, _ = load_trained(run, training_sha256=reviews.training_sha256)
        found = classifier.probabilities(reviews.validation["text"].tolist())
        result["validation_as_served"] = {  # up to 512 tokens, however many were trained on
            "accuracy": metrics(reviews.validation["label"], found)["accuracy"],
            "probabilities": rounded(found),
        }
        if step.teachers and (found_by := against_teachers(classifier, texts, teachers)):
            result["against_teachers"] = found_by
        if score and "test" not in known:
            baseline = evaluate_baseline(self.reviews)  # on the labels alone
            result |= score_run(run, reviews, classifier, found, baseline)
        return write_json(path, result)
