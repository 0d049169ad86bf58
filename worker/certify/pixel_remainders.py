"""Decides how far the remainders of a frame's pixels can move linear functions of the pixels.

What a function takes from a region's pixels is added up with its signs, knot by knot, for they are displaced alike.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from worker.certify.warp_bounds import SignedForms
from worker.certify.windows import Lattice, Windows

#: Pixels that are added up at once.
_LINE = 64
TERMS = 3 * _LINE


class PixelRemainders:
    """Signed forms of one frame, and the regions whose coordinates they are in."""

    def __init__(self, forms: SignedForms, labels: Tensor, regions: int) -> None:
        # Labels ``[H, W]`` are the pixels' regions, all below the number of regions, ``K / 2``.
        self._forms, self._labels, self._regions = forms, labels, regions

    @property
    def sizes(self) -> Tensor:
        """Most that a coordinate's remainders of each pixel come to with all signs dropped, ``[1, 3, H, W]``."""
        return (self._forms.knots.abs().amax(dim=2) + self._forms.error).amax(dim=1) + self._forms.still

    def effect(self, rows: Tensor, lattice: Lattice, windows: Windows) -> Tensor:
        """How far they move functions ``[R, 3, H, W]`` of the pixels, by tile and coordinate, ``[M, R, K + 1]``.

        No more than TERMS products are added up in the rows' dtype, all else in float64.
        """
        parts = self._parts(lattice, windows)
        held = _picked(_by_pixel(rows), parts.pixels).transpose(1, 2)
        knots, unsigned = (_picked(part.to(rows.dtype), parts.pixels) for part in (self._knots, self._unsigned))
        signed = parts.summed(held @ knots)
        signed = signed.view(*signed.shape[:2], 2, -1).abs().amax(dim=3)
        rest = parts.summed(held.abs_() @ unsigned)
        total = rest.new_zeros((parts.tiles, len(rows), 2 * self._regions + 1))
        for axis in range(2):
            total[parts.tile, :, 2 * parts.region + axis] = signed[:, :, axis] + rest[:, :, axis]
        total[:, :, -1].index_add_(0, parts.tile, rest[:, :, 2])
        return total

    @cached_property
    def _knots(self) -> Tensor:
        """Of both axes, by pixel."""
        return _by_pixel(self._forms.knots[0].flatten(0, 1))

    @cached_property
    def _unsigned(self) -> Tensor:
        """Of both axes, and what takes no share, by pixel."""
        return _by_pixel(torch.cat([self._forms.error[0], self._forms.still]))

    def _parts(self, lattice: Lattice, windows: Windows) -> _Parts:
        """Where the tiles and the regions intersect."""
        height, width = self._labels.shape
        # Numbers from 1 on, for tiles are filled up with zeros; as floating point, for that can be cut into tiles.
        numbers = torch.arange(1.0, height * width + 1, dtype=torch.float64, device=self._labels.device)
        tiles = lattice.tiles(numbers.view(1, 1, height, width), windows)[:, 0].long()
        tile, place = tiles.nonzero(as_tuple=True)
        pixel = tiles[tile, place] - 1
        key, order = (tile * self._regions + self._labels.flatten()[pixel]).sort()
        found, sizes = torch.unique(key, return_counts=True)
        lines = -(-sizes // _LINE)
        part, of = (torch.repeat_interleave(torch.arange(len(found), device=key.device), n) for n in (sizes, lines))
        within = torch.arange(len(key), device=key.device) - (sizes.cumsum(0) - sizes)[part]
        pixels = key.new_full((len(of), min(_LINE, int(sizes.max()))), height * width)
        pixels[(lines.cumsum(0) - lines)[part] + within // _LINE, within % _LINE] = pixel[order]
        return _Parts(len(tiles), found // self._regions, found % self._regions, pixels, of)


class _Parts(NamedTuple):
    """The parts of tiles that are in one region each."""

    tiles: int  #: number of tiles
    tile: Tensor  #: ``[S]``
    region: Tensor  #: ``[S]``
    pixels: Tensor  #: ``[L, D]``, a part's on as many lines as it takes, filled up with the number of all pixels
    of: Tensor  #: part of each line, ``[L]``

    def summed(self, lines: Tensor) -> Tensor:
        """Add up what the lines come to, ``[L, R, A]``, by part, in float64, ``[S, R, A]``."""
        total = lines.new_zeros((len(self.tile), *lines.shape[1:]), dtype=torch.float64)
        return total.index_add_(0, self.of, lines.double())


def _by_pixel(values: Tensor) -> Tensor:
    """Lay ``[A, 3, H, W]`` out as ``[H * W + 1, 3, A]``, so that pixels are picked in whole lines; the last is 0."""
    lines = values.new_zeros((values[0, 0].numel() + 1, *values.shape[1::-1]))
    lines[:-1] = values.flatten(2).permute(2, 1, 0)
    return lines


def _picked(values: Tensor, pixels: Tensor) -> Tensor:
    """Take pixels ``[L, D]`` as ``[L, D * 3, A]``."""
    return values[pixels].flatten(1, 2)
