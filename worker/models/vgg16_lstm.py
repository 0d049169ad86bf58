"""Holds the paper's classifier: VGG16 up to fc7 on every frame, then an LSTM.

Source: Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition" (2015), table 1,
column D; Wu & Kwiatkowska (CVPR 2020) put an LSTM on it. The parameters of the VGG16 part have torchvision's names,
so a torchvision ``vgg16`` checkpoint, without its ImageNet classifier, is a start for training:
``flowcert train --model vgg16_lstm --encoder-weights vgg16.pth``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.models.frame_model import FrameLstm

_BLOCKS: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_FC: Final = 4096
_POOLED: Final = 7
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
#: torchvision's last layer, which the LSTM replaces.
_CLASSIFIER: Final = "classifier.6."


def _convolutions() -> nn.Sequential:
    """Build the thirteen convolutions; the layer numbers are torchvision's (0, 2, 5, ... 28)."""
    layers: list[nn.Module] = []
    inputs = 3
    for block in _BLOCKS:
        for outputs in block:
            layers += [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(kernel_size=2))
    return nn.Sequential(*layers)


@final
class Vgg16Lstm(FrameLstm):
    """VGG16 up to fc7 (4096 features per frame), LSTM, dense layer.

    Frames are 224x224 in the paper; any size from 32x32 on works, as in torchvision, by average pooling to 7x7.

    Parameters
    ----------
    classes : number of classes.
    hidden : size of the LSTM's state.

    """

    mean: Tensor
    std: Tensor

    def __init__(self, classes: int, hidden: int = 256) -> None:
        super().__init__(_FC, hidden, classes)
        self.features = _convolutions()
        channels = _BLOCKS[-1][-1]
        self.classifier = nn.Sequential(
            nn.Linear(channels * _POOLED * _POOLED, _FC),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(_FC, _FC),
            nn.ReLU(),
            nn.Dropout(),
        )
        # Constants of the preprocessing, not weights: they stay out of the state dict, whose names are torchvision's.
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(3, 1, 1), persistent=False)

    def encode(self, frames: Tensor) -> Tensor:
        """Give the fc7 features ``[N, 4096]`` of the frames ``[N, 3, H, W]``, RGB in [0, 1]; H, W >= 32."""
        maps = self.features((frames - self.mean) / self.std)
        # At 224x224 the maps are 7x7 already; skipping the pooling there keeps the GPU's gradient deterministic.
        if maps.shape[-2:] != (_POOLED, _POOLED):
            maps = F.adaptive_avg_pool2d(maps, _POOLED)
        features: Tensor = self.classifier(maps.flatten(1))
        return features


def encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the model's encoder parameters from a torchvision ``vgg16`` state dict, without its ImageNet classifier."""
    return {name: value for name, value in state.items() if not name.startswith(_CLASSIFIER)}
