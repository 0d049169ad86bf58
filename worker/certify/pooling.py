"""Decides how max pooling acts on affine forms: as the choice of the input that is greatest at the center."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from worker.certify import relax
from worker.certify.ball import Ball
from worker.certify.maps import Forms, Pullback
from worker.certify.windows import windows_of


class MaxPoolStep:
    """Max pooling: the input that is greatest at the center, plus a remainder for those that may overtake it."""

    def __init__(self, module: nn.MaxPool2d) -> None:
        self._module = module

    def __call__(self, forms: Forms, ball: Ball) -> tuple[Forms, Pullback]:
        """Relax by selection; a winner that is certain leaves no remainder."""
        outputs, chosen = nn.functional.max_pool2d(
            forms.center, self._module.kernel_size, self._module.stride, self._module.padding,
            self._module.dilation, return_indices=True,
        )  # fmt: skip
        winner = _select(forms, chosen.flatten(2))
        excess = torch.zeros_like(winner.error)
        for rival in self._windows(forms.center):
            ahead = self._ahead(forms, winner, rival, ball)
            # A rival that is the winner itself is ahead by nothing, not by twice its own remainder.
            real = ((rival >= 0) & (rival != chosen.flatten(2))).unsqueeze(1)
            excess = torch.maximum(excess, torch.where(real, ahead, 0.0))
        size = outputs.shape[2:]
        slopes, error, excess = (
            part.view(*part.shape[:-1], *size) for part in (winner.slopes, winner.error + excess, excess)
        )
        pooled = Forms(outputs, slopes, error)
        windows = windows_of(self._module)
        pull = Pullback(
            lambda rows: _scatter(rows, chosen, forms.center.shape),
            lambda sizes: sizes.flatten(2).gather(2, chosen.flatten(2)).view_as(chosen),
            windows, math.prod(chosen.shape[2:] if windows is None else (axis.extent for axis in windows)), excess,
        )  # fmt: skip
        return pooled, pull

    def _ahead(self, forms: Forms, winner: Forms, rival: Tensor, ball: Ball) -> Tensor:
        """The most by which a rival can exceed the winner, by coordinate, ``[N, K + 1, C, L]``; 0 where it cannot."""
        other = _select(forms, rival.clamp(min=0).expand_as(winner.center))
        gap = Forms(other.center - winner.center, other.slopes - winner.slopes, other.error + winner.error)
        # At the center it is behind, so what is left of the distance grows no faster than the distance itself.
        share = relax.lead(gap.center, gap.span(ball))
        return share.unsqueeze(1) * gap.most(ball)

    def _windows(self, values: Tensor) -> Tensor:
        """Flat positions of the inputs of each window, ``[kernel, L]``; -1 in the padding."""
        height, width = values.shape[-2:]
        numbers = torch.arange(1, height * width + 1, dtype=values.dtype, device=values.device)
        unfolded = nn.functional.unfold(
            numbers.view(1, 1, height, width), self._module.kernel_size, self._module.dilation,
            self._module.padding, self._module.stride,
        )  # fmt: skip
        return unfolded[0].long() - 1


def _select(forms: Forms, index: Tensor) -> Forms:
    """Pick flat positions ``[N, C, L]`` from forms of maps."""
    wide = index.unsqueeze(1).expand(-1, forms.slopes.shape[1], -1, -1)
    slopes, error = (part.flatten(3).gather(3, wide) for part in (forms.slopes, forms.error))
    return Forms(forms.center.flatten(2).gather(2, index), slopes, error)


def _scatter(rows: Tensor, chosen: Tensor, size: torch.Size) -> Tensor:
    """Add rows ``[N, R, C, h, w]`` up at the positions their outputs were taken from."""
    pulled = rows.new_zeros((*rows.shape[:3], size[-2] * size[-1]))
    index = chosen.flatten(2).unsqueeze(1).expand(-1, rows.shape[1], -1, -1)
    return pulled.scatter_add_(3, index, rows.flatten(3)).view(*rows.shape[:3], *size[-2:])
