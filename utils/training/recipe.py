"""How a model is fine-tuned."""

from dataclasses import dataclass

from utils.text import MAX_TOKENS


@dataclass(frozen=True)
class Recipe:
    """How the model is fine-tuned; everything that the result depends on besides the data."""

    learning_rate: float
    seed: int
    epochs: int = 3
    batch_size: int = 16
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.01
    shuffled: bool = True  # batches of similar length in random order, not from long to short
    best_epoch: bool = False  # keep the epoch that validation prefers, not the last one
    max_tokens: int = MAX_TOKENS
    tail: bool = True  # of a longer review keep head and tail, not the head alone
    layer_decay: float = 1.0  # each layer's learning rate, as a multiple of that above it
    grouped: bool = True  # batches of similar length, not of reviews in random order
    usual: bool = False  # as the usual notebook: fp32, attention dropout, reviews in random order
    averaging: float | None = None  # decay of the moving average of the weights that is evaluated
