"""A user's model that does to its worker what the clip says: a white one kills it, a black one asks for all memory."""

from __future__ import annotations

import os
import signal

from torch import Tensor

from tests.whole_model import WholeCnnLstm


class MortalCnnLstm(WholeCnnLstm):
    """The arithmetic of ``cnn_lstm`` for all other clips."""

    def forward(self, clips: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the clips ``[B, T, 3, H, W]``, unless they are white or black."""
        brightness = float(clips.mean())
        if brightness > 0.95:
            os.kill(os.getpid(), signal.SIGKILL)
        if brightness < 0.05:
            bytearray(2**62)
        return super().forward(clips)
