"""Training by two processes that share each batch: the same as by one, and no half of it left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import make_reviews

from utils.paths import ROOT

pytestmark = pytest.mark.slow

# The main path in fp32 without dropout, every step logged.
TRAIN = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
import torch
from utils.modeling.backbones import build_model, load_backbone
from utils.data.reviews import load_reviews
from utils.training import trainer as training
from utils.training.recipe import Recipe
from utils.results import Run
from utils.settings import set_up
from utils.training.trainer import make_trainer
from utils.training.fine_tune import fine_tune

training.precision = lambda: ("fp32", "so that losses compare")
settings = set_up()
reviews = load_reviews(settings)
backbone = load_backbone(settings.backbone)
run = Run.of(settings, reviews.name)
recipe = Recipe(learning_rate=1e-3, seed=settings.seed, epochs=2)
model = build_model(backbone, recipe.seed)
for module in model.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
trainer = make_trainer(run, model, backbone, reviews, recipe)
trainer.args.logging_steps = 1
result = fine_tune(run, trainer, backbone, reviews, recipe)
"""


def environment(tiny_bert, reviews_folder, artifacts) -> dict:
    settings = {"SOURCE": reviews_folder, "BACKBONE": tiny_bert, "ARTIFACTS": artifacts,
                "LABELS": 320, "PYTHONPATH": ROOT, "PYTHONUNBUFFERED": 1,
                "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    return os.environ | {name: str(value) for name, value in settings.items()}


def command(script, processes: int) -> list:
    if processes == 1:
        return [sys.executable, script]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launch, f"--nproc-per-node={processes}", script]


def result_in(artifacts) -> dict:
    [path] = artifacts.glob("*/results/training.json")
    return json.loads(path.read_text())


def test_two_processes_reach_the_loss_of_one_at_each_step(tiny_bert, reviews_folder, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    losses, outputs = [], []
    for processes in (1, 2):
        artifacts = tmp_path / str(processes)
        run = subprocess.run(
            command(script, processes), env=environment(tiny_bert, reviews_folder, artifacts),
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-3000:]
        losses.append([log["loss"] for log in result_in(artifacts)["training_loss"]])
        outputs.append(sorted(str(p.relative_to(artifacts)) for p in artifacts.rglob("*.json")))
    one, two = losses
    assert len(one) == len(two) == 2 * 288 // 16
    assert two == pytest.approx(one, abs=1e-4)
    assert outputs[0] == outputs[1]


def after_an_epoch(script, values: dict) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A training by two processes that has saved its first epoch, and the two."""
    launched = subprocess.Popen(
        command(script, 2), env=values, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 300
    saved = "*/checkpoints/*/checkpoint-*/trainer_state.json"
    while not list(Path(values["ARTIFACTS"]).glob(saved)):
        assert launched.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    workers = psutil.Process(launched.pid).children()
    assert len(workers) == 2
    return launched, workers


def test_a_killed_process_stops_the_others_and_a_rerun_goes_on(tiny_bert, reviews_folder, tmp_path):
    script = ROOT / "scripts" / "train.py"
    values = environment(tiny_bert, reviews_folder, tmp_path / "artifacts")
    launched, workers = after_an_epoch(script, values)
    workers[1].send_signal(signal.SIGKILL)
    _, said = launched.communicate(timeout=60)
    assert launched.returncode != 0
    assert "Signal 9 (SIGKILL)" in said
    assert psutil.wait_procs(workers, timeout=5)[1] == []
    again = subprocess.run(
        command(script, 2), env=values, capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0, again.stderr[-3000:]
    assert result_in(tmp_path / "artifacts")["resumed"]


def test_a_process_that_is_not_heard_of_any_more_is_a_sentence(tiny_bert, reviews_folder, tmp_path):
    """As where the link to another machine is cut: nothing fails there, and nothing comes."""
    script = tmp_path / "train.py"
    script.write_text(
        "import runpy\nimport utils.training.trainer as trainer\ntrainer.PATIENCE /= 60\n"
        f"runpy.run_path({str(ROOT / 'scripts' / 'train.py')!r}, run_name='__main__')\n"
    )
    values = environment(tiny_bert, reviews_folder, tmp_path / "artifacts")
    launched, (_, second) = after_an_epoch(script, values)
    second.suspend()
    _, said = launched.communicate(timeout=120)
    assert "error: process 0 stopped (" in said
    assert "run the same again on all: finished epochs are kept" in said
    assert not second.is_running()


def test_processes_that_took_different_reviews_do_not_train(tiny_bert, reviews_folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    make_reviews(400, seed=2).to_parquet(other / "train.parquet")
    make_reviews(200, seed=3).to_parquet(other / "test.parquet")
    script = tmp_path / "train.py"  # as where one of the processes did not reach the Hub
    script.write_text(
        "import os, runpy\n"
        f"if os.environ['RANK'] == '1':\n    os.environ['SOURCE'] = {str(other)!r}\n"
        f"runpy.run_path({str(ROOT / 'scripts' / 'train.py')!r}, run_name='__main__')\n"
    )
    run = subprocess.run(
        command(script, 2), env=environment(tiny_bert, reviews_folder, tmp_path / "artifacts"),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode != 0
    assert "have taken different reviews or backbones: set SOURCE and BACKBONE" in run.stderr
    assert not list(tmp_path.glob("artifacts/*/results/*"))


def test_processes_that_share_no_folder_do_not_resume(tiny_bert, reviews_folder, tmp_path):
    """As on two machines with disks of their own: one would resume, and the other begin."""
    values = environment(tiny_bert, reviews_folder, tmp_path / "artifacts")
    script = tmp_path / "train.py"
    script.write_text(
        "import os, runpy\n"
        "if os.environ['RANK'] == '1':\n    os.environ['ARTIFACTS'] += '-of-another'\n"
        f"runpy.run_path({str(ROOT / 'scripts' / 'train.py')!r}, run_name='__main__')\n"
    )
    first, again = (
        subprocess.run(command(path, 2), env=values, capture_output=True, text=True, timeout=120)
        for path in (ROOT / "scripts" / "train.py", script)
    )
    assert first.returncode == 0, first.stderr[-3000:]
    assert again.returncode != 0
    assert "set ARTIFACTS to a folder that their machines share" in again.stderr


def test_processes_that_cannot_share_a_batch_are_refused(tiny_bert, reviews_folder, tmp_path):
    values = environment(tiny_bert, reviews_folder, tmp_path / "artifacts")
    run = subprocess.run(
        command(ROOT / "scripts" / "train.py", 3), env=values, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert run.returncode != 0
    assert "Batches of 16 cannot be shared evenly by 3 processes" in run.stderr
