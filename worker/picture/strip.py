"""Decides how a witness looks on one page: a column a changed frame, from the original to the change of flow."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from common.errors import InputError
from common.moves import turns
from worker.picture.colours import BACKGROUND, BAD, FAINT, INK, Colour, amplified
from worker.picture.panel import flow_panel
from worker.picture.scene import Scene

#: Columns that a page has room for; later changed frames are named below it.
MOST_COLUMNS = 24
_INCH = {"left": 1.25, "right": 0.25, "head": 1.2, "gap": 0.09, "line": 0.19, "least_width": 8.0}
_ROWS = 4
#: Lines of moves below the pictures.
_MOST_LINES = 10
_DPI = 150


@dataclass(frozen=True)
class _Page:
    """Sizes in inches."""

    columns: int
    cell: tuple[float, float]  #: width and height of one picture
    foot: list[str]  #: lines below the pictures

    @property
    def width(self) -> float:
        """Of the page."""
        pictures = self.columns * (self.cell[0] + _INCH["gap"])
        return max(_INCH["least_width"], _INCH["left"] + pictures + _INCH["right"])

    @property
    def height(self) -> float:
        """Of the page."""
        return _INCH["head"] + _ROWS * (self.cell[1] + _INCH["gap"]) + self.below

    @property
    def below(self) -> float:
        """Of the part below the pictures."""
        return 0.35 + _INCH["line"] * len(self.foot)

    def place(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of one picture, as shares of the page."""
        left = _INCH["left"] + column * (self.cell[0] + _INCH["gap"])
        top = _INCH["head"] + row * (self.cell[1] + _INCH["gap"])
        bottom = self.height - top - self.cell[1]
        return left / self.width, bottom / self.height, self.cell[0] / self.width, self.cell[1] / self.height


def draw_strip(scene: Scene, path: Path) -> None:
    """Draw the changed frames into a PNG file; raises InputError when it cannot be written."""
    frames = [flow + 1 for flow in scene.flows[:MOST_COLUMNS]]
    page = _layout(scene, len(frames))
    figure = Figure(figsize=(page.width, page.height), dpi=_DPI, facecolor=_rgb(BACKGROUND))
    FigureCanvasAgg(figure)
    difference, factor = amplified(scene.changed[frames] - scene.original[frames])
    for column, frame in enumerate(frames):
        rows = (scene.original[frame], scene.changed[frame], difference[column], flow_panel(scene, frame) / 255)
        for row, image in enumerate(rows):
            axes = _picture(figure, page.place(row, column), image)
            if row == 0:
                axes.set_title(f"frame {frame + 1}", fontsize=9, color=_rgb(INK), pad=4)
    for row, name in enumerate(("original", "changed", f"difference\n× {factor:g}", "change of flow")):
        _, bottom, _, height = page.place(row, 0)
        middle, left = bottom + height / 2, (_INCH["left"] - 0.12) / page.width
        figure.text(left, middle, name, ha="right", va="center", fontsize=9, color=_rgb(INK))
    _words(figure, page, scene)
    try:
        figure.savefig(path, format="png", facecolor=figure.get_facecolor())
    except OSError as error:
        raise InputError("--out", f"{path}: cannot be written ({error.strerror or error})") from error


def _layout(scene: Scene, columns: int) -> _Page:
    """Give few pictures more room; the moves go below, in lines as long as the page is wide."""
    _, height, width, _ = scene.original.shape
    tall = float(np.clip(7.5 / columns, 1.35, 2.2))
    page = _Page(columns, (tall * width / height, tall), [])
    # An inch holds about fifteen letters of this size.
    letters = int(15 * (page.width - 0.5))
    lines = [line for turn in turns(scene.moves) for line in textwrap.wrap(turn, letters, subsequent_indent="    ")]
    left = len(scene.flows) - columns
    if len(lines) > _MOST_LINES or left:
        more = f"{left} more changed frames and " if left else ""
        lines = [*lines[:_MOST_LINES], f"… {more}the rest of the moves are in witness.json"]
    return _Page(columns, page.cell, lines)


def _picture(figure: Figure, place: tuple[float, float, float, float], image: Any) -> Axes:
    axes = figure.add_axes(place)
    axes.imshow(np.clip(image, 0, 1), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("0.75")
        spine.set_linewidth(0.6)
    return axes


def _words(figure: Figure, page: _Page, scene: Scene) -> None:
    """Write the head and the foot, each line as wide as the page at most."""

    def line(text: str, inches: float, size: float, colour: Colour, weight: str = "normal") -> None:
        left, up = _INCH["right"] / page.width, 1 - inches / page.height
        said = figure.text(left, up, text, fontsize=size, color=_rgb(colour), weight=weight)
        room = (page.width - 2 * _INCH["right"]) * _DPI
        taken = said.get_window_extent().width
        if taken > room:
            said.set_fontsize(size * room / taken)

    before, after = scene.before, scene.after
    fall = f"margin of {scene.label} {before.margin:+.3g} → {after.margin:+.3g}".replace("-", "−")
    line(scene.name, 0.32, 12, INK, "bold")
    line(f"{before.predicted} becomes {after.predicted} ({fall})", 0.57, 10, BAD)
    line(scene.facts, 0.78, 9, FAINT)
    for number, text in enumerate(page.foot):
        line(text, page.height - page.below + 0.25 + number * _INCH["line"], 9, INK)


def _rgb(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = (part / 255 for part in colour)
    return red, green, blue
