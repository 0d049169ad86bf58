"""Decides when a model may certify: the pinned weights, all of them finite, in exactly the parameters it has."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from common.errors import InputError, NumericalError, named_line
from common.jobspec import ModelSpec, SamplingSpec
from worker.models.registry import MODELS, build
from worker.models.tensors import shown
from worker.models.weights import read_weights


@dataclass(frozen=True)
class LoadedModel:
    """A classifier ready to certify: on its device, in eval mode, float32, without gradients of its weights."""

    module: nn.Module  #: [B, T, 3, H, W] in [0, 1] -> logits [B, C]
    classes: tuple[str, ...]  #: class names in the order of the logits
    sha256: str  #: of the weights file


def load_model(spec: ModelSpec, device: torch.device) -> LoadedModel:
    """Build the model of ``spec`` and give it exactly the weights that ``spec.sha256`` pins.

    Raises HostError when the weights file is missing here or not the pinned one, InputError when the model cannot be
    built, or the file is unusable or does not fit the model; the message names the first wrong parameter.
    """
    file = read_weights(Path(spec.weights), pinned=spec.sha256)
    if spec.name in MODELS:
        # Without memory first: arguments may ask for any size, and the file has the sizes that are right.
        with torch.device("meta"):
            shapes = build(spec.name, spec.args).state_dict()
        check_fit("weights", spec.weights, shapes, file.tensors)
    module = build(spec.name, spec.args)
    check_fit("weights", spec.weights, module.state_dict(), file.tensors)
    module.load_state_dict(file.tensors, strict=True)
    module = module.to(device=device, dtype=torch.float32).eval().requires_grad_(requires_grad=False)
    return LoadedModel(module, spec.classes, file.sha256)


def check_forward(model: LoadedModel, sampling: SamplingSpec, dtype: torch.dtype = torch.float32) -> None:
    """Run one black clip of the job's shape through the model, or through a copy of it in another ``dtype``.

    Raises InputError when the model refuses the shape or does not give one logit per class, NumericalError when a
    logit is NaN or infinite.
    """
    module = model.module if dtype is torch.float32 else deepcopy(model.module).to(dtype)
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    clip = torch.zeros(1, sampling.frames, 3, sampling.height, sampling.width, device=device, dtype=dtype)
    try:
        with torch.inference_mode():
            logits = module(clip)
    except Exception as error:  # The module may be the user's code and may raise anything.
        reason = named_line(error)
        kind = str(dtype).removeprefix("torch.")
        raise InputError("model", f"refuses a clip of shape {_shape(clip)} in {kind}: {reason}") from error
    wanted = (1, len(model.classes))
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        given = _shape(logits) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError("model", f"gave {given} where {wanted[1]} classes need logits of shape 1x{wanted[1]}")
    if not torch.isfinite(logits).all():
        raise NumericalError("the model gave NaN or infinite logits for a black clip")


def check_fit(where: str, file: str, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Raise InputError for the first parameter, in the model's order, that the file lacks or has in another shape.

    ``where`` is the option that names the ``file``. One that the model has none of is refused as well.
    """
    for name, tensor in wanted.items():
        if name not in given:
            first = next(iter(given), "nothing")
            problem = (
                f"parameter {name} is missing; the model needs {_shape(tensor)} (the file begins with {shown(first)})"
            )
            raise InputError(where, f"{file}: {problem}")
        if given[name].shape != tensor.shape:
            problem = f"{file}: parameter {name} has shape {_shape(given[name])}, the model needs {_shape(tensor)}"
            raise InputError(where, problem)
    unexpected = next((name for name in given if name not in wanted), None)
    if unexpected is not None:
        problem = f"{file}: parameter {shown(unexpected)} is unexpected; the model has none of this name"
        raise InputError(where, problem)


def _shape(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "scalar"
