"""What the benchmark compares: the released model in our runtimes, and in others' ways."""

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

from utils.hardware import device, multiplies_int8, precision
from utils.inference.classifier import Classifier
from utils.inference.runtimes import OPENVINO, OpenVINO, Runtime
from utils.paths import RELEASED

# Texts and the tokens of a batch -> probabilities of positive, (texts,).
Predict = Callable[[list[str], int], np.ndarray]


@dataclass(frozen=True)
class Contender:
    """One way of computing the released model's predictions."""

    name: str
    precision: str  # fp32, bf16 or int8
    file: str  # that holds its weights, in the released folder or in that of the copies
    load: Callable[[Path], Predict]  # from the folder of the copies
    ours: bool = False  # the one that a Classifier takes on this processor
    batched: bool = True  # by a number of tokens; else in the batches that its users get


def contenders(compiled: bool = False) -> list[Contender]:
    """All that are compared, a bare pipeline first; with `compiled`, torch.compile of ours too."""
    own, torchs = precision()[0], "model.safetensors"
    int8 = OPENVINO.replace(".xml", ".bin")
    found = [
        Contender("pipeline, one by one", "fp32", torchs, lambda _: _pipeline(1), batched=False),
        Contender("pipeline, batches of 32", "fp32", torchs, lambda _: _pipeline(32),
                  batched=False),
        Contender("plain torch, batches of 32", "fp32", torchs, lambda _: _plain_torch(),
                  batched=False),
        Contender("ONNX Runtime, fp32", "fp32", "model.onnx",
                  lambda copies: _ours(lambda _: Onnx(copies / "model.onnx"))),
        Contender("ONNX Runtime, int8", "int8", "model_int8.onnx",
                  lambda copies: _ours(lambda _: Onnx(copies / "model_int8.onnx"))),
        Contender(f"torch, {own}", own, torchs, lambda _: _ours(lambda torchs: torchs.runtime)),
        Contender(f"OpenVINO, {own}", own, torchs,
                  lambda _: _ours(lambda torchs: OpenVINO(torchs.model)),
                  ours=not multiplies_int8()),
        Contender("OpenVINO, int8", "int8", int8,
                  lambda _: _ours(lambda _: OpenVINO(RELEASED / OPENVINO)),
                  ours=multiplies_int8()),
    ]  # fmt: skip
    if compiled:
        found.append(Contender("compiled", own, torchs, lambda _: _ours(_compiled)))
    return found


def contender(name: str) -> Contender:
    """The one of a name."""
    return next(one for one in contenders(compiled=True) if one.name == name)


def ours() -> Contender:
    """The one that a Classifier takes on this processor."""
    return next(one for one in contenders() if one.ours)


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


def _ours(runtime: Callable[[Classifier], Runtime]) -> Predict:
    """A Classifier's cleaning, tokens and batches by length, around a runtime."""
    classifier = Classifier.from_folder(RELEASED, "torch")
    classifier.runtime = runtime(classifier)

    def predict(texts: list[str], batch_tokens: int) -> np.ndarray:
        classifier.batch_tokens = batch_tokens
        return classifier.probabilities(texts)

    return predict


def _compiled(classifier: Classifier) -> Runtime:
    classifier.runtime.computes = torch.compile(classifier.runtime.computes, dynamic=True)
    return classifier.runtime


class Onnx:
    """A model in ONNX Runtime, as a `Runtime`."""

    name, precision = "ONNX Runtime", "as the file has it"

    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(path, options)

    def logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """As `Runtime` says."""
        return self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
