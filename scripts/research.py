"""The steps of the research: trained, compared on validation, and scored if chosen.

Example: SOURCE=path/to/imdb BACKBONE=minilm python scripts/research.py plain --folds 0 1 2

What is to be compared is cross-validated inside the label budget first (--folds); only what was
chosen is then trained with a seed or several (SEED) and scored on the test (--score). A step that
learns from another's labels says which is to be run before it. Everything resumes.
"""

import argparse
import hashlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils import InputError
from utils.adapt import adapt
from utils.agreement import agreement, in_fp32
from utils.backbone import Backbone, build_model, load_backbone
from utils.baseline import choose_baseline
from utils.data import Reviews, load_reviews
from utils.evaluation import metrics, predict_test, report, rounded
from utils.hardware import precision, versions
from utils.recipe import Recipe, fingerprint
from utils.research import MLM, MLM_SEED, STEPS, TFIDF, Step
from utils.results import Run, sha256, write_json
from utils.settings import Settings, resolve_path, set_up
from utils.teaching import label_softly, with_soft_labels
from utils.trainer import make_trainer
from utils.training import fine_tune, load_trained
from utils.unlabelled import load_unlabelled


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", choices=[TFIDF, MLM, *STEPS], nargs="+")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--folds", type=int, choices=range(10), nargs="+", default=[], metavar="FOLD",
        help="0 to 9: train once for each, with that tenth of the labels as validation",
    )  # fmt: skip
    how.add_argument("--score", action="store_true", help="predict the test too")
    how.add_argument(
        "--label", type=int, nargs="?", const=10**9, metavar="COUNT",
        help="label that many reviews that have no label, default: all",
    )  # fmt: skip
    arguments = parser.parse_args()
    try:
        settings = set_up()
        research = Research(settings, load_reviews(settings))
        for fold in arguments.folds or [None]:
            for step in arguments.steps:
                if step == MLM:
                    path = research.pretrain()
                elif step == TFIDF:
                    path = research.count_words()
                elif arguments.label:
                    path = research.label(step, arguments.label)
                else:
                    path = research.train(step, fold, arguments.score)
                print(f"Saved in {os.path.relpath(path)}", flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")


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
            title = json.loads(path.read_text())["backbone"]
            return replace(load_backbone(str(path.with_suffix("") / "model")), title=title,
                           learning_rate=backbone.learning_rate)  # fmt: skip
        model = self.trained(path)[0].model
        encoder, head = (
            {name: value.cpu() for name, value in part.state_dict().items()}
            for part in (model.base_model, model.head)
        )
        title = f"{backbone.title}, as {step.start} left it"
        return replace(backbone, weights=encoder, head=head, title=title)

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
        model = build_model(backbone, self.settings.seed)
        trainer = make_trainer(run, model, backbone, reviews, recipe)
        result = {**known, "step": name, **fine_tune(run, trainer, backbone, reviews, recipe)}
        del result["training_loss"]
        classifier, _ = load_trained(run, training_sha256=reviews.training_sha256)
        found = classifier.probabilities(reviews.validation["text"].tolist())
        result["validation_as_served"] = {  # up to 512 tokens, however many were trained on
            "accuracy": metrics(reviews.validation["label"], found)["accuracy"],
            "probabilities": rounded(found),
        }
        if score and "test" not in known:
            result |= test_results(run, reviews, self.settings.seed)
        return write_json(path, result)


def test_results(run: Run, reviews: Reviews, seed: int) -> dict:
    """The test's metrics, and where bf16 was computed what that changed on validation."""
    classifier, trained = load_trained(run, training_sha256=reviews.training_sha256, seed=seed)
    probabilities = predict_test(run, reviews, classifier, trained)
    result = {
        "test": report(reviews.test["label"].to_numpy(), probabilities),
        "predicting_minutes": run.load("predictions")["minutes"],
        "predictions_sha256": hashlib.sha256(probabilities.tobytes()).hexdigest(),
    }
    if precision()[0] == "bf16":
        texts, labels = reviews.validation["text"].tolist(), reviews.validation["label"].to_numpy()
        exact = in_fp32(classifier).probabilities(texts)
        result["bf16"] = agreement(labels, exact, classifier.probabilities(texts))
    return result


if __name__ == "__main__":
    main()
