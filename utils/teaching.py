"""Labels of a model for reviews that have none, and what a student learns from them."""

import json
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


def label_softly(classifier: Classifier, texts: pd.DataFrame, path: Path, about: dict) -> Path:
    """Save the probability of positive of each text in `path`, float16, and its texts' hash.

    `about`, such as the model's hash, is saved with them. What an earlier, interrupted call
    labelled is kept: a whole number of chunks of the same texts by the same model.
    """
    done = np.empty(0, np.float16)
    if path.exists():
        saved = read_labels(path)
        if saved["about"] == about and saved["texts"] == hash_of(texts.head(len(saved["labels"]))):
            done = saved["labels"]
    while len(done) < len(texts):
        chunk = texts["text"].iloc[len(done) : len(done) + CHUNK].tolist()
        done = np.concatenate([done, classifier.probabilities(chunk).astype(np.float16)])
        _save(path, done, hash_of(texts.head(len(done))), about)
        print(f"{len(done):,} of {len(texts):,} reviews labelled", flush=True)
    return path


def _save(path: Path, labels: np.ndarray, texts: str, about: dict) -> None:
    def fill(temporary: Path):
        with temporary.open("wb") as file:
            np.savez_compressed(file, labels=labels, texts=texts, about=json.dumps(about))

    write(path, fill)


def read_labels(path: Path) -> dict:
    """`labels` of shape (reviews,), the hash of their `texts`, and what is known `about` them."""
    with np.load(path) as saved:  # never unpickles, by default
        return {"labels": saved["labels"], "texts": str(saved["texts"]),
                "about": json.loads(str(saved["about"]))}  # fmt: skip


def with_soft_labels(
    reviews: Reviews, all_texts: pd.DataFrame, count: int, paths: list[Path]
) -> Reviews:
    """The labelled reviews, and the first `count` texts with the mean of their teachers' labels.

    Learning from soft labels is Hinton et al.'s distillation (2015). Raises InputError where a
    teacher has not labelled all of these texts, in this order.
    """
    found, texts = [], all_texts.head(count)
    for path in paths:
        saved = read_labels(path) if path.exists() else {"labels": []}
        labelled = len(saved["labels"])
        if labelled < len(texts) or saved["texts"] != hash_of(all_texts.head(labelled)):
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
    return replace(reviews, train=pd.concat([gold, taught])[columns].reset_index(drop=True))
