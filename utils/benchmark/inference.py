"""Speed of prediction: the released model in every runtime, from texts to probabilities."""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from utils.benchmark.measure import (
    ROUNDS,
    compare,
    forward_gflop,
    in_fresh_process,
    review_lengths,
    with_ratios,
)
from utils.benchmark.runtimes import Predict, contender, contenders, load_tokenizer
from utils.data.reviews import Reviews
from utils.export.parity import agreement, in_fp32
from utils.inference.classifier import BATCH_TOKENS, Classifier
from utils.paths import RELEASED

PREDICTED, SINGLE = 48, 16  # reviews of a round: together, and one by one
BUDGETS = (512, 1024, 2048)  # tokens of a batch, padding included: each runtime's best counts


def write_copies(folder: Path) -> None:
    """The released model in ONNX, in fp32 and int8."""
    from utils.export.onnx import write_onnx

    write_onnx(Classifier.from_folder(RELEASED, "torch").model, folder)


def time_runtime(name: str, copies: Path, texts: list[str], single: list[str]) -> dict:
    """Seconds for all texts at each batch budget, and milliseconds of each single text alone.

    Everything is predicted once before: runtimes build kernels for each shape that is new.
    """
    found = contender(name)
    predict = found.load(copies)
    warm_up, seconds = 0.0, {}
    for budget in BUDGETS if found.batched else (BATCH_TOKENS,):
        warm_up += _seconds(predict, texts, budget)
        seconds[budget] = _seconds(predict, texts, budget)
    for text in single:
        predict([text], BATCH_TOKENS)
    milliseconds = [1000 * _seconds(predict, [text], BATCH_TOKENS) for text in single]
    return {"warm_up": warm_up, "seconds": seconds, "milliseconds": milliseconds}


def probabilities(name: str, copies: Path, texts: list[str]) -> dict:
    """What the runtime predicts, to be compared with the others' predictions."""
    return {"probabilities": contender(name).load(copies)(texts, BATCH_TOKENS).tolist()}


def random_texts(lengths: list[int]) -> list[str]:
    """Seeded random words, each one token of the model, so that a text has a given length."""
    words = sorted(
        word for word in load_tokenizer().get_vocab() if word.isascii() and word.isalpha()
    )
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice(words, length - 2)) for length in lengths]  # and [CLS], [SEP]


def _seconds(predict: Predict, texts: list[str], batch_tokens: int) -> float:
    started = time.perf_counter()
    predict(texts, batch_tokens)
    return time.perf_counter() - started


def exact_probabilities(texts: list[str]) -> np.ndarray:
    """What the model answers in fp32: the others are compared with it."""
    return in_fp32(Classifier.from_folder(RELEASED, "torch")).probabilities(texts)


def compare_runtimes(reviews: Reviews, peak: dict[str, float]) -> dict:
    """Each runtime's speed at its best batch size, latency, memory, size and agreement."""
    lengths = review_lengths(PREDICTED)
    texts = random_texts(lengths)
    single = random_texts(review_lengths(SINGLE))
    validation = reviews.validation["text"].tolist()
    labels = reviews.validation["label"].to_numpy()
    gflop = forward_gflop("22M", lengths)
    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder)
        write_copies(copies)
        rounds = compare(
            {one.name: partial(time_runtime, one.name, copies, texts, single)
             for one in contenders()}, ROUNDS["inference"]
        )  # fmt: skip
        answers = {
            one.name: in_fresh_process(partial(probabilities, one.name, copies, validation))[
                "probabilities"
            ]
            for one in contenders()
        }
        exact = np.array(exact_probabilities(validation))
        rows = {}
        for one in contenders():
            name, weights = one.name, copies / one.file
            medians = {
                budget: float(np.median([found["seconds"][budget] for found in rounds[name]]))
                for budget in rounds[name][0]["seconds"]
            }
            best = min(medians, key=medians.get)
            alone = np.concatenate([found["milliseconds"] for found in rounds[name]])
            rows[name] = {
                "seconds": [found["seconds"] for found in rounds[name]],
                "ours": one.ours,
                "file": one.file,
                "precision": one.precision,
                "batch_tokens": best if one.batched else None,
                "reviews_per_second": PREDICTED / medians[best],
                "share_of_peak": None
                if one.precision == "int8"
                else gflop / medians[best] / peak[one.precision],
                "milliseconds": {"p50": np.percentile(alone, 50), "p95": np.percentile(alone, 95)},
                "peak_gib": max(found["gib"] for found in rounds[name]),
                "megabytes": round(
                    (weights if weights.exists() else RELEASED / one.file).stat().st_size / 1e6
                ),
                "agreement": agreement(labels, exact, np.array(answers[name])),
            }
    return {
        "reviews": PREDICTED,
        "gflop": gflop,
        "agreement_on": f"{reviews.title}, {len(validation)} validation reviews",
        "is_imdb": reviews.name == "imdb",
        "rows": with_ratios(rows),
    }
