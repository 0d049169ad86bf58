"""Decides how far the remainders of a frame's pixels and layers can move linear functions of a layer's output.

The functions are taken back layer by layer as rows, so that what reaches an output on several ways cancels as it
should.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.certify.ball import ROUNDING, Ball
from worker.certify.maps import Forms, Pullback
from worker.certify.pixel_remainders import TERMS, PixelRemainders
from worker.certify.windows import MAPS, Lattice, Windows, lattices, traced

#: Most rows that are taken back at once, and most numbers that they may have on a layer.
_ROWS, _NUMBERS = 64, 2**24
#: A lattice of one output, whose tile is everything where it has no windows.
_ONE = Lattice((1, 1), (0, 0), (1, 1))
#: Most features that principal axes are found of; where there are more, it takes too long.
_MOST_AXES = 512


@dataclass
class Way:
    """What a frame's forms went through so far: its pixels' remainders, and the layers."""

    pixels: PixelRemainders
    sizes: Tensor  #: what the remainders of each output come to with all signs dropped, ``[1, *size]``
    pulls: list[Pullback] = field(default_factory=list)
    widest: int = 1  #: numbers of the largest layer

    def take(self, pull: Pullback) -> None:
        """Go through one more layer."""
        self.pulls.append(pull)
        self.sizes = pull.magnitude(self.sizes)
        self.widest = max(self.widest, self.sizes.numel())
        if pull.fresh is not None:
            # Of all coordinates the greatest, layer by layer: no coordinate's remainders come to more.
            self.sizes = self.sizes + pull.fresh.amax(dim=1)

    @property
    def _rows(self) -> int:
        """Rows that are taken back at once."""
        return max(1, min(_ROWS, _NUMBERS // self.widest))

    def rounding(self, dtype: torch.dtype) -> float:
        """Most that rounding can have changed a remainder by whose rows are of a dtype, as a share of the sizes.

        A sum of n products of numbers that were rounded is wrong by at most n + 1 units of its terms' magnitudes, and
        layers add up their units; two are left for what is added up in float64 at each layer.
        """
        units = torch.finfo(dtype).eps / 2 * (TERMS + 3 + sum(pull.terms + 3 for pull in self.pulls))
        # In float64 what counts is the sums at each layer, of which the longest have some million terms.
        units += ROUNDING
        return units / (1 - units) if units < 1 else float("inf")

    def remainder(self, rows: Tensor, lattice: Lattice, traces: list[Windows]) -> Tensor:
        """Most that remainders move each function by, but for rounding, by tile and coordinate, ``[M, R, K + 1]``.

        The functions are the rows ``[R, *output]``, each one for every tile, computed in their dtype.
        """
        rows = rows[None]
        total = torch.zeros((), dtype=torch.float64, device=rows.device)
        for pull, windows in zip(reversed(self.pulls), traces, strict=False):
            if pull.fresh is not None:
                amounts = lattice.tiles(pull.fresh[0], windows)
                total = total + lattice.tiles(rows[0].abs().double(), windows) @ amounts.transpose(1, 2)
            rows = pull.transpose(rows)
        return total + self.pixels.effect(rows[0], lattice, traces[-1])

    def axes(self) -> Tensor:
        """Orthonormal functions ``[F, F]`` of an output ``[1, F]`` whose remainders have little in common.

        Any would be sound; these are the principal axes of what the layers' remainders do. That their product with
        their transpose is the identity but for 1e-15 matters less than the rounding of rows, which is allowed for.
        """
        rows = torch.eye(self.sizes.shape[1], dtype=torch.float64, device=self.sizes.device)
        if len(rows) > _MOST_AXES:
            return rows
        total, pulled = torch.zeros_like(rows), rows.float()[None]
        for pull in reversed(self.pulls):
            if pull.fresh is not None:
                weighted = (pulled[0] * torch.linalg.vector_norm(pull.fresh[0], 2, dim=0).float()).flatten(1)
                total += weighted @ weighted.t()
            pulled = pull.transpose(pulled)
        return torch.linalg.eigh(total)[1].t() if bool(total.isfinite().all()) else rows

    def of_functions(self, rows: Tensor) -> Tensor:
        """Most that remainders move functions ``[R, F]`` of an output ``[1, F]``, by coordinate, ``[R, K + 1]``.

        In float64: here there are few rows, and what float32 may cost would be a good part of what remains.
        """
        traces: list[Windows] = [None] * (len(self.pulls) + 1)
        parts = [self.remainder(some, _ONE, traces)[0] for some in torch.split(rows, self._rows)]
        return torch.cat(parts) + self.rounding(rows.dtype) * (rows.abs() @ self.sizes[0])[:, None]

    def sharpened(self, forms: Forms, ball: Ball) -> Forms:
        """Follow remainders that leave the sign of a neuron in doubt all the way back to the pixels."""
        # On the CPU float32 is several times as fast; on other devices convolutions may not be plain sums.
        dtype = torch.float32 if forms.center.device.type == "cpu" else torch.float64
        size = forms.center.shape[1:] if forms.center.dim() == MAPS else (forms.center[0].numel(), 1, 1)
        doubtful = (forms.center.abs() < forms.span(ball)).view(size)
        error = forms.error.clone().view(-1, *size)
        traces = traced([pull.windows for pull in self.pulls])
        for lattice in lattices(traces, (size[1], size[2])):
            channels = lattice.members(doubtful).flatten(1).any(dim=1).nonzero()[:, 0]
            # An empty tensor is split into one that is empty.
            for some in torch.split(channels, self._rows) if len(channels) else ():
                rows = torch.zeros((len(some), *size), dtype=dtype, device=error.device)
                lattice.members(rows)[torch.arange(len(some), device=rows.device), some] = 1.0
                found = self.remainder(rows.view(len(some), *forms.center.shape[1:]), lattice, traces)
                members = lattice.members(error)
                members[:, some] = found.permute(2, 1, 0).reshape(members[:, some].shape)
        # Where no remainder comes from a coordinate, nothing is rounded.
        rounding = self.rounding(dtype) * self.sizes.unsqueeze(1) * (forms.error > 0)
        error = error.view_as(forms.error) + rounding
        sharp = forms._replace(error=error)
        # The sums without signs hold as well, and may be the better. One or the other: they share out differently.
        better = (sharp.span(ball) < forms.span(ball)).unsqueeze(1)
        return forms._replace(error=torch.where(better, error, forms.error))
