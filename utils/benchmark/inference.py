"""Speed of prediction: the released model in every runtime, from texts to probabilities."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerBase,
    pipeline,
)

from utils.agreement import in_fp32
from utils.export import RELEASED
from utils.hardware import device, precision
from utils.inference import BATCH_TOKENS, Classifier, batches_by_length
from utils.text import tokenize

BUDGETS = (512, 2048, 8192)  # tokens of a batch, padding included: each runtime's best counts
# Texts and the tokens of a batch -> probabilities of positive, (texts,).
Predict = Callable[[list[str], int], np.ndarray]


@dataclass(frozen=True)
class Runtime:
    """One way of computing the released model's predictions."""

    name: str
    precision: str  # fp32, bf16 or int8
    file: str  # that holds its weights, in the released folder or in that of the copies
    load: Callable[[Path], Predict]  # from the folder of the copies
    ours: bool = False
    batched: bool = True  # by a number of tokens; else in the batches that its users get


def runtimes(compiled: bool = False) -> list[Runtime]:
    """All that are compared, a bare pipeline first; with `compiled`, ours by torch.compile too."""
    ours, openvino = precision()[0], {"bf16": "bf16", "fp32": "f32"}[precision()[0]]
    torchs = "model.safetensors"
    found = [
        Runtime("pipeline, one by one", "fp32", torchs, lambda _: _pipeline(1), batched=False),
        Runtime("pipeline, batches of 32", "fp32", torchs, lambda _: _pipeline(32), batched=False),
        Runtime("plain torch, batches of 32", "fp32", torchs, lambda _: _plain_torch(),
                batched=False),
        Runtime(f"ours, {ours}", ours, torchs, lambda _: _ours(), ours=True, batched=False),
        Runtime("ONNX Runtime, fp32", "fp32", "model.onnx",
                lambda copies: _onnx(copies / "model.onnx")),
        Runtime("ONNX Runtime, int8", "int8", "model_int8.onnx",
                lambda copies: _onnx(copies / "model_int8.onnx")),
        Runtime(f"OpenVINO, {ours}", ours, "model.onnx",
                lambda copies: _openvino(copies / "model.onnx", openvino)),
        Runtime("OpenVINO, int8", "int8", "openvino_int8.bin",
                lambda copies: _openvino(copies / "openvino_int8.xml", openvino)),
    ]  # fmt: skip
    if compiled:
        found.append(Runtime("ours, compiled", ours, torchs, lambda _: _compiled(), batched=False))
    return found


def runtime(name: str) -> Runtime:
    """The runtime of a name."""
    return next(one for one in runtimes(compiled=True) if one.name == name)


def ours() -> Runtime:
    """The one that is our own."""
    return next(one for one in runtimes() if one.ours)


def write_copies(folder: Path, texts: list[str]) -> None:
    """The released model for the runtimes: ONNX in fp32 and int8, and OpenVINO's int8.

    `texts` calibrate the last one's activations.
    """
    os.environ["NNCF_CI"] = "1"  # it would report its use to its makers without asking
    import nncf
    import openvino

    from utils.onnx import write_onnx

    classifier = Classifier.from_folder(RELEASED)
    write_onnx(classifier.model, folder)
    inputs = [
        {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        for ids in tokenize(classifier.tokenizer, texts).ids
    ]
    model = nncf.quantize(
        openvino.Core().read_model(folder / "model.onnx"),
        nncf.Dataset(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(inputs),
    )
    openvino.save_model(model, folder / "openvino_int8.xml", compress_to_fp16=False)


def time_runtime(name: str, copies: Path, texts: list[str], single: list[str]) -> dict:
    """Seconds for all texts at each batch budget, and milliseconds of each single text alone.

    Everything is predicted once before: runtimes build kernels for each shape that is new.
    """
    found = runtime(name)
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
    return {"probabilities": runtime(name).load(copies)(texts, BATCH_TOKENS).tolist()}


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


def load_tokenizer() -> PreTrainedTokenizerBase:
    """The released model's tokenizer."""
    return AutoTokenizer.from_pretrained(RELEASED, local_files_only=True)


def _pipeline(batch_size: int) -> Predict:
    classify = pipeline(
        "text-classification", model=str(RELEASED), batch_size=batch_size, device=device()
    )

    def predict(texts: list[str], _: int) -> np.ndarray:
        answers = classify(texts, truncation=True)
        return np.array(
            [a["score"] if a["label"] == "POSITIVE" else 1 - a["score"] for a in answers]
        )

    return predict


def _plain_torch() -> Predict:
    model = DistilBertForSequenceClassification.from_pretrained(RELEASED, dtype=torch.float32)
    tokenizer = load_tokenizer()

    def predict(texts: list[str], _: int) -> np.ndarray:
        found = []
        with torch.no_grad():
            for start in range(0, len(texts), 32):
                batch = tokenizer(
                    texts[start : start + 32], padding=True, truncation=True, return_tensors="pt"
                )
                found.append(model.eval()(**batch).logits.softmax(-1)[:, 1])
        return torch.cat(found).numpy()

    return predict


def _ours() -> Predict:
    return _without_batches(Classifier.from_folder(RELEASED).probabilities)


def _without_batches(predict: Callable[[list[str]], np.ndarray]) -> Predict:
    return lambda texts, _: predict(texts)


def _compiled() -> Predict:
    classifier = Classifier.from_folder(RELEASED)
    classifier._computes = torch.compile(classifier._computes, dynamic=True)
    return _without_batches(classifier.probabilities)


def _onnx(path: Path) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options)
    return _bucketed(lambda inputs: session.run(None, inputs)[0])


def _openvino(path: Path, kind: str) -> Predict:
    import openvino

    hints = {
        "INFERENCE_PRECISION_HINT": kind,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    request = openvino.Core().compile_model(path, "CPU", hints).create_infer_request()
    return _bucketed(lambda inputs: request.infer(inputs)[0])


def _bucketed(logits: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Predict:
    """The same cleaning, cut and batches by length as ours, around another runtime."""
    tokenizer = load_tokenizer()

    def predict(texts: list[str], batch_tokens: int) -> np.ndarray:
        ids = tokenize(tokenizer, texts).ids
        found = np.empty(len(ids), dtype=np.float32)
        for rows in batches_by_length(ids, batch_tokens):
            batch = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="np")
            inputs = {
                name: batch[name].astype(np.int64) for name in ("input_ids", "attention_mask")
            }
            found[rows] = torch.tensor(logits(inputs)).softmax(-1)[:, 1].numpy()
        return found

    return predict


def exact_probabilities(texts: list[str]) -> np.ndarray:
    """What the model answers in fp32: the others are compared with it."""
    return in_fp32(Classifier.from_folder(RELEASED)).probabilities(texts)
