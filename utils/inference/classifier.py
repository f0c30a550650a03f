"""The only place that predicts: evaluation, scripts and services all ask a `Classifier`."""

import time
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from utils import InputError
from utils.hardware import DTYPES, device, keep_freed_memory, precision
from utils.labels import LABELS
from utils.manifest import checked_copy, require_weights
from utils.modeling.attention import attention
from utils.modeling.model import MOST_LAYERS
from utils.modeling.tokenizer import load_tokenizer, model_config
from utils.text import MAX_TOKENS, Tokens, as_texts, is_empty, tokenize

# Tokens of a batch, padding included: on a CPU small enough for its caches, where larger batches
# were slower; on a GPU enough to fill it.
BATCH_TOKENS = 2048 if device().type == "cpu" else 32768


@dataclass(frozen=True)
class Prediction:
    """A label of the model's `id2label`, its probability, and whether the text was shortened."""

    label: str
    score: float
    truncated: bool


class Classifier:
    """A model and its tokenizer, ready to predict.

    It computes in `dtype`, by default in what the processor multiplies fastest; `model` itself is
    left in its own precision.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        dtype: torch.dtype | None = None,
    ):
        keep_freed_memory()
        self.manifest: dict | None = None  # of the folder that it was loaded from
        self.model = model.to(device()).eval()
        self.tokenizer = tokenizer
        dtype = dtype or DTYPES[precision()[0]]
        self._computes = self.model
        if dtype != self.model.dtype:
            # A copy converted once, instead of autocast's conversion at every call. The head stays
            # in fp32: in bf16 a logit of 3 has steps of 0.016, and many reviews would be tied.
            self._computes = deepcopy(self.model)
            if self.model.config.model_type == "distilbert":
                self._computes.set_attn_implementation(attention()[0])
            self._computes.base_model.to(dtype).register_forward_hook(_hidden_state_in_fp32)

    @classmethod
    def from_folder(cls, folder: Path | str) -> "Classifier":
        """From an exported folder that is what its manifest says, never over the network.

        Raises InputError that names the file which is missing, changed or not listed, or where
        the tokenizer is not the model's.
        """
        folder = Path(folder)
        with checked_copy(folder) as (copy, manifest):
            require_weights(folder, manifest)
            try:
                model = _load_model(copy)
                tokenizer = load_tokenizer(copy, model.config.vocab_size)
            except InputError as error:
                raise InputError(
                    f"{folder}: {str(error).replace(copy.name, folder.name)}"
                ) from error
            except Exception as error:  # of several libraries
                raise InputError(
                    f"{folder} cannot be loaded ({type(error).__name__}: {str(error)[:200]}): "
                    "export it again."
                ) from error
        classifier = cls(model, tokenizer)
        classifier.manifest = manifest
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
        label = self.model.config.id2label[int(row.argmax())]
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
        out = np.empty((len(tokens.ids), self.model.config.num_labels), dtype=np.float32)
        started, done, shown = time.perf_counter(), 0, 0.0
        total = sum(map(len, tokens.ids))
        for rows in batches_by_length(tokens.ids):
            out[rows] = self.softmax([tokens.ids[row] for row in rows])
            done += sum(len(tokens.ids[row]) for row in rows)
            if progress and (done / total - shown >= 0.1 or done == total):
                shown = done / total
                left = (time.perf_counter() - started) * (1 / shown - 1)
                print(f"predicted {shown:4.0%} of the tokens, {left / 60:.1f} min left")
        return out

    def softmax(self, ids: list[list[int]]) -> np.ndarray:
        """Class probabilities of one batch of token ids, shape (texts, classes), float32."""
        # Multiples of 16: each shape that is new costs the making of its kernels.
        batch = self.tokenizer.pad(
            {"input_ids": ids}, pad_to_multiple_of=16, return_tensors="pt"
        ).to(device())
        with torch.inference_mode():
            logits = self._computes(batch["input_ids"], batch["attention_mask"]).logits
            return logits.softmax(-1).cpu().numpy()


def _load_model(folder: Path) -> DistilBertForSequenceClassification:
    """The stock class with a folder's weights, in fp32; InputError where they do not fit it.

    transformers would fill up what is missing with random weights, and follow keys of config.json
    to other files.
    """
    said = model_config(folder)
    if said["model_type"] != "distilbert":
        raise InputError(f"it holds a {said['model_type']}, no export of a DistilBERT.")
    if unknown := sorted(said.keys() - DistilBertConfig().to_dict().keys()):
        raise InputError(f"its config.json has the key {unknown[0]!r}, which no export has.")
    usual = DistilBertConfig().to_dict()
    for key in ("return_dict", "chunk_size_feed_forward", "output_attentions",
                "output_hidden_states", "problem_type"):  # fmt: skip
        if said.get(key, usual[key]) != usual[key]:
            raise InputError(f"its config.json has {key}={said[key]!r:.40}, which no export has.")
    config = DistilBertConfig.from_dict(said)
    if config.id2label != LABELS or config.label2id != {name: n for n, name in LABELS.items()}:
        raise InputError(f"its classes are {config.id2label}, and should be {LABELS}.")
    if config.max_position_embeddings < MAX_TOKENS:
        raise InputError(f"it reads {config.max_position_embeddings} tokens, not {MAX_TOKENS}.")
    stored = load((folder / "model.safetensors").read_bytes())
    weights = {name: tensor.float() for name, tensor in stored.items()}
    layers = {name.split(".layer.")[1].split(".")[0] for name in weights if ".layer." in name}
    if len(layers) != config.n_layers or len(layers) > MOST_LAYERS:
        raise InputError(f"it has {len(layers)} layers, and its config.json {config.n_layers}.")
    with torch.device("meta"):  # which has shapes, and no memory
        empty = DistilBertForSequenceClassification(config).state_dict()
    for name in sorted(empty.keys() | weights.keys()):
        shapes = [list(part[name].shape) if name in part else "none" for part in (empty, weights)]
        if shapes[0] != shapes[1]:
            raise InputError(f"{name} should have the shape {shapes[0]}, and has {shapes[1]}.")
    if wrong := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise InputError(f"{wrong[0]} holds NaN or infinite numbers.")
    return DistilBertForSequenceClassification.from_pretrained(
        None, config=config, state_dict=weights, dtype=torch.float32
    )


def _not_empty(texts: list[str]) -> list[str]:
    for position, text in enumerate(texts):
        if is_empty(text):
            raise InputError(f"texts[{position}] is empty, so it has no label: leave it out.")
    return texts


def _hidden_state_in_fp32(encoder, inputs, output):
    output.last_hidden_state = output.last_hidden_state.float()
    return output


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
