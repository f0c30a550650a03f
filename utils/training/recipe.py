"""How a model is fine-tuned: the hyperparameters, which are also flags of scripts/train.py."""

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from dataclasses import dataclass, fields

from utils import InputError
from utils.text import MAX_TOKENS


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters: all that the result depends on besides data, backbone and machine."""

    learning_rate: float
    seed: int
    epochs: int = 3
    batch_size: int = 16
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.01
    max_tokens: int = MAX_TOKENS  # of a longer review, head and tail
    group_by_length: bool = True  # batches of similar length, in random order

    def __post_init__(self):
        """Raises InputError where a number is out of range."""
        for name, least, most in (
            ("learning_rate", 0, 1), ("epochs", 1, 1000), ("batch_size", 1, 4096),
            ("warmup", 0, 1), ("weight_decay", 0, 1), ("max_tokens", 8, MAX_TOKENS),
        ):  # fmt: skip
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name}={getattr(self, name)}: give {least} to {most}.")


def add_flags(parser: ArgumentParser) -> None:
    """Add a flag for each hyperparameter but the seed, which is a setting."""
    for field in fields(Recipe):
        if field.name == "seed":
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if field.type is bool:
            parser.add_argument(flag, action=BooleanOptionalAction)
        else:
            usual = "of the encoder's width" if field.name == "learning_rate" else field.default
            parser.add_argument(flag, type=field.type, help=f"default: {usual}")


def recipe_of(arguments: Namespace, learning_rate: float, seed: int) -> Recipe:
    """The recipe that the flags say, with what is usual where they say nothing."""
    said = {field.name: getattr(arguments, field.name, None) for field in fields(Recipe)}
    said = {name: value for name, value in said.items() if value is not None}
    return Recipe(**{"learning_rate": learning_rate, "seed": seed, **said})
