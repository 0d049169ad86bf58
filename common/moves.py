"""Decides how a change of flow is said in words: as moves of the two players, flow by flow and region by region.

Flows, regions, rows and columns are counted from one here, as people count frames: flow t leads from frame t to t+1.
Coordinates keep their numbers, which count from zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from common.features import Partition, PartitionKind
from common.game import Point

#: Words of a step's direction, by axis and sign.
_DIRECTIONS = {("u", 1): "right", ("u", -1): "left", ("v", 1): "down", ("v", -1): "up"}


@dataclass(frozen=True)
class Regions:
    """How the flows of a clip are divided, as far as words need it."""

    sizes: Sequence[Sequence[Sequence[int]]]
    """For each flow, its regions' pixel counts, run-length encoded as (pixels, how many regions)."""
    partition: Partition
    width: int  #: of the frames, in pixels


@dataclass(frozen=True)
class Move:
    """What a grid point, or a real change, does to one coordinate."""

    coordinate: int  #: number of the coordinate, from 0
    flow: int  #: number of the flow, from 1; it leads from frame ``flow`` to ``flow + 1``
    region: int  #: number of the region in its flow, from 1
    place: str  #: the region in words
    axis: str  #: ``u`` or ``v``
    steps: int | None  #: atomic manipulations, with their sign; None in a real change
    pixels: float  #: the same in pixels: ``tau * steps``, or any real number
    size: int  #: pixels in the region

    @property
    def direction(self) -> str:
        """Where the region is moved: right, left, down or up."""
        return _DIRECTIONS[self.axis, 1 if self.pixels > 0 else -1]


def moves_of(point: Point, tau: float, regions: Regions) -> tuple[Move, ...]:
    """List a grid point's moves in order of coordinates; ``tau`` is in pixels.

    Raises ValueError when the clip has no such coordinate.
    """
    return tuple(_move(coordinate, steps, steps * tau, regions) for coordinate, steps in point)


def real_moves_of(pixels: Sequence[tuple[int, float]], regions: Regions) -> tuple[Move, ...]:
    """List a real change's moves, pixels by coordinate, in the same way."""
    return tuple(_move(coordinate, None, length, regions) for coordinate, length in pixels)


def turns(moves: Sequence[Move]) -> list[str]:
    """Say moves as the game's, a sentence a flow: Player I picks the flow, Player II moves regions within it."""
    said = []
    for flow, picked in groupby(moves, key=lambda move: move.flow):
        regions = [
            f"{place} {' and '.join(f'{move.direction} by {_length(move)} px' for move in moved)}"
            for place, moved in groupby(picked, key=lambda move: move.place)
        ]
        said.append(
            f"Player I picks flow {flow} (frame {flow} to {flow + 1}); Player II moves {', then '.join(regions)}"
        )
    return said


def strategy(moves: Sequence[Move]) -> str:
    """Say moves as the game's, in one line."""
    return "; ".join(turns(moves)) or "nobody moves"


def brief(moves: Sequence[Move], most: int = 4) -> str:
    """Say moves shortly, flow by flow; of more than ``most`` only the first, and how many more there are."""
    shown = moves if len(moves) <= most else moves[: most - 1]
    said = []
    for flow, picked in groupby(shown, key=lambda move: move.flow):
        regions = [
            f"{place} {', '.join(f'{move.direction} {_length(move)} px' for move in moved)}"
            for place, moved in groupby(picked, key=lambda move: move.place)
        ]
        said.append(f"flow {flow}: {', '.join(regions)}")
    left = len(moves) - len(shown)
    return "; ".join([*said, *([f"{left} more moves"] if left else [])]) or "no move"


def _length(move: Move) -> str:
    """Pixels of a move: whole where it is made of steps, three digits of a real number."""
    return f"{abs(move.pixels):g}" if move.steps is not None else f"{abs(move.pixels):.3g}"


def _move(coordinate: int, steps: int | None, pixels: float, regions: Regions) -> Move:
    flow, region, size = _locate(coordinate, regions.sizes)
    place = _place(region, regions.partition, regions.width)
    return Move(coordinate, flow + 1, region + 1, place, "uv"[coordinate % 2], steps, pixels, size)


def _locate(coordinate: int, region_sizes: Sequence[Sequence[Sequence[int]]]) -> tuple[int, int, int]:
    """Flow and region of a coordinate, both from 0, and the region's pixels."""
    region = coordinate // 2
    for flow, runs in enumerate(region_sizes):
        passed = 0
        for pixels, regions in runs:
            if region < passed + regions:
                return flow, region, pixels
            passed += regions
        region -= passed
    raise ValueError(f"the clip has no coordinate {coordinate}")


def _place(region: int, partition: Partition, width: int) -> str:
    """Name a region, given from 0: grids and pixels are numbered row by row."""
    if partition.kind is PartitionKind.GLOBAL:
        return "the whole frame"
    number = f"region {region + 1}"
    if partition.kind in (PartitionKind.SUPERPIXEL, PartitionKind.SALIENCY):
        return number
    columns = width if partition.kind is PartitionKind.PIXEL else partition.columns
    return f"{number} (row {region // columns + 1}, column {region % columns + 1})"
