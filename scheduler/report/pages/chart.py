"""Decides how lines become a drawing that a page can hold: coordinates of an SVG, whose colours are the page's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Units of a drawing, and the room around its axes.
WIDTH, HEIGHT = 840.0, 330.0
LEFT, RIGHT, TOP, BOTTOM = 78.0, 24.0, 44.0, 60.0
#: Most ticks of an axis.
_TICKS = 6

Steps = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """Points (x, y) of a step line: it keeps each y until the next x."""

    name: str
    guarantee: str  #: what the line is worth
    style: str  #: class of the line, which has its colour and its dashes
    points: Steps


@dataclass(frozen=True)
class Drawn:
    """A line as an SVG path."""

    name: str
    guarantee: str
    style: str
    path: str


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in units of the drawing, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A drawing of step lines."""

    title: str  #: what is said of it to those who cannot see it
    x_name: str
    y_name: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    lines: Sequence[Drawn]
    level: Tick | None  #: a horizontal line that is named
    box: tuple[float, float, float, float] = (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    size: tuple[float, float] = (WIDTH, HEIGHT)


def draw(
    title: str, names: tuple[str, str], lines: Sequence[Line], x_range: tuple[float, float], y_most: float,
    *, percent: bool = False, level: tuple[float, str] | None = None,
) -> Chart:  # fmt: skip
    """Draw lines over ``x_range`` and from 0 to ``y_most``; both ranges must not be empty.

    With ``percent`` the y are shares. ``level`` is a named height.
    """

    def across(x: float) -> float:
        return LEFT + (x - x_range[0]) / (x_range[1] - x_range[0]) * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - y / y_most * (HEIGHT - TOP - BOTTOM)

    def path(points: Steps) -> str:
        said, last = [], ""
        for number, (x, y) in enumerate(points):
            at = f"{across(x):.1f}", f"{up(y):.1f}"
            if number == 0:
                said.append(f"M{at[0]},{at[1]}")
            elif at[1] == last:
                # The line goes on at its height; only its end has to be drawn.
                if number == len(points) - 1:
                    said.append(f"H{at[0]}")
            else:
                said.append(f"H{at[0]}V{at[1]}")
            last = at[1]
        return "".join(said)

    y_ticks = [Tick(up(y), f"{y:.0%}" if percent else f"{y:g}") for y in ticks(0.0, y_most)]
    x_ticks = [Tick(across(x), f"{x:g}") for x in ticks(*x_range)]
    drawn = [Drawn(line.name, line.guarantee, line.style, path(line.points)) for line in lines if line.points]
    named = None if level is None else Tick(up(level[0]), level[1])
    return Chart(title, *names, x_ticks, y_ticks, drawn, named)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Twelve digits: what a product of a round number is off by is no news.
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]
