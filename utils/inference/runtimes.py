"""Ways of computing an exported model's predictions."""

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

from utils.hardware import device, precision
from utils.inference.classifier import Classifier, batches_by_length
from utils.paths import RELEASED
from utils.text import tokenize

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
