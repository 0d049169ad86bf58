"""Decides which neurons can be followed back to the pixels in one go: those whose windows on every layer are apart.

Neurons of one channel that are far enough from each other depend on different inputs, layer by layer. So one pass back
serves a whole lattice of them: on every layer, what belongs to one neuron lies in a tile of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.functional import pad


class Window(NamedTuple):
    """Where an output's inputs lie along an axis: output ``a`` has ``extent`` of them, from ``a * stride - offset``."""

    extent: int
    stride: int
    offset: int

    @property
    def spacing(self) -> int:
        """From which distance on outputs have no input in common."""
        return -(-self.extent // self.stride)

    def on(self, lower: Window) -> Window:
        """The same for the inputs of the layer below, whose own window is ``lower``."""
        extent = (self.extent - 1) * lower.stride + lower.extent
        return Window(extent, self.stride * lower.stride, self.offset * lower.stride + lower.offset)


#: Windows along height and width; None where an output depends on all inputs.
Windows = tuple[Window, Window] | None

#: Dimensions of ``[N, C, H, W]``.
MAPS = 4

SAME: Windows = (Window(1, 1, 0), Window(1, 1, 0))


def windows_of(module: nn.Module) -> Windows:
    """Where a layer's outputs have their inputs."""
    if not isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        return None
    dilations = _pair(getattr(module, "dilation", 1))
    sizes, strides, paddings = _pair(module.kernel_size), _pair(module.stride), _pair(module.padding)
    height, width = (
        Window((sizes[axis] - 1) * dilations[axis] + 1, strides[axis], paddings[axis]) for axis in range(2)
    )
    return height, width


def _pair(value: Any) -> tuple[int, int]:
    """A layer's setting along height and width."""
    values = value if isinstance(value, Sequence) else (value,)
    return int(values[0]), int(values[-1])


def traced(layers: Sequence[Windows]) -> list[Windows]:
    """Windows of the last layer's outputs on those outputs, on its inputs, and so on down to the first layer's."""
    found: list[Windows] = [SAME]
    for lower in reversed(layers):
        upper = found[-1]
        found.append(None if upper is None or lower is None else (upper[0].on(lower[0]), upper[1].on(lower[1])))
    return found


class Lattice(NamedTuple):
    """Outputs at ``start + spacing * m`` along height and width, for ``m < number``."""

    spacing: tuple[int, int]
    start: tuple[int, int]
    number: tuple[int, int]

    def members(self, maps: Tensor) -> Tensor:
        """View these outputs of maps ``[..., H, W]``, as ``[..., *number]``."""
        (down, across), (top, left) = self.spacing, self.start
        return maps[..., top::down, left::across]

    def tiles(self, values: Tensor, windows: Windows) -> Tensor:
        """Cut ``[N, C, H, W]`` into the parts that the outputs' windows lie in, ``[M, N, D]``, row by row.

        What lies in no window may be left out, and zeros may be added. Without windows, or without height and width,
        all of ``[N, *size]`` is one part.
        """
        if windows is None or values.dim() != MAPS:
            return values.flatten(1)[None]
        cuts = []
        for window, spacing, start, number, size in zip(windows, *self, values.shape[-2:], strict=True):
            begin, period = start * window.stride - window.offset, spacing * window.stride
            cuts.append((-begin, begin + number * period - size))
        # Negative widths cut off.
        cut = pad(values, (*cuts[1], *cuts[0]))
        (rows, columns), (height, width) = self.number, cut.shape[-2:]
        parts = cut.view(*cut.shape[:2], rows, height // rows, columns, width // columns)
        return parts.permute(2, 4, 0, 1, 3, 5).flatten(0, 1).flatten(2)


def lattices(traces: Sequence[Windows], size: tuple[int, int]) -> Iterator[Lattice]:
    """Part maps of outputs of ``size`` into lattices whose members' windows do not overlap on any layer.

    ``traces`` are the outputs' windows on all layers (see traced); where one of them is everything, each output is a
    lattice of its own. The spacing may exceed the size, for a tile has to hold all of its window.
    """
    down, across = (
        max(size[axis] if windows is None else windows[axis].spacing for windows in traces) for axis in range(2)
    )
    for top, left in product(range(min(down, size[0])), range(min(across, size[1]))):
        yield Lattice((down, across), (top, left), (-((top - size[0]) // down), -((left - size[1]) // across)))
