"""What scripts/research.py does: pretrain, label, train a step and score it; resumable."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from utils import InputError
from utils.data.splits import DRAW_SEED
from utils.evaluation.metrics import accuracy
from utils.evaluation.predictions import rounded
from utils.files import sha256, write_json
from utils.hardware import versions
from utils.modeling.backbones import build_model, load_backbone
from utils.research.distillation import against_teachers, label_softly, learnt_from, soft_labels
from utils.research.experiments import MLM, MLM_SEED, PARTS, STEPS, TFIDF, built_on
from utils.research.pretraining import adapt
from utils.research.runs import Research
from utils.research.scores import evaluate_baseline, score_run
from utils.results import Run
from utils.settings import Settings
from utils.training.fine_tune import fine_tune, load_trained, trained_folder
from utils.training.fingerprint import fingerprint
from utils.training.recipe import Recipe
from utils.training.trainer import make_trainer


def pretrain(research: Research) -> Path:
    """Go on pretraining the backbone on the reviews without labels that students learn from."""
    texts, counts = research.unlabelled
    texts = texts.head(learnt_from(texts, None))
    path = research.path(MLM, f"seed{MLM_SEED}")
    backbone = load_backbone(research.settings.backbone, teacher=True)
    result = adapt(path.with_suffix(""), backbone, texts, MLM_SEED)
    about = {"labels": research.settings.labels, "draw_seed": DRAW_SEED, "unlabelled": counts}
    return write_json(path, research.reviews.provenance | about | result)


def score_baseline(research: Research) -> Path:
    """The baseline's score with this budget of labels, for the learning curve."""
    counted = evaluate_baseline(research.reviews)
    result = {
        **research.reviews.provenance,
        "training_sha256": research.reviews.training_sha256,
        "test": counted["report"],
        "C": counted["C"],
        "validation_accuracy": counted["validation_accuracy"],
        "versions": versions(),
    }
    return write_json(research.path(TFIDF, f"seed{research.settings.seed}"), result)


def label(research: Research, step: str, count: int) -> Path:
    """Label reviews that have none with the model of a step, unless that is done."""
    texts, counts = research.unlabelled
    path, model_sha256 = research.labels_of(step, research.settings.seed)
    known = path.with_suffix(".json")
    with suppress(InputError):
        soft_labels(texts, slice(0, min(count, len(texts))), {path: model_sha256})
        result = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
        if result.get("labels_sha256") == sha256(path):
            return known
    classifier, _ = research.trained(step)
    about = {"unlabelled": counts, "model_sha256": model_sha256}
    labelled = label_softly(classifier, texts, count, path, about)
    result = {
        **research.reviews.provenance,
        **about,
        "labels_sha256": sha256(path),
        "labelled": len(labelled["labels"]),
        "minutes": round(labelled["seconds"] / 60, 2),
        "versions": versions(),
    }
    return write_json(known, result)


def train(research: Research, name: str, part: tuple[str, int] | None, score: bool) -> Path:
    """Train or resume, score if asked to, and return the step's JSON, of its seed or part.

    `part`, such as ("half", 0), is what of the labels is held out, instead of the usual tenth.
    Parts are compared with one seed, the usual one. A finished step is trained again where its
    weights are gone, since others may start from them; a part's nobody needs.
    """
    step, reviews = STEPS[name], research.reviews
    if part:
        if research.settings.seed != Settings.seed:
            raise InputError(f"Halves and folds are compared with SEED={Settings.seed} only.")
        if step.teachers or step.start not in (None, MLM):
            raise InputError(f"{name} learns from models that saw every label: hold none out.")
        kind, number = part
        reviews = reviews.fold(number, PARTS[kind])
    backbone = research.backbone(step)
    reviews = research.learnt(step, reviews)
    kind, number = part or ("seed", research.settings.seed)
    path = research.path(name, f"{kind}{number}")
    run = Run(path.with_suffix(""))
    recipe = replace(Recipe(backbone.learning_rate, research.settings.seed), **step.changes)
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    key = fingerprint(backbone, reviews, recipe)
    same = {"fingerprint": key, "reviews_sha256": reviews.reviews_sha256}
    known = old if same.items() <= old.items() else {}
    weights = {"fingerprint": key, "model_sha256": known.get("model_sha256")}
    here = trained_folder(run, key).exists() and run.find("training", **weights)
    scored = {"model_sha256": known.get("model_sha256"), "split_sha256": reviews.split_sha256}
    current = known.get("split_sha256") == reviews.split_sha256
    if score and not (current and run.find("evaluation", **scored)):  # of these, on these
        known = {k: v for k, v in known.items() if k not in ("test", "split_sha256")}
    measured = ["validation_as_served", *(["against_teachers"] if step.teachers else []),
                *(["test"] if score else [])]  # fmt: skip
    if known.keys() >= set(measured) and (part or here):
        return path
    model = build_model(backbone, research.settings.seed)
    trainer = make_trainer(run, model, backbone, reviews, recipe)
    history = research.history(name, recipe, reviews)
    trained = fine_tune(run, trainer, backbone, reviews, recipe, step=name, history=history)
    if known and known["model_sha256"] != trained["model_sha256"]:
        print("These weights are others than before: what was measured of those is dropped.")
        known = {}
    result = {**built_on(step), **trained, **known}
    del result["training_loss"]
    classifier, _ = load_trained(run, training_sha256=reviews.training_sha256)
    found = classifier.probabilities(reviews.validation["text"].tolist())
    result["validation_as_served"] = {  # up to 512 tokens, however many were trained on
        "accuracy": accuracy(reviews.validation["label"], found),
        "probabilities": rounded(found),
    }
    if step.teachers:
        found_by = against_teachers(classifier, research.unlabelled[0], research.teachers(step))
        result |= {"against_teachers": found_by} if found_by else {}
    if score and "test" not in known:
        baseline = evaluate_baseline(research.reviews)  # on the labels alone
        result |= score_run(run, reviews, classifier, found, baseline)
        result["split_sha256"] = reviews.split_sha256
    return write_json(path, result)
