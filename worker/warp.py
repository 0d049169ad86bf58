"""Warps frames by flows and builds manipulated frames, differentiably; all in pixel coordinates.

The warp is ``W(F, p)(x) = F(x - p(x))``, bilinear with the border repeated. It gathers the four neighbours itself:
a normalised-coordinate sampler would round every position twice and could not promise what is promised here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def warp(frame: Tensor, flow: Tensor) -> Tensor:
    """Sample ``frame`` at ``x - flow(x)``.

    Parameters
    ----------
    frame : ``[..., 3, H, W]``
        Any floating type.
    flow : ``[..., 2, H, W]``
        Of the same type, in pixels (u to the right, v down); leading dimensions broadcast.

    Returns
    -------
    ``[..., 3, H, W]``. A NaN in ``flow`` gives NaN there. The gradient with respect to ``flow`` is that of the
    bilinear surface; where the position is outside the frame it is 0.

    """
    height, width = frame.shape[-2:]
    grid_x = torch.arange(width, dtype=flow.dtype, device=flow.device)
    grid_y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    x = (grid_x - flow[..., 0, :, :]).clamp(0, width - 1)
    y = (grid_y - flow[..., 1, :, :]).clamp(0, height - 1)
    left, top = x.detach().floor(), y.detach().floor()
    along_x, along_y = (x - left).unsqueeze(-3), (y - top).unsqueeze(-3)
    # NaN turns into an arbitrary integer, so the indices are clamped again; the weights keep the NaN.
    column, row = left.long().clamp(0, width - 1), top.long().clamp(0, height - 1)
    next_column, next_row = (column + 1).clamp(max=width - 1), (row + 1).clamp(max=height - 1)
    upper = _lerp(_pick(frame, row, column), _pick(frame, row, next_column), along_x)
    lower = _lerp(_pick(frame, next_row, column), _pick(frame, next_row, next_column), along_x)
    return _lerp(upper, lower, along_y)


def manipulated_frame(previous: Tensor, current: Tensor, flow: Tensor, delta: Tensor) -> Tensor:
    """Frame t+1 after its flow was changed by ``delta``: ``clip(current + (W(F, p + delta) - W(F, p)), 0, 1)``.

    ``previous`` and ``current`` are ``[..., 3, H, W]`` in [0, 1], ``flow`` and ``delta`` ``[..., 2, H, W]`` in pixels.
    The difference of the warps is formed first, so ``delta = 0`` gives ``current`` bit for bit.
    """
    change = warp(previous, flow + delta) - warp(previous, flow)
    return (current + change).clamp(0, 1)


def _pick(frame: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Values of ``frame`` at integer positions ``[..., H, W]``; ``[..., 3, H, W]``."""
    height, width = frame.shape[-2:]
    batch = np.broadcast_shapes(frame.shape[:-3], row.shape[:-2])
    channels = frame.shape[-3]
    pixels = frame.reshape(*frame.shape[:-2], height * width).expand(*batch, channels, height * width)
    index = (row * width + column).reshape(*row.shape[:-2], 1, height * width)
    picked = torch.gather(pixels, -1, index.expand(*batch, channels, height * width))
    return picked.reshape(*batch, channels, height, width)


def _lerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    return start + weight * (end - start)
