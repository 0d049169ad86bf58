"""Decides which classifier a model name means: a registered one, or a user's ``module:callable`` factory."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from torch import Tensor, nn

from common.errors import InputError, named_line
from worker.models import efficientnet_lstm, vgg16_lstm
from worker.models.cnn import CnnGru, CnnLstm, CnnMean
from worker.models.efficientnet_lstm import EfficientNetLite0Lstm
from worker.models.vgg16_lstm import Vgg16Lstm

#: The registered models, by the name a user gives.
MODELS: Final[Mapping[str, Callable[..., nn.Module]]] = MappingProxyType(
    {
        "cnn_lstm": CnnLstm,
        "cnn_gru": CnnGru,
        "cnn_mean": CnnMean,
        "vgg16_lstm": Vgg16Lstm,
        "efficientnet_lite0_lstm": EfficientNetLite0Lstm,
    }
)


@dataclass(frozen=True)
class ShippedEncoder:
    """Encoder weights that come with Flowcert's dependencies, so that weights files need not repeat them."""

    sha256: str  #: of the file they come from
    load: Callable[[], dict[str, Tensor]]  #: gives them by the model's parameter names


#: The models whose encoder has shipped weights.
SHIPPED_ENCODERS: Final[Mapping[str, ShippedEncoder]] = MappingProxyType(
    {"efficientnet_lite0_lstm": ShippedEncoder(efficientnet_lstm.IMAGENET_SHA256, efficientnet_lstm.imagenet_state)}
)

#: How a published classifier's state dict becomes the encoder's part of a model's.
ENCODER_STATES: Final[Mapping[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]]] = MappingProxyType(
    {"vgg16_lstm": vgg16_lstm.encoder_state, "efficientnet_lite0_lstm": efficientnet_lstm.encoder_state}
)

#: The constructor arguments of a registered model that follow from the job's classes and frame size.
_IMPLIED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "cnn_lstm": ("classes", "height", "width"),
        "cnn_gru": ("classes", "height", "width"),
        "cnn_mean": ("classes", "height", "width"),
        "vgg16_lstm": ("classes",),
        "efficientnet_lite0_lstm": ("classes",),
    }
)


def build(name: str, args: Mapping[str, Any]) -> nn.Module:
    """Build the model ``name`` with ``args`` as its keyword arguments; its weights are random.

    Raises
    ------
    InputError
        when the name is neither registered nor an importable ``module:callable``, or the callable refuses the
        arguments or gives something that is no ``nn.Module``.

    """
    factory = find_factory(name)
    try:
        module = factory(**args)
    except Exception as error:  # The factory is the user's code and may raise anything.
        reason = named_line(error)
        problem = f"{name} could not be built with the arguments {dict(args)} (--model-args): {reason}"
        raise InputError("model", problem) from error
    if not isinstance(module, nn.Module):
        raise InputError("model", f"{name} gave a {type(module).__name__}, not a torch.nn.Module")
    return module


def find_factory(name: str) -> Callable[..., Any]:
    """Find what builds the model ``name``; raise InputError when it is neither registered nor importable."""
    return MODELS.get(name) or _user_factory(name)


def implied_args(name: str, sizes: Mapping[str, int | None]) -> dict[str, int]:
    """Pick from ``sizes`` (classes, height, width) what the constructor of ``name`` takes; nothing for a factory."""
    return {key: size for key in _IMPLIED.get(name, ()) if (size := sizes[key]) is not None}


def _user_factory(name: str) -> Callable[..., Any]:
    module_name, separator, attribute = name.partition(":")
    if not (module_name and separator and attribute):
        raise InputError("model", f"{name!r} is not one of {', '.join(MODELS)}, nor of the form module:callable")
    # Our programs start without the folder they are called in, so that nothing there can take the place of their parts.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # Importing runs the user's code, which may raise anything.
        reason = named_line(error)
        problem = f"module {module_name!r} cannot be imported here ({reason}); looked for in {here} and on PYTHONPATH"
        raise InputError("model", f"{name}: {problem}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise InputError("model", f"{name}: module {module_name!r} has no callable {attribute!r}")
    return factory  # type: ignore[no-any-return]
