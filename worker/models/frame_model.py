"""Decides how per-frame features become logits: by an LSTM, a GRU or their mean, and a dense layer."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from worker.models.recurrence import GruRecurrence, LstmRecurrence, MeanRecurrence, Recurrence


class FrameModel(nn.Module, ABC):
    """A classifier that encodes every frame on its own and then consumes the features in order.

    Sub-classes give ``encode`` and the head; no layer may mix the frames of a batch, so that a changed frame changes
    its own feature only (the factorised evaluation of design section 4 rests on that).
    """

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """Give the features ``[N, F]`` of the frames ``[N, 3, H, W]``, RGB in [0, 1]."""

    @abstractmethod
    def head(self, features: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the feature sequences ``[B, T, F]``."""

    @abstractmethod
    def recurrence(self) -> Recurrence:
        """Give the head taken apart, frame by frame."""

    def forward(self, clips: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the clips ``[B, T, 3, H, W]``, RGB in [0, 1]."""
        batch, length = clips.shape[:2]
        return self.head(self.encode(clips.flatten(0, 1)).view(batch, length, -1))


class FrameLstm(FrameModel):
    """One LSTM over the frames and a dense layer on its last state.

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

    def head(self, features: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the feature sequences ``[B, T, F]``."""
        _, (state, _) = self.lstm(features)
        logits: Tensor = self.dense(state[-1])
        return logits

    def recurrence(self) -> LstmRecurrence:
        """Give the LSTM taken apart."""
        return LstmRecurrence(self.lstm, self.dense)


class FrameGru(FrameModel):
    """One GRU over the frames and a dense layer on its last state; parameters as for :class:`FrameLstm`."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.gru = nn.GRU(features, hidden, batch_first=True)
        self.dense = nn.Linear(hidden, classes)

    def head(self, features: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the feature sequences ``[B, T, F]``."""
        _, state = self.gru(features)
        logits: Tensor = self.dense(state[-1])
        return logits

    def recurrence(self) -> GruRecurrence:
        """Give the GRU taken apart."""
        return GruRecurrence(self.gru, self.dense)


class FrameMean(FrameModel):
    """The mean of the frames' features and a dense layer: a classifier without memory of order."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(features, classes)

    def head(self, features: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the feature sequences ``[B, T, F]``."""
        logits: Tensor = self.dense(features.mean(dim=1))
        return logits

    def recurrence(self) -> MeanRecurrence:
        """Give the mean taken apart: a running sum."""
        return MeanRecurrence(self.dense)
