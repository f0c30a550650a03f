"""Speed of prediction by model: TF-IDF, the released encoder, and larger ones."""

import time
from functools import partial

import numpy as np
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
)

from utils.benchmark.measure import ROUNDS, SIZES, compare
from utils.benchmark.runtimes import load_tokenizer
from utils.data.reviews import Reviews
from utils.inference.classifier import Classifier
from utils.inference.runtimes import OpenVINO
from utils.modeling.baseline import fit_baseline
from utils.paths import RELEASED

TFIDF, RELEASE, DISTILBERT, TEACHER = "TF-IDF", "22M", "66M", "109M"
PREDICTED = 48


def time_tfidf(train, texts: list[str]) -> dict:
    """Seconds in which TF-IDF with logistic regression predicts the texts."""
    return {"seconds": _seconds(fit_baseline(train, 1.0).predict_proba, texts)}


def time_encoder(size: str, texts: list[str]) -> dict:
    """Seconds in which an encoder of that size predicts the texts, and its number of parameters.

    The 22M one is the released model. Weights of the others are random, which costs the same.
    """
    classifier = _classifier(size)
    return {"seconds": _seconds(classifier.probabilities, texts),
            "parameters": classifier.model.num_parameters()}  # fmt: skip


def _classifier(size: str) -> Classifier:
    """In the runtime that `Classifier.from_folder` takes, as far as there are weights for it."""
    if size == RELEASE:
        return Classifier.from_folder(RELEASED)
    if size == DISTILBERT:
        model = DistilBertForSequenceClassification(DistilBertConfig(**SIZES[size], n_layers=6))
    else:
        model = MPNetForSequenceClassification(MPNetConfig())
    return Classifier(model.eval(), load_tokenizer(), runtime=OpenVINO(model))


def _seconds(predict, texts: list[str]) -> float:
    predict(texts)  # kernels are made for each shape that is new
    started = time.perf_counter()
    predict(texts)
    return time.perf_counter() - started


def compare_models(reviews: Reviews) -> dict:
    """Reviews a second of each, on the same validation reviews."""
    texts = reviews.validation["text"].tolist()[:PREDICTED]
    cases = {TFIDF: partial(time_tfidf, reviews.train, texts)}
    cases |= {size: partial(time_encoder, size, texts) for size in (RELEASE, DISTILBERT, TEACHER)}
    rows = {}
    for name, rounds in compare(cases, ROUNDS["models"]).items():
        seconds = float(np.median([found["seconds"] for found in rounds]))
        rows[name] = {
            "reviews_per_second": len(texts) / seconds,
            "parameters": rounds[0].get("parameters"),
        }
    runtime = Classifier.from_folder(RELEASED).runtime
    return {"reviews": len(texts), "runtime": runtime.name, "rows": rows}
