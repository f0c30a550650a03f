"""ONNX copies of an exported model, checked against torch before they are kept."""

import logging
import shutil
from pathlib import Path

import numpy as np
import onnx_ir
import onnxruntime
import pandas as pd
import torch
from transformers import DistilBertForSequenceClassification
from transformers.exporters import (
    OnnxConfig,
    OnnxExporter,
    OnnxRuntimeDynamicConfig,
    OnnxRuntimeQuantizer,
)

from utils import InputError
from utils.evaluation.calibration import temperature_of
from utils.export.parity import agreement
from utils.files import write_folder
from utils.inference.classifier import Classifier
from utils.manifest import check_replaceable, write_manifest
from utils.modeling.model import fold_head
from utils.results import Run
from utils.text import MAX_TOKENS, tokenize

TOLERANCE = 1e-4  # of a logit


def export_onnx(
    run: Run, classifier: Classifier, trained: dict, validation: pd.DataFrame, exported: Path
) -> dict:
    """Write `exported`-onnx/ with `model.onnx` (fp32) and `model_int8.onnx`, and measure both.

    They take any batch and any length up to 512 tokens. What int8 loses on validation is saved as
    `results/onnx.json`, and returned. Raises InputError where the logits of `model.onnx` are not
    torch's, within 1e-4, or where the folder holds something else, which would be lost.
    """
    folder = exported.with_name(f"{exported.name}-onnx")
    check_replaceable(folder)
    stock = fold_head(classifier.model, temperature_of(run, trained)).cpu()  # as ONNX Runtime
    result = {"model_sha256": trained["model_sha256"]}

    def fill(new: Path):
        write_onnx(stock, new)
        result["largest_difference_of_a_logit"] = check(stock, new / "model.onnx")
        texts = validation["text"].tolist()
        ours = Classifier(stock, classifier.tokenizer, torch.float32).probabilities(texts)
        theirs = onnx_probabilities(new / "model_int8.onnx", classifier.tokenizer, texts)
        result["int8"] = agreement(validation["label"].to_numpy(), ours, theirs)
        weights = [*new.iterdir(), exported / "model.safetensors"]
        result["megabytes"] = {f.name: round(f.stat().st_size / 1e6, 1) for f in weights}
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(exported / name, new / name)
        write_manifest(new, {"model_sha256": trained["model_sha256"], "measured": result})

    write_folder(folder, fill)
    run.save("onnx", result)
    return result


def write_onnx(stock: DistilBertForSequenceClassification, folder: Path) -> None:
    """Write `model.onnx` (fp32) and `model_int8.onnx` into the folder."""
    _export(stock, folder / "model.onnx", None)
    # Seven bits of eight: without VNNI, sums of int8 products overflow their 16 bits.
    dynamic = OnnxRuntimeDynamicConfig(per_channel=True, reduce_range=True)
    _export(stock, folder / "model_int8.onnx", OnnxRuntimeQuantizer(dynamic))


def check(stock: DistilBertForSequenceClassification, path: Path) -> float:
    """The largest difference of an ONNX file's logits from torch's, over batches and lengths.

    Raises InputError where it is over 1e-4.
    """
    session = onnxruntime.InferenceSession(path)
    largest = 0.0
    for batch in (1, 3, 8):
        for length in (1, 7, 128, MAX_TOKENS):
            inputs = _inputs(stock, batch, length)
            with torch.inference_mode():
                expected = stock(**inputs).logits.numpy()
            found = session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]
            difference = float(np.abs(found - expected).max())
            if not difference < TOLERANCE:  # also where it is NaN
                raise InputError(
                    f"{path.name} differs from torch by {difference:.1g} on {batch} x {length} "
                    "tokens: it is not kept. Try the versions in requirements.txt."
                )
            largest = max(largest, difference)
    return largest


def onnx_probabilities(path: Path, tokenizer, texts: list[str]) -> np.ndarray:
    """The probability that each text is positive, shape (texts,), one text at a time."""
    session = onnxruntime.InferenceSession(path)
    logits = [
        session.run(None, {"input_ids": [ids], "attention_mask": [[1] * len(ids)]})[0][0]
        for ids in tokenize(tokenizer, texts).ids
    ]
    return torch.tensor(np.array(logits)).softmax(-1)[:, 1].numpy()


def _export(stock: DistilBertForSequenceClassification, path: Path, quantizer) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # optional packages that it misses
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=MAX_TOKENS)}
    config = OnnxConfig(
        dynamic_shapes={"input_ids": axes, "attention_mask": axes}, quantizer=quantizer
    )
    exported = OnnxExporter().export(stock.cpu(), _inputs(stock, 2, 16), config=config)
    onnx_ir.save(exported.program, path)  # one file, weights included


def _inputs(stock: DistilBertForSequenceClassification, batch: int, length: int) -> dict:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(stock.config.vocab_size, (batch, length), generator=draw)
    mask = torch.ones_like(ids)
    mask[-1, length // 2 + 1 :] = 0  # the last one is padded, where it is long enough
    return {"input_ids": ids, "attention_mask": mask}
