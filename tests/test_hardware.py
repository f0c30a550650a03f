"""What is asked of the processor and of the system's memory."""

import platform
import subprocess
import sys

import pytest

from utils.settings import ROOT

BLOCKS = """
import resource, sys, torch
from utils.hardware import keep_freed_memory

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
