"""Brute force for tiny games, written a second time: numpy and float64 torch, nothing of the game or the search.

It takes a clip's frames, flows and region labels and a model; how points are listed, priced, warped and judged is
its own. Only the words for norms are shared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch

#: A game with a margin nearer to zero than this is not used: float64 rounding might decide it either way.
LEAST_MARGIN = 1e-6
#: Grid points given to the model at once.
BATCH = 512


@dataclass(frozen=True)
class Features:
    """A clip's frames ``[T, H, W, 3]`` (uint8), flows ``[T-1, 2, H, W]`` and region labels ``[T-1, H, W]``."""

    frames: np.ndarray
    flow: np.ndarray
    labels: np.ndarray

    @property
    def coordinates(self) -> list[tuple[int, int, int]]:
        """Every (flow, region, axis) that can be moved."""
        return [
            (t, int(k), axis) for t, labels in enumerate(self.labels) for k in np.unique(labels) for axis in range(2)
        ]

    @property
    def sizes(self) -> list[int]:
        """Flow entries that each coordinate moves."""
        return [int(np.count_nonzero(self.labels[t] == k)) for t, k, _ in self.coordinates]


@dataclass(frozen=True)
class Rules:
    """How points are priced and which are in the game."""

    norm: str
    tau: Decimal
    radius: Decimal
    cap: int | None

    def cost(self, terms: list[tuple[int, int]]) -> int:
        """Cost of a point that moves (entries, steps) each: in units of tau, for L2 in its square."""
        if self.norm == "L1":
            return sum(size * abs(steps) for size, steps in terms)
        if self.norm == "L2":
            return sum(size * steps**2 for size, steps in terms)
        return max((abs(steps) for _, steps in terms), default=0)

    def within(self, cost: int) -> bool:
        """Whether a cost is a distance of at most the radius, by exact fractions."""
        return cost * self._most.denominator <= self._most.numerator

    @cached_property
    def _most(self) -> Fraction:
        ratio = Fraction(self.radius) / Fraction(self.tau)
        return ratio**2 if self.norm == "L2" else ratio


@dataclass(frozen=True)
class Truth:
    """What brute force found: points in the radius, the least adversarial cost (None: none), points below it."""

    points: int
    fmsr: int | None
    below: int


def grid(sizes: list[int], rules: Rules) -> Iterator[tuple[tuple[int, ...], int]]:
    """Every grid point within the radius as a dense vector, with its cost: support by support, box by box."""
    join = max if rules.norm == "Linf" else sum
    prices: list[dict[int, int]] = []
    for size in sizes:
        price: dict[int, int] = {}
        while (steps := len(price) // 2 + 1) <= (rules.cap or steps) and rules.within(rules.cost([(size, steps)])):
            price[steps] = price[-steps] = rules.cost([(size, steps)])
        prices.append(price)
    for many in range(len(sizes) + 1):
        found = False
        for support in itertools.combinations(range(len(sizes)), many):
            boxes = [prices[j] for j in support]
            if many and not (all(boxes) and rules.within(join([box[1] for box in boxes]))):
                continue
            found = True
            for values in itertools.product(*boxes):
                cost = join([box[a] for box, a in zip(boxes, values, strict=True)]) if many else 0
                if rules.within(cost):
                    vector = [0] * len(sizes)
                    for j, a in zip(support, values, strict=True):
                        vector[j] = a
                    yield tuple(vector), cost
        if not found:
            return


def sample(frame: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """``W(F, p)``: each pixel is a sum over *all* pixels, weighted by tents around the clamped position."""
    height, width = frame.shape[1:]
    row, column = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = np.clip(column - motion[0], 0, width - 1), np.clip(row - motion[1], 0, height - 1)
    tent_x = np.maximum(0.0, 1.0 - np.abs(x[..., None] - np.arange(width)))
    tent_y = np.maximum(0.0, 1.0 - np.abs(y[..., None] - np.arange(height)))
    weights = (tent_y[..., :, None] * tent_x[..., None, :]).reshape(height * width, height * width)
    return (frame.reshape(-1, height * width) @ weights.T).reshape(frame.shape)


def margins(features: Features, vectors: list[tuple[int, ...]], module: torch.nn.Module, label: int, tau: Decimal):
    """Margins ``[B]`` of dense grid points: the whole manipulated clip through the model, in float64."""
    frames = features.frames.transpose(0, 3, 1, 2) / 255.0
    flow = features.flow.astype(np.float64)
    coordinates = features.coordinates
    variants: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}

    def frame_after(t: int, moves: tuple[int, ...]) -> np.ndarray:
        if (t, moves) not in variants:
            change = np.zeros_like(flow[t])
            own = [(k, axis) for flow_number, k, axis in coordinates if flow_number == t]
            for (k, axis), a in zip(own, moves, strict=True):
                change[axis] += float(tau) * a * (features.labels[t] == k)
            moved = frames[t + 1] + (sample(frames[t], flow[t] + change) - sample(frames[t], flow[t]))
            variants[t, moves] = np.clip(moved, 0.0, 1.0)
        return variants[t, moves]

    spans = [[j for j, (flow_number, _, _) in enumerate(coordinates) if flow_number == t] for t in range(len(flow))]
    found = []
    for start in range(0, len(vectors), BATCH):
        clips = np.stack(
            [
                np.stack([frames[0], *(frame_after(t, tuple(vector[j] for j in span)) for t, span in enumerate(spans))])
                for vector in vectors[start : start + BATCH]
            ]
        )
        with torch.no_grad():
            logits = module(torch.from_numpy(clips)).numpy()
        rivals = np.where(np.arange(logits.shape[1]) == label, -np.inf, logits)
        found.append(logits[:, label] - rivals.max(axis=1))
    return np.concatenate(found)


def brute_force(features: Features, rules: Rules, module: torch.nn.Module, label: int) -> Truth | None:
    """Solve a game by trying every point; None when a margin is too near zero for anyone to be sure of."""
    listed = list(grid(features.sizes, rules))
    found = margins(features, [vector for vector, _ in listed], module, label, rules.tau)
    if np.abs(found).min() < LEAST_MARGIN:
        return None
    costs = np.array([cost for _, cost in listed])
    if not (found < 0).any():
        return Truth(len(listed), None, len(listed))
    fmsr = int(costs[found < 0].min())
    return Truth(len(listed), fmsr, int((costs < fmsr).sum()))
