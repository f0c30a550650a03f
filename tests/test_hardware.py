"""What is asked of the processor and of the system's memory."""

import platform
import subprocess
import sys

import pytest
from transformers import TrainingArguments

from utils.hardware import CPU_ONLY, device
from utils.paths import ROOT


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
