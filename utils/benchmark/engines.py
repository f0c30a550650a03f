"""Speed of prediction: the released model in every engine, from texts to probabilities."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerBase,
    pipeline,
)

from utils import inference
from utils.agreement import in_fp32
from utils.export import RELEASED
from utils.hardware import device, precision
from utils.inference import Classifier, batches_by_length
from utils.text import tokenize

BUDGETS = (512, 2048, 8192)  # tokens of a batch, padding included: each engine's best counts
Predict = Callable[[list[str]], np.ndarray]  # texts -> probabilities of positive, (texts,)


def engines() -> dict[str, tuple[Callable[[Path], Predict], str]]:
    """For each engine what loads it from a folder of copies, and the file that it reads."""
    openvino = {"bf16": "bf16", "fp32": "f32"}[precision()[0]]
    return {
        "pipeline, one by one": (lambda _: _pipeline(1), "model.safetensors"),
        "pipeline, batches of 32": (lambda _: _pipeline(32), "model.safetensors"),
        "plain torch, batches of 32": (lambda _: _plain_torch(), "model.safetensors"),
        f"ours, {precision()[0]}": (lambda _: _ours(), "model.safetensors"),
        "ONNX Runtime, fp32": (lambda copies: _onnx(copies / "model.onnx"), "model.onnx"),
        "ONNX Runtime, int8": (lambda copies: _onnx(copies / "model_int8.onnx"), "model_int8.onnx"),
        f"OpenVINO, {precision()[0]}": (
            lambda copies: _openvino(copies / "model.onnx", openvino),
            "model.onnx",
        ),
        "OpenVINO, int8": (
            lambda copies: _openvino(copies / "openvino_int8.xml", openvino),
            "openvino_int8.bin",
        ),
    }


COMPILED = {"ours, compiled": (lambda _: _compiled(), "model.safetensors")}


def has_its_own_batches(engine: str) -> bool:
    """Whether it is timed in the batches that users of it get, not for each budget."""
    return engine.startswith(("pipeline", "plain torch", "ours"))


def write_copies(folder: Path, texts: list[str]) -> None:
    """The released model for the engines: ONNX in fp32 and int8, and OpenVINO's int8.

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


def time_engine(engine: str, copies: Path, texts: list[str], single: list[str]) -> dict:
    """Seconds for all texts at each batch budget, and milliseconds of each single text alone.

    Everything is predicted once before: engines build kernels for each shape that is new.
    """
    predict = {**engines(), **COMPILED}[engine][0](copies)
    warm_up, seconds = 0.0, {}
    for budget in (inference.BATCH_TOKENS,) if has_its_own_batches(engine) else BUDGETS:
        inference.BATCH_TOKENS = budget
        warm_up += _seconds(predict, texts)
        seconds[budget] = _seconds(predict, texts)
    for text in single:
        predict([text])
    milliseconds = [1000 * _seconds(predict, [text]) for text in single]
    return {"warm_up": warm_up, "seconds": seconds, "milliseconds": milliseconds}


def probabilities(engine: str, copies: Path, texts: list[str]) -> dict:
    """What the engine answers, to be compared with the others' answers."""
    return {"probabilities": engines()[engine][0](copies)(texts).tolist()}


def random_texts(lengths: list[int]) -> list[str]:
    """Seeded random words, each one token of the model, so that a text has a given length."""
    words = sorted(
        word for word in load_tokenizer().get_vocab() if word.isascii() and word.isalpha()
    )
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice(words, length - 2)) for length in lengths]  # and [CLS], [SEP]


def _seconds(predict: Predict, texts: list[str]) -> float:
    started = time.perf_counter()
    predict(texts)
    return time.perf_counter() - started


def load_tokenizer() -> PreTrainedTokenizerBase:
    """The released model's tokenizer."""
    return AutoTokenizer.from_pretrained(RELEASED, local_files_only=True)


def _pipeline(batch_size: int) -> Predict:
    classify = pipeline(
        "text-classification", model=str(RELEASED), batch_size=batch_size, device=device()
    )

    def predict(texts: list[str]) -> np.ndarray:
        answers = classify(texts, truncation=True)
        return np.array(
            [a["score"] if a["label"] == "POSITIVE" else 1 - a["score"] for a in answers]
        )

    return predict


def _plain_torch() -> Predict:
    model = DistilBertForSequenceClassification.from_pretrained(RELEASED, dtype=torch.float32)
    tokenizer = load_tokenizer()

    def predict(texts: list[str]) -> np.ndarray:
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
    return Classifier.from_folder(RELEASED).probabilities


def _compiled() -> Predict:
    classifier = Classifier.from_folder(RELEASED)
    classifier._computes = torch.compile(classifier._computes, dynamic=True)
    return classifier.probabilities


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
    """The same cleaning, cut and batches by length as ours, around another engine."""
    tokenizer = load_tokenizer()

    def predict(texts: list[str]) -> np.ndarray:
        ids = tokenize(tokenizer, texts).ids
        found = np.empty(len(ids), dtype=np.float32)
        for rows in batches_by_length(ids):
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
