"""Replays a claimed witness from the raw video on an independent path: nothing of the search is trusted.

The file is decoded again, flow and regions are computed again, the manipulated frames are built by the plain numpy
implementation, one clip at a time in float64, and the cost is measured on the flow itself.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from common.errors import IntegrityError
from common.game import Point
from common.jobspec import JobSpec
from common.vocab import Norm
from common.wire import Witness
from worker.clip import PreparedClip, prepare_clip
from worker.plain import finite, margins
from worker.saliency import influence_of
from worker.tolerances import FLOAT64_BAND
from worker.warp_reference import reference_frame


def replay(
    point: Point, *, video: Path, label: str, digest: str, spec: JobSpec, module: nn.Module, max_bytes: int
) -> Witness:
    """Execute a claimed witness from the raw video and report what came of it.

    ``replayed`` is True only when the float64 margin of ``label`` is below zero beyond rounding. Raises IntegrityError
    when the video no longer gives the clip with ``digest``.
    """
    influence = influence_of(spec, label, module)
    clip = prepare_clip(video, spec.sampling, spec.flow, spec.partition, max_bytes, influence)
    if clip.digest != digest:
        raise IntegrityError(f"{video}: file changed since it was prepared; the witness cannot be replayed")
    steps = steps_of(clip, point)
    logits = exact_logits(changed_frames(clip, steps, float(spec.tau)), module)
    margin = float(margins(logits, spec.model.classes.index(label))[0])
    width = FLOAT64_BAND * (1.0 + float(np.abs(logits).max()))
    return Witness(
        point=point,
        cost=_cost(steps, spec.norm),
        replayed=margin < -width,
        margin=margin,
        predicted=spec.model.classes[int(logits[0].argmax())],
    )


def steps_of(clip: PreparedClip, point: Point) -> npt.NDArray[np.int64]:
    """Write a grid point as atomic manipulations of every flow entry, ``[T-1, 2, H, W]``, region by region."""
    steps = np.zeros(clip.flow.shape, dtype=np.int64)
    table = clip.coordinate_table
    for coordinate, value in point:
        t, k, axis = int(table.t[coordinate]), int(table.k[coordinate]), int(table.axis[coordinate])
        steps[t, axis][clip.labels[t] == k] += value
    return steps


def changed_frames(clip: PreparedClip, steps: npt.NDArray[np.int64], tau: float) -> npt.NDArray[np.float64]:
    """Build the manipulated clip ``[T, 3, H, W]`` in [0, 1] of steps ``[T-1, 2, H, W]``, by the reference warp."""
    frames = clip.frames.transpose(0, 3, 1, 2).astype(np.float64) / 255.0
    changed = [
        reference_frame(frames[t], frames[t + 1], clip.flow[t], tau * steps[t]) if steps[t].any() else frames[t + 1]
        for t in range(len(steps))
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
