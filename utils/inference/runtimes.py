"""Inference runtimes: each computes the logits of a batch of token ids."""

import warnings
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from transformers.utils import logging

from utils import InputError
from utils.hardware import DTYPES, device, keep_freed_memory, precision

OPENVINO = "openvino/openvino_model.xml"  # in an exported folder, where optimum-intel looks for it
INPUTS = {"input_ids", "attention_mask"}
NAMES = ("auto", "openvino", "torch")


class Runtime(Protocol):
    """What a `Classifier` computes with."""

    name: str  # with its precision, as tables have it
    precision: str  # fp32, bf16 or int8

    def logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Of token ids and their attention mask, both (texts, tokens), int64: (texts, classes)."""
        ...


class Torch:
    """A model in torch, its encoder in `dtype`, by default what the processor multiplies fastest.

    The model itself is left in its own precision.
    """

    def __init__(self, model, dtype: torch.dtype | None = None):
        from utils.modeling.attention import attention

        keep_freed_memory()
        dtype = dtype or DTYPES[precision()[0]]
        self.precision = {kind: name for name, kind in DTYPES.items()}.get(dtype, str(dtype))
        self.name = f"torch, {self.precision}"
        self.computes = model
        if dtype != model.dtype:
            # A copy converted once, instead of autocast's conversion at every call. The head stays
            # in fp32: in bf16 a logit of 3 has steps of 0.016, and many reviews would be tied.
            self.computes = deepcopy(model)
            if model.config.model_type == "distilbert":
                self.computes.set_attn_implementation(attention()[0])
            self.computes.base_model.to(dtype).register_forward_hook(_hidden_state_in_fp32)

    def logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """As `Runtime` says."""
        inputs = (torch.from_numpy(array).to(device()) for array in (ids, mask))
        with torch.inference_mode():
            return self.computes(*inputs).logits.cpu().numpy()


class OpenVINO:
    """A model in OpenVINO on the CPU: an exported file in int8, or one of torch, converted here."""

    def __init__(self, source, threads: int | None = None):
        import openvino

        core = openvino.Core()
        core.set_property({"ENABLE_MMAP": False})  # the file is a copy, which goes
        from_file = isinstance(source, Path)
        model = core.read_model(source) if from_file else converted(source)
        if {name for port in model.inputs for name in port.names} != INPUTS:
            raise InputError(f"{OPENVINO} takes other inputs than token ids and their mask.")
        if not all(side.is_dynamic for port in model.inputs for side in port.partial_shape):
            raise InputError(f"{OPENVINO} is of one shape alone: export it again.")
        self.precision = "int8" if from_file else precision()[0]
        self.name = f"OpenVINO, {self.precision}"
        hints = {
            "PERFORMANCE_HINT": "LATENCY",  # all threads for one batch
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp32": "f32"}[precision()[0]],
        }
        self._request = core.compile_model(model, "CPU", hints).create_infer_request()

    def logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """As `Runtime` says."""
        found = self._request.infer({"input_ids": ids, "attention_mask": mask})[0]
        return found.copy()  # it is the runtime's own memory, written anew each time


def converted(model):
    """A model of torch as one of OpenVINO, with the same weights."""
    # What `openvino.convert_model` calls, which would report its use to its makers.
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # tracing looks at all that the class has, deprecated or not
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other shapes are tested
            example = dict.fromkeys(INPUTS, torch.ones((2, 16), dtype=torch.long))
            decoder = TorchScriptPythonDecoder(model, example_input=example)
            frontend = FrontEndManager().load_by_framework("pytorch")
            return frontend.convert(frontend.load(decoder))
    finally:
        logging.set_verbosity(before)


def choose(wanted: str, files: list[str]) -> tuple[str, str]:
    """ "openvino" or "torch", and the reason, for an exported folder with these files.

    Raises InputError where the wanted one cannot be had.
    """
    if wanted not in NAMES:
        raise InputError(f"The runtime {wanted!r} is none of {', '.join(NAMES)}.")
    if wanted == "torch":
        return "torch", "it was asked for"
    why_not = None
    if device().type != "cpu":
        why_not = "the model is on a GPU"
    elif OPENVINO not in files:
        why_not = "the folder has no openvino/"
    elif find_spec("openvino") is None:
        why_not = "the package openvino is not installed"
    if why_not and wanted == "openvino":
        raise InputError(f"OpenVINO cannot be used, since {why_not}.")
    if why_not:
        return "torch", why_not
    return "openvino", "it is the fastest on this processor"


def _hidden_state_in_fp32(encoder, inputs, output):
    output.last_hidden_state = output.last_hidden_state.float()
    return output
