"""Labels of a model for reviews that have none, and what a student learns from them."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import entropy

from utils import InputError
from utils.data.reviews import Reviews
from utils.data.unlabelled import hash_of
from utils.evaluation.metrics import share
from utils.evaluation.predictions import rounded
from utils.files import write
from utils.inference.classifier import Classifier
from utils.research.experiments import Teacher

CHUNK = 2000  # reviews that are labelled before the next saving
HELD_OUT = 2000  # the last of the reviews without labels, from which no student learns


def label_softly(
    classifier: Classifier, texts: pd.DataFrame, count: int, path: Path, about: dict
) -> dict:
    """Save the probability of positive of `count` texts, the first ones, in `path`.

    Returns what `read_labels` does.

    They are of float16; `about`, such as the model's hash, is saved with them, and a hash of the
    texts. What an earlier call labelled is kept: the same texts by the same model.
    """
    done, seconds = np.empty(0, np.float16), 0.0
    if path.exists():
        saved = read_labels(path)
        if saved["about"] == about and saved["texts"] == hash_of(texts.head(len(saved["labels"]))):
            done, seconds = saved["labels"], saved["seconds"]
    count = min(count, len(texts))
    while len(done) < count:
        started = time.perf_counter()
        chunk = texts["text"].iloc[len(done) : min(len(done) + CHUNK, count)].tolist()
        done = np.concatenate([done, classifier.probabilities(chunk).astype(np.float16)])
        seconds += time.perf_counter() - started
        _save(path, labels=done, texts=hash_of(texts.head(len(done))), seconds=seconds,
              about=json.dumps(about))  # fmt: skip
        print(f"{len(done):,} of {count:,} reviews labelled", flush=True)
    return read_labels(path)


def _save(path: Path, **arrays) -> None:
    def fill(temporary: Path):
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    write(path, fill)


def read_labels(path: Path) -> dict:
    """`labels` of shape (reviews,), the hash of their `texts`, `seconds`, and `about` them."""
    with np.load(path) as saved:  # never unpickles, by default
        return {"labels": saved["labels"], "texts": str(saved["texts"]),
                "seconds": float(saved["seconds"]),
                "about": json.loads(str(saved["about"]))}  # fmt: skip


@dataclass(frozen=True)
class SoftLabels:
    """Where a teacher's labels are, and the hash of the model that they must be of."""

    teacher: Teacher
    path: Path
    model_sha256: str


def mean_labels(all_texts: pd.DataFrame, rows: slice, teachers: list[SoftLabels]) -> np.ndarray:
    """The mean of what teachers gave to some rows of the texts, float64 of shape (rows,).

    Raises InputError where a teacher has not labelled all texts up to these, in this order.
    """
    found = []
    for labels in teachers:
        saved = read_labels(labels.path) if labels.path.exists() else {"labels": []}
        labelled = len(saved["labels"])
        if (
            labelled < rows.stop
            or saved["texts"] != hash_of(all_texts.head(labelled))
            or saved["about"]["model_sha256"] != labels.model_sha256
        ):
            teacher = labels.teacher
            raise InputError(
                f"{labels.path.name} does not hold the labels of these {rows.stop:,} reviews: run "
                f"scripts/research.py {teacher.experiment} --label with SEED={teacher.seed} and "
                "its backbone first."
            )
        found.append(saved["labels"][rows].astype(float))
    return np.mean(found, axis=0)


def learnt_from(all_texts: pd.DataFrame) -> int:
    """How many of the texts, the first ones, students learn from; the last compare them."""
    return len(all_texts) - min(HELD_OUT, len(all_texts) // 10)


def with_soft_labels(
    reviews: Reviews, all_texts: pd.DataFrame, teachers: list[SoftLabels]
) -> Reviews:
    """The labelled reviews, and unlabelled ones with the mean of their teachers' labels.

    Learning from soft labels is Hinton et al.'s distillation (2015). Errors are those of
    `mean_labels`.
    """
    texts = all_texts.head(learnt_from(all_texts))
    positive = mean_labels(all_texts, slice(0, len(texts)), teachers)
    soft = texts.assign(probability=positive, label=(positive >= 0.5).astype(int))
    gold = reviews.train.assign(probability=reviews.train["label"].astype(float))
    columns = ["text", "hash", "label", "probability"]
    train = pd.concat([gold, soft])[columns].reset_index(drop=True)
    return replace(reviews, train=train, softly_labelled=len(soft))


def agreement_with_teachers(
    predict: Callable[[list[str]], np.ndarray], all_texts: pd.DataFrame, teachers: list[SoftLabels]
) -> dict:
    """A student's predictions against its teachers' mean, on the reviews that none learns from.

    `predict` gives the probabilities of positive.
    The `share` of equal labels with its interval, and the `divergences` of the student's
    probabilities from the teachers' (Kullback and Leibler, 1951), in nats, one a review. They need
    no label, so they compare students of one teacher on more reviews than validation has; those
    reviews have `texts_sha256`. Raises InputError where the teachers have not labelled all texts.
    """
    rows = slice(learnt_from(all_texts), len(all_texts))
    theirs = mean_labels(all_texts, rows, teachers)
    ours = predict(all_texts["text"].iloc[rows].tolist()).astype(float)
    # A 1 was rounded: what is saved has six digits, so it stands for anything from 0.9999995 on.
    # As it is, one review with a doubtful teacher would have the mean divergence infinite.
    ours = np.clip(ours, 5e-7, 1 - 5e-7)
    divergences = entropy(np.stack([1 - theirs, theirs]), np.stack([1 - ours, ours]))
    same = int(((ours >= 0.5) == (theirs >= 0.5)).sum())
    about = {"texts_sha256": hash_of(all_texts.iloc[rows])}
    return {**share(same, len(ours)), **about, "divergences": rounded(divergences)}
