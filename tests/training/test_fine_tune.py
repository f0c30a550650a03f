"""Fine-tuning: it learns, resumes to the same result, and is not repeated."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from conftest import interrupt_halfway, run_script, trainer_in
from safetensors.torch import load_file, save_file

from utils import InputError
from utils.data.reviews import load_reviews
from utils.data.unlabelled import hash_of
from utils.manifest import check_manifest
from utils.paths import ROOT
from utils.research.pretraining import pretrain, pretraining_fingerprint
from utils.results import Run
from utils.settings import Settings
from utils.training.figures import training_curves
from utils.training.fine_tune import (
    checkpoint_to_resume,
    fine_tune,
    load_trained,
    trained_folder,
    validation_accuracy,
)
from utils.training.fingerprint import fingerprint
from utils.training.progress import advice, estimate_minutes
from utils.training.recipe import Recipe

RECIPE = Recipe(learning_rate=5e-3, seed=0, epochs=2)


def weights_of(run, result):
    return load_file(
        run.folder / "checkpoints" / result["fingerprint"] / "model" / "model.safetensors"
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_bert, backbone, reviews):
    artifacts = tmp_path_factory.mktemp("run")
    run = Run.of(Settings(backbone=str(tiny_bert), artifacts=str(artifacts)), reviews.name)
    return run, fine_tune(
        run, trainer_in(run, backbone, reviews, RECIPE), backbone, reviews, RECIPE
    )


def test_it_learns_and_its_result_says_how(trained, reviews):
    run, result = trained
    classifier, loaded = load_trained(run, training_sha256=reviews.training_sha256, seed=0)
    assert loaded == result
    assert validation_accuracy(classifier, reviews) > 0.9
    last = result["validation"][-1]
    assert last["epoch"] == RECIPE.epochs
    assert validation_accuracy(classifier, reviews) == pytest.approx(last["accuracy"])


@pytest.mark.parametrize("named", [True, False])
def test_the_script_exports_a_trained_run(trained, tiny_bert, reviews_folder, tmp_path, named):
    """By its name, or by the settings that it was trained with."""
    run, result = trained
    which = ["--run", run.name] if named else []
    settings = {"source": reviews_folder, "backbone": tiny_bert, "labels": 200, "seed": 0}
    found = run_script(
        "model-export.py", *which, "--output", tmp_path / "model",
        artifacts=run.folder.parent, **settings,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert check_manifest(tmp_path / "model")["run"]["fingerprint"] == result["fingerprint"]


def test_the_same_seed_gives_the_same_weights(trained, backbone, reviews, tmp_path):
    _, result = trained
    other = Run(tmp_path / "other")
    again = fine_tune(
        other, trainer_in(other, backbone, reviews, RECIPE), backbone, reviews, RECIPE
    )
    assert again["model_sha256"] == result["model_sha256"]


def test_the_estimate_changes_nothing(trained, backbone, reviews, tmp_path):
    _, result = trained
    run = Run(tmp_path / "estimated")
    trainer = trainer_in(run, backbone, reviews, RECIPE)
    minutes = estimate_minutes(trainer, reviews.test["text"].tolist())
    assert all(value > 0 for value in minutes.values())
    again = fine_tune(run, trainer, backbone, reviews, RECIPE)
    assert again["model_sha256"] == result["model_sha256"]


def test_the_estimate_of_two_processes_is_half_of_one(backbone, reviews, tmp_path, monkeypatch):
    trainer = trainer_in(Run(tmp_path / "run"), backbone, reviews, RECIPE)
    monkeypatch.setattr("utils.training.progress.seconds_since", lambda _: 1.0)
    one = estimate_minutes(trainer, ["great film"])["training"]
    monkeypatch.setattr("utils.training.progress.processes", lambda: 2)
    assert estimate_minutes(trainer, ["great film"])["training"] == pytest.approx(one / 2)


def test_interrupted_training_resumes_to_the_same_weights(trained, backbone, reviews, tmp_path):
    run, result = trained
    interrupted = Run(tmp_path / "interrupted")
    trainer = trainer_in(interrupted, backbone, reviews, RECIPE)
    trainer.callback_handler.callbacks[-1].earlier = 600.0  # seconds, as if it had been slow
    interrupt_halfway(trainer)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(interrupted, trainer, backbone, reviews, RECIPE)
    trainer = trainer_in(interrupted, backbone, reviews, RECIPE)
    resumed = fine_tune(interrupted, trainer, backbone, reviews, RECIPE)
    assert resumed["resumed"]
    assert 10 <= resumed["minutes"] < 11  # those before the interruption count
    expected, found = weights_of(run, result), weights_of(interrupted, resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_cell_interrupted_before_any_checkpoint_starts_anew(trained, backbone, reviews, tmp_path):
    """The same trainer object, as when a notebook's cell is run again."""
    _, result = trained
    run = Run(tmp_path / "again")
    trainer = trainer_in(run, backbone, reviews, RECIPE)
    original = trainer.callback_handler.callbacks[-1].on_step_end

    def stop(args, state, control, **kwargs):
        if state.global_step == 5:
            raise KeyboardInterrupt

    trainer.callback_handler.callbacks[-1].on_step_end = stop
    with pytest.raises(KeyboardInterrupt):
        fine_tune(run, trainer, backbone, reviews, RECIPE)
    trainer.callback_handler.callbacks[-1].on_step_end = original
    again = fine_tune(run, trainer, backbone, reviews, RECIPE)
    assert again["model_sha256"] == result["model_sha256"]


def test_a_checkpoint_cut_short_is_passed_over(trained, backbone, reviews, tmp_path):
    _, result = trained
    run = Run(tmp_path / "torn")
    folder = run.folder / "checkpoints" / result["fingerprint"]
    (folder / "checkpoint-12").mkdir(parents=True)
    (folder / "checkpoint-12" / "model.safetensors").write_bytes(b"half")
    again = fine_tune(run, trainer_in(run, backbone, reviews, RECIPE), backbone, reviews, RECIPE)
    assert again["model_sha256"] == result["model_sha256"]


@pytest.fixture(scope="module")
def halfway(backbone, reviews, tmp_path_factory) -> Path:
    """The folder of a training that was interrupted after its first checkpoint."""
    run = Run(tmp_path_factory.mktemp("halfway") / "run")
    trainer = trainer_in(run, backbone, reviews, RECIPE)
    interrupt_halfway(trainer)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(run, trainer, backbone, reviews, RECIPE)
    return run.folder


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip(file: Path) -> None:
    """One bit in the middle, among the tensors."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", cut),
        ("model.safetensors", empty),
        ("model.safetensors", Path.unlink),
        ("optimizer.pt", cut),
        ("optimizer.pt", flip),
        ("optimizer.pt", Path.unlink),
        ("scheduler.pt", empty),
        ("rng_state.pth", cut),
        ("trainer_state.json", cut),
        ("trainer_state.json", empty),
    ],
)
def test_a_damaged_checkpoint_is_named(name, damage, halfway, backbone, reviews, tmp_path):
    run = Run(tmp_path / "run")
    shutil.copytree(halfway, run.folder)
    [checkpoint] = run.folder.glob("checkpoints/*/checkpoint-*")
    damage(checkpoint / name)
    trainer = trainer_in(run, backbone, reviews, RECIPE)
    with pytest.raises(InputError) as refused:
        fine_tune(run, trainer, backbone, reviews, RECIPE)
    assert f"damaged: {name} is missing or cut short" in str(refused.value)
    where = checkpoint.relative_to(tmp_path).as_posix()
    assert f"Delete {where} and run again" in str(refused.value)
    shutil.rmtree(tmp_path / where)
    assert not checkpoint_to_resume(trainer)


# Holds the claim of a folder until its standard input is closed.
HOLDS = """
import sys
from pathlib import Path
from utils.files import claim

with claim(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_at(folder: Path | str) -> Iterator[None]:
    """Within it another process, which is training there, has the claim of a folder."""
    command = [sys.executable, "-c", HOLDS, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        yield


def test_a_second_start_does_not_touch_the_first_ones_checkpoint(backbone, reviews, tmp_path):
    run = Run(tmp_path / "run")
    trainer = trainer_in(run, backbone, reviews, RECIPE)
    unfinished = Path(trainer.args.output_dir) / "checkpoint-12"
    unfinished.mkdir(parents=True)
    with (
        another_process_at(trainer.args.output_dir),
        pytest.raises(InputError, match="another process is writing the training run/checkpoints"),
    ):
        fine_tune(run, trainer, backbone, reviews, RECIPE)
    assert unfinished.exists()


def test_a_second_start_of_pretraining_does_not_either(backbone, reviews, tmp_path):
    folder = tmp_path / pretraining_fingerprint(backbone, hash_of(reviews.train), 0)
    unfinished = folder / "checkpoint-12"
    unfinished.mkdir(parents=True)
    with (
        another_process_at(folder),
        pytest.raises(InputError, match="another process is writing the pretraining"),
    ):
        pretrain(tmp_path, backbone, reviews.train, seed=0)
    assert unfinished.exists()


def test_only_the_first_of_several_processes_takes_the_claim(backbone, reviews, tmp_path):
    trainer = trainer_in(Run(tmp_path / "run"), backbone, reviews, RECIPE)
    trainer.is_world_process_zero = lambda: False
    trainer.train = reached = Mock(side_effect=KeyboardInterrupt)
    with another_process_at(trainer.args.output_dir), pytest.raises(KeyboardInterrupt):
        fine_tune(Run(tmp_path / "run"), trainer, backbone, reviews, RECIPE)
    assert reached.called


@pytest.fixture
def own_run(trained, tmp_path):
    """A copy of the trained run, to be changed, and the folder of its model."""
    run = Run(tmp_path / trained[0].folder.name)
    shutil.copytree(trained[0].folder, run.folder)
    return run, trained_folder(run, trained[1]["fingerprint"])


def test_code_beside_the_weights_is_not_run(own_run):
    run, folder = own_run
    load_trained(run)
    path = folder / "tokenizer_config.json"
    saved = json.loads(path.read_text(encoding="utf-8")) | {"auto_map": {"AutoTokenizer": "a.B"}}
    path.write_text(json.dumps(saved), encoding="utf-8")
    with pytest.raises(InputError, match="names code of the folder to run"):
        load_trained(run)


def test_weights_that_were_swapped_are_not_taken_for_those_that_were_trained(own_run):
    run, folder = own_run
    weights = load_file(folder / "model.safetensors")
    weights["head.bias"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="holds other weights than were trained"):
        load_trained(run)


def test_the_release_of_transformers_does_not_repeat_a_training(backbone, reviews, monkeypatch):
    before = fingerprint(backbone, reviews, RECIPE)
    monkeypatch.setattr("transformers.configuration_utils.__version__", "5.23.1")
    assert backbone.config.to_dict()["transformers_version"] == "5.23.1"
    assert fingerprint(backbone, reviews, RECIPE) == before


def test_the_smallest_budget_trains(tiny_bert, reviews_folder, backbone, tmp_path):
    few = load_reviews(Settings(source=str(reviews_folder), labels=20))
    run, recipe = Run(tmp_path / "few"), Recipe(learning_rate=1e-3, seed=0, epochs=1)
    trainer = trainer_in(run, backbone, few, recipe)
    assert estimate_minutes(trainer, few.test["text"].tolist())["training"] > 0
    assert fine_tune(run, trainer, backbone, few, recipe)["train_reviews"] == 18


def test_a_finished_training_is_not_repeated(trained, backbone, reviews, capsys):
    run, result = trained
    trainer = trainer_in(run, backbone, reviews, RECIPE)
    trainer.train = None  # calling it would fail
    assert fine_tune(run, trainer, backbone, reviews, RECIPE) == result
    assert "finished" in capsys.readouterr().out


def test_checkpoints_of_the_optimizer_are_gone_afterwards(trained):
    run, result = trained
    folder = run.folder / "checkpoints" / result["fingerprint"]
    assert [path.name for path in folder.iterdir()] == ["model"]


def test_other_data_or_seed_ask_for_the_notebook(trained):
    run, _ = trained
    with pytest.raises(InputError, match=r"another seed.*03_fine_tuning"):
        load_trained(run, seed=1)
    with pytest.raises(InputError, match=r"another training_sha256.*03_fine_tuning"):
        load_trained(run, training_sha256="0" * 64)


def test_committed_results_without_weights_ask_for_the_notebook(trained, tmp_path):
    _, result = trained
    fresh = Run(tmp_path / "fresh-clone")
    fresh.save("training", result)
    with pytest.raises(InputError, match=r"only results are committed.*03_fine_tuning"):
        load_trained(fresh)


def test_a_full_disk_is_named_before_training(backbone, reviews, tmp_path, monkeypatch):
    free = type("usage", (), {"free": 1000})
    monkeypatch.setattr("utils.training.fine_tune.shutil.disk_usage", lambda path: free)
    run = Run(tmp_path / "full")
    with pytest.raises(InputError, match="GB of free disk"):
        fine_tune(run, trainer_in(run, backbone, reviews, RECIPE), backbone, reviews, RECIPE)


def test_a_result_holds_no_path(trained):
    run, result = trained
    assert str(run.folder.parent) not in json.dumps(result)


def test_the_faster_choice_is_named_only_where_it_helps():
    hour = {"training": 60.0, "predicting": 30.0}
    small, large = (Settings(backbone=name) for name in ("minilm", "distilbert"))
    assert "Faster" not in advice({"training": 2.0, "predicting": 1.0}, small, 2000)
    slow = advice(hour, large, 25_000)
    assert "BACKBONE=minilm" in slow
    assert "TEST_SIZE=2000" in slow
    assert "LABELS=1000" in slow
    assert "LABELS" not in advice(hour, replace(large, labels=500), 25_000)
    assert "Faster" not in advice(hour, replace(small, labels=500), 2000)


def test_the_ticks_of_the_validation_curve_are_told_apart(trained):
    """Three epochs within a point of accuracy: rounded to whole percents, all ticks were alike."""
    epochs = [{"epoch": number, "loss": 0.3, "accuracy": accuracy}
              for number, accuracy in enumerate((0.8925, 0.89, 0.90), 1)]  # fmt: skip
    figure = training_curves(trained[1] | {"validation": epochs})
    figure.canvas.draw()
    ticks = [tick.get_text() for tick in figure.axes[1].get_yticklabels()]
    assert len(set(ticks)) == len(ticks) > 2
