"""Decides which parameters a training starts from and which it may change: the encoder's, and those of the head."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from common.errors import InputError
from worker.models.load import check_fit
from worker.models.registry import ENCODER_STATES, SHIPPED_ENCODERS
from worker.models.weights import read_weights
from worker.training.request import IMAGENET

#: Names with which the parameters of a registered model's head begin.
_HEAD: Final = ("lstm.", "gru.", "dense.")


def start_encoder(module: nn.Module, model: str, given: str | None) -> None:
    """Load the encoder of a registered model from a file, or from the shipped ImageNet weights.

    Raises InputError, one line, when the weights cannot be read or are not exactly the encoder's.
    """
    if given is None:
        return
    state = SHIPPED_ENCODERS[model].load() if given == IMAGENET else _from_file(model, given)
    wanted = {name: value for name, value in module.state_dict().items() if not name.startswith(_HEAD)}
    check_fit("encoder_weights", given, wanted, state)
    module.load_state_dict(state, strict=False)


def trained_parameters(module: nn.Module, *, freeze_encoder: bool) -> dict[str, nn.Parameter]:
    """Parameters that a training changes, by name; the others are set to need no gradient."""
    chosen = {}
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not freeze_encoder or name.startswith(_HEAD))
        if parameter.requires_grad:
            chosen[name] = parameter
    return chosen


def encoder_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the encoder's parameters, with their names and types."""
    sha = hashlib.sha256()
    for name, value in sorted(state.items()):
        if not name.startswith(_HEAD):
            sha.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
            sha.update(value.cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def _from_file(model: str, given: str) -> dict[str, Tensor]:
    try:
        tensors = read_weights(Path(given)).tensors
    except InputError as error:
        raise InputError("encoder_weights", error.problem) from error
    return ENCODER_STATES[model](tensors)
