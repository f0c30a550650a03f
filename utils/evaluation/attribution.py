"""Which words push a review towards either label."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch

from utils.hardware import device
from utils.inference.classifier import Classifier, Prediction
from utils.text import MAX_TOKENS, head_tail, read_ends

# Of integrated gradients; the completeness error says whether they are enough.
STEPS = 50
FEW_STEPS = 16  # where someone waits
AT_ONCE = 8  # steps in a batch, of AT_ONCE_TOKENS together at most: gradients take much memory
AT_ONCE_TOKENS = 1024


@dataclass(frozen=True)
class Word:
    """A word of the cleaned text and its push: above 0 towards POSITIVE; None where it was cut."""

    text: str
    weight: float | None


Explained = tuple[Prediction, list[Word], float]


def explain(classifier: Classifier, text: str, steps: int = STEPS) -> Explained:
    """The prediction for one text, each word's weight, and the weights' completeness error.

    Weights are integrated gradients (Sundararajan et al., 2017), summed over a word's tokens: of
    the logits' difference, POSITIVE less NEGATIVE, along the way from the embeddings of a review of
    padding to those of this one, by Gauss and Legendre's rule. Completeness: the weights of all
    tokens add up to what the difference gains on that way; the error is what is missing, as a share
    of that gain. All is computed in the model's own precision, fp32, so the probability may differ
    from `predict`'s in bf16 by rounding.
    """
    parts = explain_in_parts(classifier, text, steps)
    while True:
        try:
            next(parts)
        except StopIteration as finished:
            return finished.value


def explain_in_parts(
    classifier: Classifier, text: str, steps: int = STEPS
) -> Generator[None, None, Explained]:
    """The same in short parts, so that other work can go between them."""
    model, encoded = classifier.model, Encoded(classifier, text)
    empty = torch.full_like(encoded.ids, classifier.tokenizer.pad_token_id)
    empty[0, 0], empty[0, -1] = encoded.ids[0, 0], encoded.ids[0, -1]  # [CLS] and [SEP] stay
    with torch.no_grad():
        start, end = map(model.get_input_embeddings(), (empty, encoded.ids))
        logits = _logits(model, torch.cat([start, end]))
    places, shares = (
        torch.tensor(values, dtype=end.dtype, device=end.device)[:, None, None] / 2
        for values in np.polynomial.legendre.leggauss(steps)  # from -1 to 1
    )
    gradient = torch.zeros_like(end)
    at_once = max(1, min(AT_ONCE, AT_ONCE_TOKENS // encoded.ids.shape[1]))
    for place, share in zip(places.split(at_once), shares.split(at_once), strict=True):
        yield
        between = torch.lerp(start, end, place + 0.5).requires_grad_()
        # Only the gradient of the embeddings is asked for: the weights keep none.
        (found,) = torch.autograd.grad(_difference(model, _logits(model, between)).sum(), between)
        gradient += (share * found).sum(0, keepdim=True)
    pushes = ((end - start) * gradient).sum(-1)[0]
    before, after = _difference(model, logits).tolist()
    error = abs(after - before - pushes.sum().item()) / max(abs(after - before), 1e-6)
    scores = logits[1].softmax(-1).cpu().numpy()
    prediction = classifier.prediction(scores, encoded.shortened)
    return prediction, encoded.words(pushes[1:-1].tolist()), error


def _logits(model, embeddings: torch.Tensor) -> torch.Tensor:
    """Of embeddings of shape (batch, tokens, dim), none of which is left out."""
    mask = torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
    return model(inputs_embeds=embeddings, attention_mask=mask).logits


def without_words(words: list[Word], weights: list[float], push: int, count: int) -> str:
    """The text without the `count` words of the largest `weights` to one side.

    `push` is 1 for weights towards POSITIVE, -1 for the others. Words that were not read, since
    they were cut away, stay.
    """
    read = [place for place, word in enumerate(words) if word.weight is not None]
    removed = sorted(read, key=lambda place: -push * weights[place])[:count]
    return " ".join(word.text for place, word in enumerate(words) if place not in removed)


def _difference(model, logits: torch.Tensor) -> torch.Tensor:
    negative, positive = (model.config.label2id[name] for name in ("NEGATIVE", "POSITIVE"))
    return logits[:, positive] - logits[:, negative]


class Encoded:
    """One text as token ids, shape (1, tokens), with the word that each token belongs to."""

    def __init__(self, classifier: Classifier, text: str):
        self.cleaned, self._left_out = read_ends(text)
        tokenizer = classifier.tokenizer
        encoded = tokenizer(
            self.cleaned, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        self.offsets = encoded["offset_mapping"]
        self.kept = head_tail(list(range(len(encoded["input_ids"]))), MAX_TOKENS - 2)
        ids = [encoded["input_ids"][position] for position in self.kept]
        ids = [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]
        self.ids = torch.tensor([ids], device=device())

    @property
    def shortened(self) -> bool:
        """Whether the cut took something away."""
        return self._left_out or len(self.kept) < len(self.offsets)

    def words(self, pushes: list[float]) -> list[Word]:
        """The text's words, from the push of each token that was kept."""
        weights: dict[int, float] = {}  # by the character at which a word begins
        starts = _word_starts(self.cleaned)
        for position, push in zip(self.kept, pushes, strict=True):
            start = starts[self.offsets[position][0]]
            weights[start] = weights.get(start, 0.0) + push
        words, start = [], 0
        for word in self.cleaned.split(" "):
            words.append(Word(word, weights.get(start)))
            start += len(word) + 1
        return words


def _word_starts(cleaned: str) -> list[int]:
    """For each character of a text, where the word begins that it is in."""
    starts, start = [], 0
    for position, character in enumerate(cleaned):
        starts.append(start)
        if character == " ":
            start = position + 1
    return starts
