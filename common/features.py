"""Decides which feature partitions exist and how they are written, such as ``grid:4x4``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from common.errors import InputError
from common.printable import brief


class PartitionKind(StrEnum):
    """How the pixels of a flow are grouped into regions that move together."""

    GLOBAL = "global"  #: one region: the whole frame moves, as camera shake does
    GRID = "grid"  #: R rows by C columns of near-equal rectangles
    SUPERPIXEL = "superpixel"  #: K compact regions of similar flow
    SALIENCY = "saliency"  #: K regions, from the pixels whose flow the margin depends on most to those of least
    PIXEL = "pixel"  #: every pixel on its own


@dataclass(frozen=True)
class Partition:
    """A feature partition as the user asked for it; ``rows`` and ``columns`` for grids, ``regions`` for the others."""

    kind: PartitionKind
    rows: int = 1
    columns: int = 1
    regions: int = 1

    def __str__(self) -> str:
        if self.kind is PartitionKind.GRID:
            return f"grid:{self.rows}x{self.columns}"
        if self.kind in (PartitionKind.SUPERPIXEL, PartitionKind.SALIENCY):
            return f"{self.kind}:{self.regions}"
        return self.kind.value

    def check(self, height: int, width: int) -> None:
        """Raise InputError when frames of ``height x width`` pixels cannot be divided like this."""
        if self.kind is PartitionKind.GRID and (self.rows > height or self.columns > width):
            raise InputError("features", f"{self} has more rows or columns than the {height}x{width} frames")
        if self.regions > height * width:
            raise InputError("features", f"{self} asks for more regions than {height}x{width} frames have pixels")


def parse_partition(text: str) -> Partition:
    """Read a partition such as ``grid:4x4``; raise InputError with the accepted forms when it is not one."""
    if text in (PartitionKind.GLOBAL, PartitionKind.PIXEL):
        return Partition(PartitionKind(text))
    if match := re.fullmatch(r"grid:([1-9]\d{0,8})x([1-9]\d{0,8})", text):
        return Partition(PartitionKind.GRID, rows=int(match[1]), columns=int(match[2]))
    if match := re.fullmatch(r"(superpixel|saliency):([1-9]\d{0,8})", text):
        return Partition(PartitionKind(match[1]), regions=int(match[2]))
    forms = "global, grid:RxC, superpixel:K, saliency:K, pixel (R, C, K >= 1)"
    raise InputError("features", f"{brief(text)} is not one of {forms}")
