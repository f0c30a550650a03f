"""The Trainer's batches, its learning rate of each layer, and its averaged weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import interrupt_halfway, trainer_in
from transformers import TrainingArguments

from utils.results import Run
from utils.training.fine_tune import fine_tune, load_trained, validation_accuracy
from utils.training.recipe import Recipe
from utils.training.trainer import ShuffledBatches, WeightAveraging, training_arguments

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


def test_each_layer_learns_at_a_share_of_the_rate_above_it(backbone, reviews, tmp_path):
    recipe = Recipe(learning_rate=1.0, seed=0, layer_decay=0.5, weight_decay=0.01)
    trainer = trainer_in(Run(tmp_path / "run"), backbone, reviews, recipe)
    rates, decays = {}, {}
    for group in trainer.create_optimizer().param_groups:
        for parameter in group["params"]:
            rates[id(parameter)], decays[id(parameter)] = group["lr"], group["weight_decay"]
    found = {name: rates.pop(id(p)) for name, p in trainer.model.named_parameters()}
    assert rates == {}
    assert found["head.weight"] == 1
    assert found["distilbert.transformer.layer.1.ffn.lin1.weight"] == 0.5
    assert found["distilbert.transformer.layer.0.ffn.lin1.bias"] == 0.25
    assert found["distilbert.embeddings.word_embeddings.weight"] == 0.125
    assert decays[id(trainer.model.head.weight)] == 0.01
    assert decays[id(trainer.model.head.bias)] == 0


AVERAGED = Recipe(learning_rate=5e-3, seed=0, epochs=2, averaging=0.9)


def test_the_average_of_the_weights_is_what_is_evaluated_and_kept(backbone, reviews, tmp_path):
    """Against the average over the steps, computed here from the weights after each."""
    run = Run(tmp_path / "run")
    trainer = trainer_in(run, backbone, reviews, AVERAGED)
    expected = []

    def on_step_end(args, state, control, model, **kwargs):
        weight = model.head.weight.detach()
        step = 0.9 * expected[-1] + 0.1 * weight if expected else weight.clone()
        expected.append(step)

    trainer.callback_handler.callbacks[-1].on_step_end = on_step_end
    result = fine_tune(run, trainer, backbone, reviews, AVERAGED)
    classifier, _ = load_trained(run)
    steps = len(expected) * result["kept_epoch"] // AVERAGED.epochs
    kept = classifier.model.head.weight.detach().cpu()
    assert torch.allclose(kept, expected[steps - 1].cpu(), atol=1e-6)
    best = result["validation"][result["kept_epoch"] - 1]["accuracy"]
    assert validation_accuracy(classifier, reviews) == pytest.approx(best)


def test_interrupted_averaging_resumes_to_the_same_weights(backbone, reviews, tmp_path):
    whole, halves = Run(tmp_path / "whole"), Run(tmp_path / "halves")
    trainer = trainer_in(whole, backbone, reviews, AVERAGED)
    expected = fine_tune(whole, trainer, backbone, reviews, AVERAGED)
    trainer = trainer_in(halves, backbone, reviews, AVERAGED)
    interrupt_halfway(trainer)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(halves, trainer, backbone, reviews, AVERAGED)
    checkpoints = list(halves.folder.glob(f"checkpoints/*/*/{WeightAveraging.FILE}"))
    assert len(checkpoints) == 1
    trainer = trainer_in(halves, backbone, reviews, AVERAGED)
    resumed = fine_tune(halves, trainer, backbone, reviews, AVERAGED)
    assert resumed["resumed"]
    assert resumed["model_sha256"] == expected["model_sha256"]


def test_a_save_that_is_killed_leaves_no_weights_to_resume_from(tmp_path, monkeypatch):
    def killed(weights, path):
        path.write_bytes(b"half of th")
        raise KeyboardInterrupt

    monkeypatch.setattr("utils.training.trainer.save_file", killed)
    averaging = WeightAveraging(0.9)
    averaging.last = {"weight": torch.ones(2)}
    state = SimpleNamespace(global_step=5, is_world_process_zero=True)
    with pytest.raises(KeyboardInterrupt):
        averaging.on_save(SimpleNamespace(output_dir=tmp_path), state, None)
    assert not (tmp_path / "checkpoint-5" / WeightAveraging.FILE).exists()


def test_the_usual_way_is_that_of_the_usual_notebook(backbone, reviews, tmp_path):
    recipe = Recipe(learning_rate=1e-3, seed=0, usual=True)
    trainer = trainer_in(Run(tmp_path / "run"), backbone, reviews, recipe)
    assert not trainer.args.bf16
    assert trainer.model.distilbert.transformer.layer[0].attention.dropout.p == 0.1
    batches = [batch["attention_mask"].sum(-1).tolist() for batch in trainer.get_train_dataloader()]
    spread = np.mean([max(lengths) - min(lengths) for lengths in batches[:-1]])
    assert spread > 15  # of lengths from 6 to 37


def test_of_several_gpus_one_is_used_so_that_batches_stay_as_large(tmp_path, monkeypatch):
    set_up = TrainingArguments.__post_init__

    def with_two_gpus(arguments):
        set_up(arguments)
        arguments._n_gpu = 2

    monkeypatch.setattr(TrainingArguments, "__post_init__", with_two_gpus)
    values = {"output_dir": str(tmp_path), "per_device_train_batch_size": 16}
    assert training_arguments(**values).train_batch_size == 16
