"""What is asked of the processor and of the system's memory."""

import platform
import subprocess
import sys

import pytest
from transformers import TrainingArguments

from utils.hardware import CPU_ONLY, device, precision
from utils.paths import ROOT
from utils.training import trainer


def test_one_variable_has_all_computed_on_the_processor(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    for value in ("", "0", "False"):
        monkeypatch.setenv(CPU_ONLY, value)
        assert device().type == "mps"
    for value in ("true", "1", "Yes"):
        monkeypatch.setenv(CPU_ONLY, value)
        assert device().type == "cpu"
    assert TrainingArguments(str(tmp_path), report_to="none").device.type == "cpu"


@pytest.mark.parametrize(("bf16", "capability", "expected"), [
    (True, (8, 0), "bf16"), (False, (7, 5), "fp16"), (False, (7, 0), "fp16"),
    (False, (6, 1), "fp32"),
], ids=["A100", "T4", "V100", "GTX 1080"])  # fmt: skip
def test_a_gpu_computes_in_what_it_multiplies_fastest(monkeypatch, bf16, capability, expected):
    monkeypatch.delenv(CPU_ONLY, raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: capability)
    assert precision()[0] == expected
    asked = {}  # without such a GPU no TrainingArguments can be made
    monkeypatch.setattr(trainer, "TrainingArguments", lambda **values: asked.update(values))
    monkeypatch.setattr(trainer, "on_one_gpu", lambda arguments: arguments)
    trainer.training_arguments()
    assert [name for name in ("bf16", "fp16") if asked[name]] == [expected] * (expected != "fp32")


BLOCKS = """
import resource, sys, torch
from utils.hardware import CPU_ONLY, device, keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(30):
    torch.ones(2**24)  # 64 MiB, freed at once
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep memory")
def test_freed_blocks_are_used_again_without_page_faults():
    def faults(way: str) -> int:
        command = [sys.executable, "-c", BLOCKS, way]
        out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return int(out.stdout)

    assert faults("kept") < 1000 < faults("as it is")
