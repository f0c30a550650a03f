"""Labels of a model for reviews that have none, and what a student learns from them."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from utils import InputError
from utils.data import Reviews
from utils.inference import Classifier
from utils.results import write
from utils.unlabelled import hash_of

CHUNK = 2000  # reviews that are labelled before the next saving


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


def with_soft_labels(
    reviews: Reviews, all_texts: pd.DataFrame, count: int, teachers: dict[Path, str]
) -> Reviews:
    """The labelled reviews, and the first `count` texts with the mean of their teachers' labels.

    `teachers` are the files of labels, each with the hash of the model that they must be of.
    Learning from soft labels is Hinton et al.'s distillation (2015). Raises InputError where a
    teacher has not labelled all of these texts, in this order.
    """
    found, texts = [], all_texts.head(count)
    for path, model_sha256 in teachers.items():
        saved = read_labels(path) if path.exists() else {"labels": []}
        labelled = len(saved["labels"])
        if (
            labelled < len(texts)
            or saved["texts"] != hash_of(all_texts.head(labelled))
            or saved["about"]["model_sha256"] != model_sha256
        ):
            step = path.name.split("-")[0]
            raise InputError(
                f"{path.name} does not hold the labels of these {len(texts):,} reviews: run "
                f"scripts/research.py {step} --label with its seed and backbone first."
            )
        found.append(saved["labels"][: len(texts)].astype(float))
    positive = np.mean(found, axis=0)
    taught = texts.assign(probability=positive, label=(positive >= 0.5).astype(int))
    gold = reviews.train.assign(probability=reviews.train["label"].astype(float))
    columns = ["text", "hash", "label", "probability"]
    train = pd.concat([gold, taught])[columns].reset_index(drop=True)
    return replace(reviews, train=train, softly_labelled=len(taught))
