"""What the code runs on: device, precision and why, and the versions that a result names."""

import ctypes
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
FP16_CAPABILITY = (7, 0)  # of a CUDA GPU: from V100 on, tensor cores multiply fp16
CPU_ONLY = "ACCELERATE_USE_CPU"  # accelerate's variable: Trainer follows it too


def device() -> torch.device:
    """The accelerator that torch finds, else the CPU; the CPU where ACCELERATE_USE_CPU is true."""
    if os.environ.get(CPU_ONLY, "").lower() in ("1", "on", "t", "true", "y", "yes"):
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def processes() -> int:
    """How many processes train together, as torchrun and accelerate tell each of them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def precision() -> tuple[str, str]:
    """("bf16", "fp16" or "fp32", the reason): what the processor multiplies fastest.

    bf16 only where it is native. GPUs that have fp16 alone, as Colab's T4, take that: training
    scales the loss then, since small gradients would be zero in fp16.
    """
    kind = device().type
    if kind == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the GPU multiplies bf16 natively"
        if torch.cuda.get_device_capability() >= FP16_CAPABILITY:
            return "fp16", "the GPU multiplies fp16 natively, and bf16 not"
        return "fp32", "the GPU multiplies neither bf16 nor fp16 natively"
    if kind == "mps":
        return "fp32", "bf16 is not used on Apple GPUs"
    if torch.cpu._is_amx_tile_supported():
        return "bf16", "the CPU has AMX"
    if torch.cpu._is_avx512_bf16_supported():
        return "bf16", "the CPU has AVX512-BF16"
    return "fp32", "the CPU has no bf16 instructions, and emulating them is slower"


def multiplies_int8() -> bool:
    """Whether the CPU multiplies int8 natively, by VNNI or AMX.

    Elsewhere products of int8 are slower than fp32's, and their sums may overflow.
    """
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, for the next step to use; other systems are left alone.

    By default it hands blocks of many megabytes back to the kernel, and getting them anew at every
    step costs a page fault for each 4 KiB.
    """
    if platform.libc_ver()[0] == "glibc":
        M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def versions() -> dict[str, str]:
    """Versions that a result depends on, with the processor they ran on."""
    names = ("torch", "transformers", "datasets", "scikit-learn", "numpy")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "processor": processor(),
        "precision": precision()[0],
    }


def processor() -> str:
    """The accelerator's or the CPU's name and the number of cores used."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    extension = torch.backends.cpu.get_cpu_capability()
    return f"{name} ({torch.get_num_threads()} threads, {extension})"
