"""User models for devices of little memory: they raise what CUDA raises, for larger batches than fit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.whole_model import WholeCnnLstm
from worker.models import build
from worker.models.cnn import CHANNELS, strided_encoder
from worker.models.frame_model import FrameLstm


def _take(items: int, most: int, said: str | None = None) -> None:
    if items > most:
        if said is not None:
            raise RuntimeError(said)
        raise torch.cuda.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {items} GiB.\nAnd more lines.")


class SmallWhole(WholeCnnLstm):
    """``cnn_lstm`` in one piece, with memory for ``most`` clips at once; ``said`` is what a library says of it."""

    def __init__(self, most: int, said: str | None = None, **args: Any) -> None:
        super().__init__(**args)
        self._most, self._said = most, said

    def forward(self, clips: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the clips ``[B, T, 3, H, W]``."""
        _take(len(clips), self._most, self._said)
        return super().forward(clips)


class SmallFrames(FrameLstm):
    """``cnn_lstm`` that can be taken apart, with memory for ``most`` frames at once."""

    def __init__(
        self, most: int, classes: int, height: int, width: int,
        hidden: int = 64, channels: tuple[int, ...] = CHANNELS, features: int = 64,
    ) -> None:  # fmt: skip
        super().__init__(features, hidden, classes)
        self.encoder = strided_encoder(height, width, channels, features)
        self._most = most

    def encode(self, frames: Tensor) -> Tensor:
        """Give the features ``[N, F]`` of the frames ``[N, 3, H, W]``."""
        _take(len(frames), self._most)
        return self.encoder(frames * 2.0 - 1.0)


def noted(log: str, **args: Any) -> nn.Module:
    """``cnn_lstm``, which notes in a file the process that built it."""
    with Path(log).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return build("cnn_lstm", args)


def careless(**args: Any) -> nn.Module:
    """``cnn_lstm``, whose module turns TF32 on when it is built."""
    torch.backends.cudnn.allow_tf32 = True
    return build("cnn_lstm", args)


class Reckless(WholeCnnLstm):
    """``cnn_lstm`` that turns TF32 on whenever it runs."""

    def forward(self, clips: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the clips ``[B, T, 3, H, W]``."""
        torch.backends.cuda.matmul.allow_tf32 = True
        return super().forward(clips)
