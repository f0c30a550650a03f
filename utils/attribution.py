"""Which words push a review towards either label."""

from dataclasses import dataclass

import torch

from utils.hardware import device
from utils.inference import Classifier, Prediction
from utils.text import MAX_TOKENS, clean, head_tail

# Of integrated gradients; the completeness error says whether they are enough.
INTEGRATION_STEPS = 50


@dataclass(frozen=True)
class Word:
    """A word of the cleaned text and its push: above 0 towards POSITIVE; None where it was cut."""

    text: str
    weight: float | None


def explain(classifier: Classifier, text: str) -> tuple[Prediction, list[Word]]:
    """The prediction for one text, and each of its words with the weight that it had.

    A word's weight is the sum, over its tokens, of embedding times gradient of the logits'
    difference, POSITIVE less NEGATIVE (Shrikumar et al., "Not Just a Black Box", 2016): what the
    difference would lose, to first order, without the word. It is computed in the model's own
    precision, fp32, so the probability may differ from `predict`'s in bf16 by rounding.
    """
    model, encoded = classifier.model, Encoded(classifier, text)
    embeddings = model.get_input_embeddings()(encoded.ids).detach().requires_grad_()
    logits = model(inputs_embeds=embeddings, attention_mask=torch.ones_like(encoded.ids)).logits
    # Only the gradient of the embeddings is asked for: the weights keep none.
    (gradient,) = torch.autograd.grad(_difference(model, logits).sum(), embeddings)
    words = encoded.words((gradient * embeddings).sum(-1)[0, 1:-1].tolist())
    scores = logits[0].detach().softmax(-1).cpu().numpy()
    return classifier.prediction(scores, encoded.shortened), words


def integrate(classifier: Classifier, text: str) -> tuple[list[Word], float]:
    """Each word's weight by integrated gradients, and their completeness error.

    Gradients on the way from a review of padding to this one (Sundararajan et al., 2017), on the
    embeddings, by captum. Completeness: the weights of all tokens add up to what the difference of
    the logits gains on that way; the error is what is missing, as a share of that gain.
    """
    from captum.attr import LayerIntegratedGradients  # of requirements-evaluate.txt

    model, encoded = classifier.model, Encoded(classifier, text)
    empty = torch.full_like(encoded.ids, classifier.tokenizer.pad_token_id)
    empty[0, 0], empty[0, -1] = encoded.ids[0, 0], encoded.ids[0, -1]

    def difference(ids: torch.Tensor) -> torch.Tensor:
        return _difference(model, model(ids, torch.ones_like(ids)).logits)

    gradients = LayerIntegratedGradients(difference, model.distilbert.embeddings)
    found, missing = gradients.attribute(
        encoded.ids,
        empty,
        n_steps=INTEGRATION_STEPS,
        internal_batch_size=10,
        return_convergence_delta=True,
    )
    with torch.inference_mode():
        gain = (difference(encoded.ids) - difference(empty)).item()
    words = encoded.words(found.sum(-1)[0, 1:-1].tolist())
    return words, abs(missing.item()) / max(abs(gain), 1e-6)


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
        self.cleaned = clean(text)
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
        return len(self.kept) < len(self.offsets)

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
