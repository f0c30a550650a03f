"""The only place that predicts: evaluation, scripts and services all ask a `Classifier`."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from utils import InputError
from utils.hardware import device, multiplies_int8
from utils.inference.runtimes import OPENVINO, OpenVINO, Runtime, Torch, choose
from utils.labels import LABELS
from utils.manifest import checked_copy, require_weights
from utils.modeling.exported import exported_config, exported_model
from utils.modeling.tokenizer import load_tokenizer
from utils.progress import live_line
from utils.text import Tokens, as_texts, is_empty, tokenize

if TYPE_CHECKING:  # importing it takes seconds
    from transformers import PreTrainedModel

# Tokens of a batch, padding included: on a CPU small enough for its caches, where larger batches
# were slower; on a GPU enough to fill it.
BATCH_TOKENS = 1024 if device().type == "cpu" else 32768


@dataclass(frozen=True)
class Prediction:
    """NEGATIVE or POSITIVE, its probability, and whether the text was shortened."""

    label: str
    score: float
    truncated: bool


class Classifier:
    """A model and its tokenizer, ready to predict with one of the runtimes.

    `model` is the one in torch; a function that gives it is called once it is needed. Without a
    `runtime` torch computes, in `dtype` or else in what the processor multiplies fastest.
    """

    def __init__(
        self,
        model: Union["PreTrainedModel", Callable[[], "PreTrainedModel"]],
        tokenizer: PreTrainedTokenizerBase,
        dtype: torch.dtype | None = None,
        runtime: Runtime | None = None,
    ):
        self.manifest: dict | None = None  # of the folder that it was loaded from
        self.why: str | None = None  # the runtime was chosen
        self.tokenizer, self.batch_tokens = tokenizer, BATCH_TOKENS
        self._model, self._loading = model, threading.Lock()
        if isinstance(model, torch.nn.Module):
            model.to(device()).eval()
        self.runtime = runtime or Torch(self.model, dtype)

    @property
    def model(self) -> "PreTrainedModel":
        """The model in torch, in its own precision, on the accelerator where there is one."""
        with self._loading:
            if not isinstance(self._model, torch.nn.Module):
                self._model = self._model().to(device()).eval()
            return self._model

    @classmethod
    def from_folder(cls, folder: Path | str, runtime: str = "auto") -> "Classifier":
        """From an exported folder that is what its manifest says, never over the network.

        The runtime is OpenVINO where the folder holds a model for it, the package is installed and
        there is no GPU, else torch; or the one that is named, "openvino" or "torch". Raises
        InputError that names the file which is missing, changed or not listed, or where the
        tokenizer is not the model's, or the named runtime cannot be had.
        """
        folder = Path(folder).expanduser()
        with checked_copy(folder) as (copy, manifest):
            require_weights(folder, manifest)
            name, why = choose(runtime, list(manifest["sha256"]))
            try:
                config = exported_config(copy)
                weights = (copy / "model.safetensors").read_bytes()
                tokenizer = load_tokenizer(copy, config.vocab_size)
                model = partial(exported_model, config, weights)
                computes = None
                if name == "openvino" and multiplies_int8():
                    computes = OpenVINO(copy / OPENVINO)
                else:
                    model = model()
                if name == "openvino" and computes is None:
                    why += ", converted here: it has no instructions for int8"
                    computes = OpenVINO(model)
                classifier = cls(model, tokenizer, runtime=computes)
            except InputError as error:
                message = str(error).replace(copy.name, folder.name)
                raise InputError(f"{folder}: {message}") from error
            except Exception as error:  # of several libraries
                raise InputError(
                    f"{folder} cannot be loaded ({type(error).__name__}: {str(error)[:200]}): "
                    "export it again."
                ) from error
        classifier.manifest, classifier.why = manifest, why
        return classifier

    def predict(self, texts: str | Iterable[str]) -> list[Prediction]:
        """The label of each text; of a single one, a list of one.

        Raises InputError that names the first which is no text, or an empty one.
        """
        tokens = tokenize(self.tokenizer, _not_empty(as_texts(texts)))
        rows = self._softmax(tokens)
        return [self.prediction(*pair) for pair in zip(rows, tokens.shortened, strict=True)]

    def prediction(self, row: np.ndarray, shortened: bool) -> Prediction:
        """A row of class probabilities, shape (classes,), as a label and its probability."""
        label = LABELS[int(row.argmax())]
        return Prediction(label, float(row.max()), shortened)

    def probabilities(
        self, texts: str | Iterable[str], progress: bool = False, empty: bool = False
    ) -> np.ndarray:
        """The probability that each text is positive, shape (texts,).

        Raises InputError as `predict` does; with `empty`, for texts whose words were removed on
        purpose, empty ones are computed too.
        """
        texts = as_texts(texts) if empty else _not_empty(as_texts(texts))
        return self._softmax(tokenize(self.tokenizer, texts), progress)[:, 1]

    def _softmax(self, tokens: Tokens, progress: bool = False) -> np.ndarray:
        """Class probabilities, (texts, classes), float32: by length, so that little is padding."""
        out = np.empty((len(tokens.ids), len(LABELS)), dtype=np.float32)
        with live_line(sum(map(len, tokens.ids)), "predicting", progress) as line:
            for rows in batches_by_length(tokens.ids, self.batch_tokens):
                out[rows] = self.softmax([tokens.ids[row] for row in rows])
                line.update(sum(len(tokens.ids[row]) for row in rows))
        return out

    def softmax(self, ids: list[list[int]]) -> np.ndarray:
        """Class probabilities of one batch of token ids, shape (texts, classes), float32.

        Raises InputError where the model gives none.
        """
        # Multiples of 16: each shape that is new costs the making of its kernels.
        batch = self.tokenizer.pad({"input_ids": ids}, pad_to_multiple_of=16, return_tensors="np")
        logits = self.runtime.logits(batch["input_ids"], batch["attention_mask"])
        if logits.shape != (len(ids), len(LABELS)) or not np.isfinite(logits).all():
            raise InputError(
                f"The model gives no finite numbers for {len(LABELS)} classes: its weights are "
                "damaged, or it is another kind of model."
            )
        return torch.from_numpy(logits).softmax(-1).numpy()


def _not_empty(texts: list[str]) -> list[str]:
    for position, text in enumerate(texts):
        if is_empty(text):
            raise InputError(f"texts[{position}] is empty, so it has no label: leave it out.")
    return texts


def batches_by_length(
    ids: list[list[int]], batch_tokens: int = BATCH_TOKENS
) -> Iterator[list[int]]:
    """Row numbers in batches of at most `batch_tokens` once padded to their longest text.

    The longest texts come first. (`softmax` pads a little further.)
    """
    batch: list[int] = []
    for row in sorted(range(len(ids)), key=lambda row: -len(ids[row])):
        if batch and (len(batch) + 1) * len(ids[batch[0]]) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
