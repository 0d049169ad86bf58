"""Holds the small classifiers: strided convolutions per frame, a linear feature vector, and one of three heads.

There is no pooling: strided encoders keep bound propagation tight (design section 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

from torch import Tensor, nn

from worker.models.frame_model import FrameGru, FrameLstm, FrameMean, FrameModel

CHANNELS = (16, 32, 64, 64)


def strided_encoder(height: int, width: int, channels: Sequence[int], features: int) -> nn.Sequential:
    """Build 3x3 convolutions of stride 2 with ReLU, each halving the frame (rounding up), then a linear layer."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((3, *channels)):
        layers += [nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1), nn.ReLU()]
        height, width = -(-height // 2), -(-width // 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, features))


class _Strided(FrameModel):
    """What the classifiers below have in common: how their encoder is given frames."""

    encoder: nn.Sequential

    def encode(self, frames: Tensor) -> Tensor:
        """Give the features ``[N, F]`` of the frames ``[N, 3, H, W]``, RGB in [0, 1]."""
        features: Tensor = self.encoder(frames * 2.0 - 1.0)
        return features


@final
class CnnLstm(_Strided, FrameLstm):
    """Convolutions of stride 2 with ReLU, then a linear feature vector per frame, then the LSTM.

    With its default sizes and 64x64 frames it has about 160,000 parameters.

    Parameters
    ----------
    classes : number of classes.
    height, width : size of the frames, in pixels.
    hidden : size of the LSTM's state.
    channels : output channels of the convolutions; each halves height and width, rounding up.
    features : length of a frame's feature vector.

    """

    def __init__(
        self,
        classes: int,
        height: int,
        width: int,
        hidden: int = 64,
        channels: Sequence[int] = CHANNELS,
        features: int = 64,
    ) -> None:
        super().__init__(features, hidden, classes)
        self.encoder = strided_encoder(height, width, channels, features)


@final
class CnnGru(_Strided, FrameGru):
    """The same encoder with a GRU; parameters as for :class:`CnnLstm`."""

    def __init__(
        self,
        classes: int,
        height: int,
        width: int,
        hidden: int = 64,
        channels: Sequence[int] = CHANNELS,
        features: int = 64,
    ) -> None:
        super().__init__(features, hidden, classes)
        self.encoder = strided_encoder(height, width, channels, features)


@final
class CnnMean(_Strided, FrameMean):
    """The same encoder with the mean of the features; parameters as for :class:`CnnLstm`."""

    def __init__(
        self, classes: int, height: int, width: int, channels: Sequence[int] = CHANNELS, features: int = 64
    ) -> None:
        super().__init__(features, classes)
        self.encoder = strided_encoder(height, width, channels, features)
