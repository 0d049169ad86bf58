"""Decides how a worker's arithmetic is set up, once at its start: full float32, deterministic, a fixed thread count."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import torch

#: Parameters of glibc's ``mallopt``: from which size on memory is mapped anew, and when free memory is given back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30


def configure_numerics(threads: int) -> None:
    """Turn off TF32, reduced-precision sums, autotuning and nondeterministic kernels; use ``threads`` CPU threads.

    Call it before the first CUDA operation: cuBLAS reads its workspace setting only once.
    """
    # The value cuBLAS asks for where LSTMs and matrix products must be deterministic.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # The same as use_deterministic_algorithms(True) without its import of the compiler, more than a second a process.
    torch.set_deterministic_debug_mode("error")
    # Deterministic mode would write NaN over every new tensor: most of a second, and all of its pages, for a cache.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    _keep_memory()


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
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,  # type: ignore[no-untyped-call]
        "threads": torch.get_num_threads(),
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dtype": "float32",
    }
