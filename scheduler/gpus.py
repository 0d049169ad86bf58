"""Decides which GPUs workers are pinned to: those that nvidia-smi lists, chosen by their number."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping

from common.errors import InputError

_OPTION = "--gpus"
_ALL = "all"
_LINE = re.compile(r"^GPU (\d+): (.+) \(UUID: (GPU-[0-9a-fA-F-]+)\)$", re.MULTILINE)


def choose_gpus(wanted: str) -> dict[str, Mapping[str, str]]:
    """Environment of a worker for each GPU of ``wanted``, by the GPU's name: ``all``, or numbers such as ``0,1``.

    Numbers are those of ``nvidia-smi``; a worker is given its GPU by UUID, since CUDA may number them otherwise. Where
    CUDA_VISIBLE_DEVICES is set, as a cluster does for a job, ``all`` are the ones it names. Raises InputError.
    """
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted == _ALL and allowed is not None:
        names = [name.strip() for name in allowed.split(",") if name.strip()]
        if not names:
            raise InputError(_OPTION, "CUDA_VISIBLE_DEVICES is empty, so no GPU may be used; leave --gpus out")
        return {f"gpu{name}": {"CUDA_VISIBLE_DEVICES": name} for name in names}
    found = list_gpus()
    numbers = list(found) if wanted == _ALL else _numbers(wanted)
    for number in numbers:
        if number not in found:
            raise InputError(_OPTION, f"there is no GPU {number}; nvidia-smi lists {', '.join(map(str, found))}")
    return {f"gpu{number}": {"CUDA_VISIBLE_DEVICES": found[number]} for number in numbers}


def list_gpus() -> dict[int, str]:
    """UUID of each GPU of this machine by its number; raises InputError where there is none."""
    try:
        said = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    except FileNotFoundError:
        raise InputError(_OPTION, "this machine has no nvidia-smi, so no NVIDIA driver; leave --gpus out") from None
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stdout", None) or getattr(error, "stderr", None) or str(error)
        raise InputError(_OPTION, f"nvidia-smi -L failed: {str(output).strip().splitlines()[0]}") from error
    found = {int(number): uuid for number, _name, uuid in _LINE.findall(said)}
    if not found:
        raise InputError(_OPTION, "nvidia-smi -L lists no GPU; leave --gpus out")
    return found


def _numbers(wanted: str) -> list[int]:
    parts = [part.strip() for part in wanted.split(",")]
    if not all(part.isdecimal() and part.isascii() for part in parts):
        raise InputError(_OPTION, f"{wanted!r} is neither all nor numbers such as 0,1")
    numbers = [int(part) for part in parts]
    if len(set(numbers)) < len(numbers):
        raise InputError(_OPTION, f"{wanted!r} names a GPU twice; one worker a GPU is what its memory is for")
    return numbers
