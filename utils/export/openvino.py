"""OpenVINO's copy of an exported model, in int8, compared with the model before it is kept."""

import os
from pathlib import Path

import numpy as np

from utils import InputError
from utils.data.reviews import Reviews
from utils.evaluation.calibration import calibration_error
from utils.export.parity import agreement, in_fp32
from utils.files import write_folder
from utils.inference.classifier import Classifier
from utils.inference.runtimes import OPENVINO, OpenVINO, converted
from utils.manifest import check_manifest, check_replaceable, write_manifest
from utils.settings import require_packages
from utils.text import tokenize

CALIBRATED_ON = 300  # training reviews
SIGNIFICANT = 0.05


def add_openvino(folder: Path, reviews: Reviews) -> dict:
    """Write `openvino/` into an exported folder: the model in int8, for its runtime on a CPU.

    Weights and activations are quantised after training (NNCF's preset for transformers), with the
    activations' ranges from training reviews. Weights have seven of the eight bits: on a processor
    without VNNI sums of products would overflow their sixteen. Attention's own products stay in
    floating point, where they would overflow too. What it loses on validation is written into the
    manifest, and returned. Raises InputError where that is significant: then nothing is kept.
    """
    require_packages("export", "nncf", "openvino")
    folder = folder.resolve()
    check_replaceable(folder)
    manifest = check_manifest(folder)
    classifier = Classifier.from_folder(folder, "torch")
    texts = reviews.train["text"].tolist()[:CALIBRATED_ON]
    result = {}

    def fill(new: Path):
        for name in manifest["sha256"]:
            if not name.startswith("openvino/"):
                (new / name).write_bytes((folder / name).read_bytes())
        (new / OPENVINO).parent.mkdir()
        _quantise(classifier, texts, new / OPENVINO)
        result.update(_compare(classifier, new / OPENVINO, reviews))
        sizes = [path.stat().st_size for path in (new / OPENVINO).parent.iterdir()]
        result["megabytes"] = round(sum(sizes) / 1e6, 1)
        about = {key: value for key, value in manifest.items() if key != "sha256"}
        write_manifest(new, about | {"openvino": result})

    write_folder(folder, fill)
    return result


def _quantise(classifier: Classifier, texts: list[str], path: Path) -> None:
    os.environ["NNCF_CI"] = "1"  # it would report its use to its makers without asking
    import nncf
    import openvino

    inputs = [
        {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        for ids in tokenize(classifier.tokenizer, texts).ids
    ]
    model = nncf.quantize(
        converted(classifier.model),
        nncf.Dataset(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(inputs),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE
        ),
    )
    openvino.save_model(model, path, compress_to_fp16=False)


def _compare(classifier: Classifier, path: Path, reviews: Reviews) -> dict:
    """Labels, probabilities and calibration on validation, against the model's own in fp32."""
    labels, texts = reviews.validation["label"].to_numpy(), reviews.validation["text"].tolist()
    ours = in_fp32(classifier).probabilities(texts)
    int8 = Classifier(classifier.model, classifier.tokenizer, runtime=OpenVINO(path))
    theirs = int8.probabilities(texts)
    found = agreement(labels, ours, theirs)
    if found["accuracy"] < found["our_accuracy"] and found["mcnemar"]["p_value"] < SIGNIFICANT:
        raise InputError(
            f"In int8 {found['label_flips']} of {found['reviews']} validation labels differ, and "
            "significantly more of them are wrong: openvino/ is not written."
        )
    calibration = {
        name: calibration_error(labels, probabilities)
        for name, probabilities in (("fp32", ours), ("int8", theirs))
    }
    about = {"calibrated_on": CALIBRATED_ON, "dataset": reviews.title}
    return {**about, **found, "calibration_error": calibration}
