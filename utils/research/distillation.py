"""Labels of a model for reviews that have none, and what a student learns from them."""

import json
import time
from dataclasses import replace
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


def soft_labels(all_texts: pd.DataFrame, rows: slice, teachers: dict[Path, str]) -> np.ndarray:
    """The mean of what teachers gave to some rows of the texts, float64 of shape (rows,).

    `teachers` are the files of labels, each with the hash of the model that they must be of.
    Raises InputError where a teacher has not labelled all texts up to these, in this order.
    """
    found = []
    for path, model_sha256 in teachers.items():
        saved = read_labels(path) if path.exists() else {"labels": []}
        labelled = len(saved["labels"])
        if (
            labelled < rows.stop
            or saved["texts"] != hash_of(all_texts.head(labelled))
            or saved["about"]["model_sha256"] != model_sha256
        ):
            step = path.name.split("-")[0]
            raise InputError(
                f"{path.name} does not hold the labels of these {rows.stop:,} reviews: run "
                f"scripts/research.py {step} --label with its seed and backbone first."
            )
        found.append(saved["labels"][rows].astype(float))
    return np.mean(found, axis=0)


def learnt_from(all_texts: pd.DataFrame, count: int | None) -> int:
    """How many of the texts, the first ones, a student that asks for `count` (None: all) gets."""
    most = len(all_texts) - min(HELD_OUT, len(all_texts) // 10)
    return most if count is None else min(count, most)


def with_soft_labels(
    reviews: Reviews, all_texts: pd.DataFrame, count: int, teachers: dict[Path, str]
) -> Reviews:
    """The labelled reviews, and the first `count` texts with the mean of their teachers' labels.

    Learning from soft labels is Hinton et al.'s distillation (2015). Teachers and errors are those
    of `soft_labels`.
    """
    positive, texts = soft_labels(all_texts, slice(0, count), teachers), all_texts.head(count)
    taught = texts.assign(probability=positive, label=(positive >= 0.5).astype(int))
    gold = reviews.train.assign(probability=reviews.train["label"].astype(float))
    columns = ["text", "hash", "label", "probability"]
    train = pd.concat([gold, taught])[columns].reset_index(drop=True)
    return replace(reviews, train=train, softly_labelled=len(taught))


def against_teachers(
    classifier: Classifier, all_texts: pd.DataFrame, teachers: dict[Path, str]
) -> dict | None:
    """How a student answers, against the mean of its teachers, on the reviews held out of all.

    The `share` of equal answers with its interval, and the `divergences` of the student's
    probabilities from the teachers' (Kullback and Leibler, 1951), in nats, one a review. They need
    no label, so they compare students of one teacher on more reviews than validation has; those
    reviews have `texts_sha256`. None, saying so, where the teachers have not labelled all texts.
    """
    rows = slice(learnt_from(all_texts, None), len(all_texts))
    try:
        theirs = soft_labels(all_texts, rows, teachers)
    except InputError as error:
        print(f"Not compared with its teachers. {error}", flush=True)
        return None
    ours = classifier.probabilities(all_texts["text"].iloc[rows].tolist()).astype(float)
    # A 1 was rounded: what is saved has six digits, so it stands for anything from 0.9999995 on.
    # As it is, one review with a doubtful teacher would have the mean divergence infinite.
    ours = np.clip(ours, 5e-7, 1 - 5e-7)
    divergences = entropy(np.stack([1 - theirs, theirs]), np.stack([1 - ours, ours]))
    same = int(((ours >= 0.5) == (theirs >= 0.5)).sum())
    about = {"texts_sha256": hash_of(all_texts.iloc[rows])}
    return {**share(same, len(ours)), **about, "divergences": rounded(divergences)}
