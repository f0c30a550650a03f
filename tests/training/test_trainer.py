"""The Trainer's batches, and the recipe's flags."""

from argparse import ArgumentParser

import numpy as np
import pytest
import torch
from conftest import trainer_in
from transformers import TrainingArguments

from utils import InputError
from utils.results import Run
from utils.training.recipe import Recipe, add_flags, recipe_of
from utils.training.trainer import ShuffledBatches, training_arguments

LENGTHS = np.random.default_rng(0).integers(10, 500, 1610).tolist()


def batches(seed: int, epoch: int = 0) -> list[list[int]]:
    sampler = ShuffledBatches(16, LENGTHS, seed)
    sampler.set_epoch(epoch)
    rows = list(sampler)
    assert sorted(rows) == list(range(len(LENGTHS)))
    return [rows[start : start + 16] for start in range(0, len(rows), 16)]


def test_a_batch_holds_similar_lengths_and_the_order_of_batches_is_random():
    found = [[LENGTHS[row] for row in batch] for batch in batches(seed=0)]
    assert [len(batch) for batch in found] == [*[16] * 100, 10]
    padding = 1 - sum(map(sum, found)) / sum(len(batch) * max(batch) for batch in found)
    assert padding < 0.08
    means = [np.mean(batch) for batch in found]
    neighbours = np.corrcoef(means[:-1], means[1:])[0, 1]
    assert abs(neighbours) < 0.3  # transformers' own order gives 0.9


def test_the_order_depends_on_the_seed_and_the_epoch_alone():
    first = batches(seed=1)
    torch.manual_seed(5)
    assert batches(seed=1) == first
    assert first not in (batches(seed=2), batches(seed=1, epoch=1))


def test_each_epoch_of_a_training_has_an_order_of_its_own(backbone, reviews, tmp_path):
    recipe = Recipe(learning_rate=1e-3, seed=0, epochs=2)
    trainer = trainer_in(Run(tmp_path / "run"), backbone, reviews, recipe)
    orders = []
    real = ShuffledBatches.__iter__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ShuffledBatches,
            "__iter__",
            lambda self: iter(orders.append(list(real(self))) or orders[-1]),
        )
        trainer.train()
    assert len(orders) == 2
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_reviews_come_in_random_order_where_they_are_not_grouped(backbone, reviews, tmp_path):
    recipe = Recipe(learning_rate=1e-3, seed=0, group_by_length=False)
    trainer = trainer_in(Run(tmp_path / "run"), backbone, reviews, recipe)
    batches = [batch["attention_mask"].sum(-1).tolist() for batch in trainer.get_train_dataloader()]
    spread = np.mean([max(lengths) - min(lengths) for lengths in batches[:-1]])
    assert spread > 15  # of lengths from 6 to 37


def test_flags_are_the_hyperparameters_and_what_is_not_said_is_usual():
    parser = ArgumentParser()
    add_flags(parser)
    said = parser.parse_args(["--epochs", "4", "--learning-rate", "5e-5", "--no-group-by-length"])
    assert recipe_of(said, 1e-4, 7) == Recipe(5e-5, 7, epochs=4, group_by_length=False)
    assert recipe_of(parser.parse_args([]), 1e-4, 7) == Recipe(1e-4, 7)
    for flag in (["--max-tokens", "513"], ["--epochs", "0"], ["--learning-rate", "nan"]):
        with pytest.raises(InputError, match=f"{flag[0][2:].replace('-', '_')}={flag[1]}: give"):
            recipe_of(parser.parse_args(flag), 1e-4, 7)


def test_of_several_gpus_one_is_used_so_that_batches_stay_as_large(tmp_path, monkeypatch):
    set_up = TrainingArguments.__post_init__

    def with_two_gpus(arguments):
        set_up(arguments)
        arguments._n_gpu = 2

    monkeypatch.setattr(TrainingArguments, "__post_init__", with_two_gpus)
    values = {"output_dir": str(tmp_path), "per_device_train_batch_size": 16}
    assert training_arguments(**values).train_batch_size == 16
