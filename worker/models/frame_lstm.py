"""Decides how per-frame features become logits: an LSTM over the frames and a dense layer on its last state."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class FrameLstm(nn.Module, ABC):
    """A classifier that encodes every frame on its own and then runs one LSTM over the features.

    Sub-classes give ``encode``; no layer may mix the frames of a batch, so that a changed frame changes its own
    feature only (the factorised evaluation of design section 4 rests on that).

    Parameters
    ----------
    features : length F of one frame's feature vector.
    hidden : size of the LSTM's state.
    classes : number of classes C.

    """

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.dense = nn.Linear(hidden, classes)

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """Give the features ``[N, F]`` of the frames ``[N, 3, H, W]``, RGB in [0, 1]."""

    def head(self, features: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the feature sequences ``[B, T, F]``."""
        _, (state, _) = self.lstm(features)
        logits: Tensor = self.dense(state[-1])
        return logits

    def forward(self, clips: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the clips ``[B, T, 3, H, W]``, RGB in [0, 1]."""
        batch, length = clips.shape[:2]
        return self.head(self.encode(clips.flatten(0, 1)).view(batch, length, -1))
