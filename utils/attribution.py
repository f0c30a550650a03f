"""Which words push a review towards either label: one gradient-times-input pass."""

from dataclasses import dataclass

import torch

from utils.hardware import device
from utils.inference import Classifier, Prediction
from utils.text import MAX_TOKENS, clean, head_tail


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
    model, tokenizer = classifier.model, classifier.tokenizer
    cleaned = clean(text)
    encoded = tokenizer(
        cleaned, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    kept = head_tail(list(range(len(encoded["input_ids"]))), MAX_TOKENS - 2)
    ids = [encoded["input_ids"][position] for position in kept]
    ids = torch.tensor([[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]], device=device())

    embeddings = model.get_input_embeddings()(ids).detach().requires_grad_()
    logits = model(inputs_embeds=embeddings, attention_mask=torch.ones_like(ids)).logits[0]
    negative, positive = (model.config.label2id[name] for name in ("NEGATIVE", "POSITIVE"))
    # Only the gradient of the embeddings is asked for: the weights keep none.
    (gradient,) = torch.autograd.grad(logits[positive] - logits[negative], embeddings)
    pushes = (gradient * embeddings).sum(-1)[0, 1:-1].tolist()

    weights: dict[int, float] = {}  # by the character at which a word begins
    starts = _word_starts(cleaned)
    for position, push in zip(kept, pushes, strict=True):
        start = starts[encoded["offset_mapping"][position][0]]
        weights[start] = weights.get(start, 0.0) + push
    words, start = [], 0
    for word in cleaned.split(" "):
        words.append(Word(word, weights.get(start)))
        start += len(word) + 1
    shortened = len(kept) < len(encoded["input_ids"])
    scores = logits.detach().softmax(-1).cpu().numpy()
    return classifier.prediction(scores, shortened), words


def _word_starts(cleaned: str) -> list[int]:
    """For each character of a text, where the word begins that it is in."""
    starts, start = [], 0
    for position, character in enumerate(cleaned):
        starts.append(start)
        if character == " ":
            start = position + 1
    return starts
