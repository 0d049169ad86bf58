"""Decides which tensors of a weights file can be weights: plain, finite numbers that the file really holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from common.errors import InputError
from common.printable import visible

#: Types that are read; the model computes in float32.
_NUMBERS: Final = frozenset(
    {
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    }
)  # fmt: skip
_FLOAT32_BYTES: Final = 4
#: Characters of a parameter's name that messages show.
_SHOWN: Final = 200


def check_tensors(path: Path, tensors: Mapping[str, Tensor], most_bytes: int) -> None:
    """Raise InputError for the first tensor that cannot be a model's, or that together take too much to look at."""
    total = 0
    for name, tensor in tensors.items():
        where = f"{path}: parameter {shown(name)}"
        plain = tensor.layout is torch.strided and not tensor.is_nested and tensor.device.type == "cpu"
        if not plain or tensor.dtype not in _NUMBERS:
            raise InputError("weights", f"{where} is no plain tensor of numbers ({tensor.dtype}, {tensor.layout})")
        # A view can claim any size; what it would take to look at it is what the file must hold.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise InputError("weights", f"{where} is larger than what the file holds of it")
        # Many views of one storage would each be looked at.
        total += tensor.numel() * max(tensor.element_size(), _FLOAT32_BYTES)
        if total > most_bytes:
            raise InputError(
                "weights", f"{path}: its parameters take more than the {most_bytes} bytes that are allowed"
            )
        # Judged as float32, in which the model computes: a float64 weight may overflow there.
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise InputError("weights", f"{where} has NaN or infinite values")


def shown(name: str) -> str:
    """A parameter's name as messages show it: it comes from the file."""
    return visible(name.replace("\n", "\\n"))[:_SHOWN]
