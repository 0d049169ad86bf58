"""Decides how a worker's arithmetic is set up, once at its start: full float32, deterministic, a fixed thread count."""

from __future__ import annotations

import ctypes
import os
import subprocess
from typing import Any

import torch

from common.errors import NumericalError

#: Parameters of glibc's ``mallopt``: from which size on memory is mapped anew, and when free memory is given back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30


def configure_numerics(threads: int) -> None:
    """Turn off TF32, reduced-precision sums, autotuning and nondeterministic kernels; use ``threads`` CPU threads.

    Call it before the first CUDA operation: cuBLAS reads its workspace setting only once.
    """
    # The value cuBLAS asks for where LSTMs and matrix products must be deterministic.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    set_full_float32()
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # The same as use_deterministic_algorithms(True) without its import of the compiler, more than a second a process.
    torch.set_deterministic_debug_mode("error")
    # Deterministic mode would write NaN over every new tensor: most of a second, and all of its pages, for a cache.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    _keep_memory()


def set_full_float32() -> None:
    """Turn TF32 off; said again after a user's code has built a model, which may have turned it on."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def require_full_float32() -> None:
    """Raise NumericalError when a model's code has turned on TF32 or reduced precision while it ran.

    It is off again afterwards, for the tasks of other jobs.
    """
    tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    if tf32 or torch.get_float32_matmul_precision() != "highest":
        set_full_float32()
        raise NumericalError("the model's code turned on TF32 or reduced precision, with which nothing is certified")


def _keep_memory() -> None:
    """Have the C library keep freed memory: fresh pages for each batch's tensors cost a third of encoding frames."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # Another C library than glibc, with habits of its own.
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def numerics_report() -> dict[str, Any]:
    """Say what this process computes with, to be stored beside its results."""
    cuda = torch.cuda.is_available()
    return {
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "gpu_uuid": str(torch.cuda.get_device_properties().uuid) if cuda else None,
        "driver": driver_version() if cuda else None,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,  # type: ignore[no-untyped-call]
        "threads": torch.get_num_threads(),
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dtype": "float32",
    }


def driver_version() -> str | None:
    """Version of the NVIDIA driver, such as 550.54.15; None where nvidia-smi does not say: torch knows only CUDA's."""
    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    # A line for each GPU, all alike.
    return said.stdout.split("\n")[0].strip() or None
