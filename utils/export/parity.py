"""How far other ways of running a model agree with ours: on validation, never on the test."""

import numpy as np
import pandas as pd
import torch
from transformers import pipeline

from utils.evaluation.calibration import temperature_of
from utils.evaluation.metrics import accuracy, mcnemar
from utils.hardware import device, precision
from utils.inference.classifier import Classifier
from utils.modeling.model import fold_head
from utils.results import Run
from utils.text import tokenize


def agreement(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> dict:
    """Accuracy of both, the labels that differ, and the largest difference in probability.

    `mcnemar` tells whether the labels that differ are more often right in one of the two.

    `ours` and `theirs` are probabilities of the positive class, shape (reviews,).
    """
    return {
        "reviews": len(labels),
        "accuracy": accuracy(labels, theirs),
        "our_accuracy": accuracy(labels, ours),
        "label_flips": int(((theirs >= 0.5) != (ours >= 0.5)).sum()),
        "largest_difference": float(np.abs(theirs - ours).max()),
        "mcnemar": mcnemar(labels, ours, theirs),
    }


def in_fp32(classifier: Classifier) -> Classifier:
    """The same model, computing in fp32: what copies are compared with."""
    return Classifier(classifier.model, classifier.tokenizer, torch.float32)


def measure(run: Run, classifier: Classifier, trained: dict, validation: pd.DataFrame) -> dict:
    """Copies against the model itself in fp32, saved as `results/agreement.json`.

    `pipeline` is what one gets without this repository: the text as it came, its end cut off
    where it is too long; `flips_where_cut` counts the labels that differ among those. `fp16` is the
    exported model, whose head has the temperature in it, with its weights rounded to fp16, against
    the same in fp32. `bf16` or `fp16_computed`, only where the processor takes it, is the model as
    `Classifier` computes it there. Measured once for a model and its temperature, then read back.
    """
    temperature = temperature_of(run, trained)
    about = {"model_sha256": trained["model_sha256"], "temperature": temperature}
    saved = run.find("agreement", **about)
    if saved:
        return saved
    labels = validation["label"].to_numpy()
    texts = validation["text"].tolist()
    ours = in_fp32(classifier).probabilities(texts)
    stock = fold_head(classifier.model)
    plain = pipeline(
        "text-classification", model=stock, tokenizer=classifier.tokenizer, truncation=True,
        device=device(),
    )  # fmt: skip
    positive = stock.config.id2label[1]
    answers = plain(validation["raw"].tolist())
    bare = np.array([a["score"] if a["label"] == positive else 1 - a["score"] for a in answers])
    differ = (bare >= 0.5) != (ours >= 0.5)
    cut = np.array(tokenize(classifier.tokenizer, texts).shortened)
    exported = fold_head(classifier.model, temperature)
    whole = Classifier(exported, classifier.tokenizer, torch.float32).probabilities(texts)
    rounded = Classifier(exported.half().float(), classifier.tokenizer, torch.float32)
    result = {
        **about,
        "pipeline": agreement(labels, ours, bare) | {"flips_where_cut": int((differ & cut).sum())},
        "fp16": agreement(labels, whole, rounded.probabilities(texts)),
    }
    if precision()[0] != "fp32":
        name = {"bf16": "bf16", "fp16": "fp16_computed"}[precision()[0]]
        result[name] = agreement(labels, ours, classifier.probabilities(texts))
    run.save("agreement", result)
    return result
