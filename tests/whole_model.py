"""A user's model that cannot be taken apart: evaluated by full forward passes, slowly enough to be killed at work."""

from typing import Any

from torch import Tensor, nn

from worker.models import build


class WholeCnnLstm(nn.Module):
    """The parameters and the arithmetic of ``cnn_lstm``, without its parts."""

    def __init__(self, **args: Any) -> None:
        super().__init__()
        whole = build("cnn_lstm", args)
        for name, part in whole.named_children():
            self.add_module(name, part)
        # In a list, so that the parameters are registered once only.
        self._whole = [whole]

    def forward(self, clips: Tensor) -> Tensor:
        """Give the logits ``[B, C]`` of the clips ``[B, T, 3, H, W]``."""
        return self._whole[0](clips)
