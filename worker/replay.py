"""Replays a claimed witness from the raw video on an independent path: nothing of the search is trusted.

The file is decoded again, flow and regions are computed again, the manipulated frames are built by the plain numpy
implementation, one clip at a time in float64, and the cost is measured on the flow itself.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
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
            raise IntegrityError(f"{self.video}: file changed since it was prepared; the witness cannot be replayed")
        return clip


def replay(point: Point, source: Source) -> Witness:
    """Execute a claimed grid witness from the raw video and report what came of it.

    ``replayed`` is True only when the float64 margin of the label is below zero beyond rounding. Raises IntegrityError
    when the video no longer gives the clip.
    """
    clip = source.clip()
    steps = steps_of(clip, point)
    outcome = _outcome(clip, (steps * float(source.spec.tau)).astype(np.float64), source)
    return Witness(point=point, cost=_cost(steps, source.spec.norm), **outcome)


def replay_real(moves: Moves, source: Source) -> RealWitness:
    """Execute a claimed real witness, pixels by coordinate, in the same way."""
    clip = source.clip()
    delta = _spread(clip, moves, np.zeros(clip.flow.shape))
    return RealWitness(moves=moves, distance=_distance(delta, source.spec.norm), **_outcome(clip, delta, source))


def _outcome(clip: PreparedClip, delta: npt.NDArray[np.float64], source: Source) -> dict[str, Any]:
    """Whether the clip under a change ``[T-1, 2, H, W]`` in pixels is adversarial, its margin, and its class."""
    classes = source.spec.model.classes
    logits = exact_logits(changed_frames(clip, delta), source.module)
    margin = float(margins(logits, classes.index(source.label))[0])
    width = FLOAT64_BAND * (1.0 + float(np.abs(logits).max()))
    return {"replayed": margin < -width, "margin": margin, "predicted": classes[int(logits[0].argmax())]}


def steps_of(clip: PreparedClip, point: Point) -> npt.NDArray[np.int64]:
    """Write a grid point as atomic manipulations of every flow entry, ``[T-1, 2, H, W]``, region by region."""
    return _spread(clip, point, np.zeros(clip.flow.shape, dtype=np.int64))


def _spread(clip: PreparedClip, moves: Sequence[tuple[int, Any]], entries: Entries) -> Entries:
    """Add each coordinate's move to the flow entries ``[T-1, 2, H, W]`` of its region."""
    table = clip.coordinate_table
    for coordinate, value in moves:
        t, k, axis = int(table.t[coordinate]), int(table.k[coordinate]), int(table.axis[coordinate])
        entries[t, axis][clip.labels[t] == k] += value
    return entries


def changed_frames(clip: PreparedClip, delta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Build the clip ``[T, 3, H, W]`` in [0, 1] changed by ``[T-1, 2, H, W]`` pixels, by the reference warp."""
    frames = clip.frames.transpose(0, 3, 1, 2).astype(np.float64) / 255.0
    changed = [
        reference_frame(frames[t], frames[t + 1], clip.flow[t], delta[t]) if delta[t].any() else frames[t + 1]
        for t in range(len(delta))
    ]
    return np.stack([frames[0], *changed])


def exact_logits(frames: npt.NDArray[np.float64], module: nn.Module) -> npt.NDArray[np.float64]:
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


def _distance(delta: npt.NDArray[np.float64], norm: Norm) -> float:
    """Distance in pixels measured entry by entry on the flow itself, rounded up."""
    entries = delta.reshape(-1)
    if norm is Norm.L1:
        pixels = math.fsum(np.abs(entries))
    elif norm is Norm.L2:
        pixels = math.sqrt(math.fsum(entries * entries))
    else:
        pixels = float(np.abs(entries).max(initial=0.0))
    return pixels * (1.0 + 1e-12)
