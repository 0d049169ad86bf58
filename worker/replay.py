"""Replays a claimed witness from the raw video on an independent path: nothing of the search is trusted.

The file is decoded again, flow and regions are computed again, the manipulated frames are built by the plain numpy
implementation, one clip at a time in float64, and the cost is measured on the flow itself.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from common.errors import IntegrityError
from common.game import Point
from common.jobspec import JobSpec
from common.vocab import Norm
from common.wire import Moves, RealWitness, Witness
from worker.clip import PreparedClip, prepare_clip
from worker.plain import finite, margins
from worker.saliency import influence_of
from worker.tolerances import FLOAT64_BAND
from worker.warp_reference import reference_frame

Entries = TypeVar("Entries", npt.NDArray[np.int64], npt.NDArray[np.float64])
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """A change of a clip's flow, coordinate by coordinate: a grid point, or a real change."""

    pixels: Moves  #: by coordinate, non-zero ones only
    point: Point | None  #: the same in steps; None for a real change

    @classmethod
    def on_grid(cls, point: Point, tau: float) -> Change:
        """A grid point, of steps of ``tau`` pixels."""
        return cls(tuple((coordinate, steps * tau) for coordinate, steps in point), point)

    @classmethod
    def real(cls, moves: Moves) -> Change:
        """A real change."""
        return cls(moves, None)

    @classmethod
    def of_witness(cls, point: Point | None, moves: Moves | None, tau: float) -> Change:
        """A stored witness: a point where it lies on the grid, moves in pixels where it does not."""
        return cls.real(moves or ()) if point is None else cls.on_grid(point, tau)

    def delta(self, clip: PreparedClip) -> Array:
        """The change of every flow entry in pixels, ``[T-1, 2, H, W]``."""
        return _spread(clip, self.pixels, np.zeros(clip.flow.shape))


@dataclass(frozen=True)
class Source:
    """What a replay starts from: the raw video, how the job prepares it, and the model."""

    video: Path
    label: str
    digest: str  #: of the prepared clip that the witness is about
    spec: JobSpec
    module: nn.Module
    max_bytes: int  #: of a clip

    def clip(self) -> PreparedClip:
        """Prepare the clip anew; raises IntegrityError when the video no longer gives the one with the digest."""
        influence = influence_of(self.spec, self.label, self.module)
        spec = self.spec
        clip = prepare_clip(self.video, spec.sampling, spec.flow, spec.partition, self.max_bytes, influence)
        if clip.digest != self.digest:
            raise IntegrityError(
                f"{self.video}: file changed since it was prepared, or is decoded differently here"
                f" (clip {clip.digest[:12]}, expected {self.digest[:12]})"
            )
        return clip


@dataclass(frozen=True)
class Judged:
    """What the model says of a changed clip, in float64."""

    replayed: bool  #: whether the margin is below zero beyond rounding
    margin: float  #: logit of the label minus the greatest other logit
    predicted: str


def replay(point: Point, source: Source) -> Witness:
    """Execute a claimed grid witness from the raw video and report what came of it.

    ``replayed`` is True only when the float64 margin of the label is below zero beyond rounding. Raises IntegrityError
    when the video no longer gives the clip.
    """
    clip = source.clip()
    found = judged(clip, Change.on_grid(point, float(source.spec.tau)).delta(clip), source)
    steps = _spread(clip, point, np.zeros(clip.flow.shape, dtype=np.int64))
    return Witness(point=point, cost=_cost(steps, source.spec.norm), **asdict(found))


def replay_real(moves: Moves, source: Source) -> RealWitness:
    """Execute a claimed real witness, pixels by coordinate, in the same way."""
    clip = source.clip()
    delta = Change.real(moves).delta(clip)
    found = judged(clip, delta, source)
    return RealWitness(moves=moves, distance=measured(delta, source.spec.norm), **asdict(found))


def judged(clip: PreparedClip, delta: Array, source: Source) -> Judged:
    """What the model says of a clip under a change ``[T-1, 2, H, W]`` in pixels."""
    classes = source.spec.model.classes
    logits = exact_logits(changed_frames(clip, delta), source.module)
    margin = float(margins(logits, classes.index(source.label))[0])
    width = FLOAT64_BAND * (1.0 + float(np.abs(logits).max()))
    return Judged(margin < -width, margin, classes[int(logits[0].argmax())])


def _spread(clip: PreparedClip, moves: Sequence[tuple[int, Any]], entries: Entries) -> Entries:
    """Add each coordinate's move to the flow entries ``[T-1, 2, H, W]`` of its region."""
    table = clip.coordinate_table
    for coordinate, value in moves:
        t, k, axis = int(table.t[coordinate]), int(table.k[coordinate]), int(table.axis[coordinate])
        entries[t, axis][clip.labels[t] == k] += value
    return entries


def changed_frames(clip: PreparedClip, delta: Array) -> Array:
    """Build the clip ``[T, 3, H, W]`` in [0, 1] changed by ``[T-1, 2, H, W]`` pixels, by the reference warp."""
    frames = clip.frames.transpose(0, 3, 1, 2).astype(np.float64) / 255.0
    changed = [
        reference_frame(frames[t], frames[t + 1], clip.flow[t], delta[t]) if delta[t].any() else frames[t + 1]
        for t in range(len(delta))
    ]
    return np.stack([frames[0], *changed])


def exact_logits(frames: Array, module: nn.Module) -> Array:
    """Logits ``[1, C]`` of one clip, in float64 on the CPU; raises NumericalError when one is NaN or infinite."""
    reference = copy.deepcopy(module).cpu().double()
    with torch.inference_mode():
        return finite(reference(torch.from_numpy(frames)[None]).numpy())


def _cost(steps: npt.NDArray[np.int64], norm: Norm) -> int:
    """Cost measured entry by entry on the flow itself, not by the game's formula."""
    if norm is Norm.L1:
        return int(np.abs(steps).sum())
    if norm is Norm.L2:
        return int((steps * steps).sum())
    return int(np.abs(steps).max(initial=0))


def measured(delta: Array, norm: Norm) -> float:
    """Distance of a change ``[T-1, 2, H, W]`` in pixels, measured entry by entry on the flow itself, rounded up."""
    entries = delta.reshape(-1)
    if norm is Norm.L1:
        pixels = math.fsum(np.abs(entries))
    elif norm is Norm.L2:
        pixels = math.sqrt(math.fsum(entries * entries))
    else:
        pixels = float(np.abs(entries).max(initial=0.0))
    return pixels * (1.0 + 1e-12)
