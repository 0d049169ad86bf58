"""Decides what of a witness is shown: the frames the replay saw, before and after, and what both were taken for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from common.errors import IntegrityError
from common.game import Game, Point, distance
from common.jobspec import JobSpec
from common.moves import Move, moves_of
from common.wire import run_lengths
from worker.clip import PreparedClip, prepare_clip
from worker.plain import margins
from worker.replay import changed_frames, exact_logits, steps_of
from worker.saliency import influence_of

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What the model says of a clip, in float64."""

    predicted: str
    margin: float  #: logit of the label minus the greatest other logit


@dataclass(frozen=True, eq=False)
class Scene:
    """A witness with everything that is drawn of it."""

    video: Path
    label: str
    spec: JobSpec
    clip: PreparedClip
    point: Point
    changed: Array  #: frames as manipulated, RGB in [0, 1], ``[T, H, W, 3]``
    delta: Array  #: change of each flow in pixels, ``[T-1, 2, H, W]``
    before: Outcome
    after: Outcome

    @property
    def name(self) -> str:
        """The video's folder and file name."""
        return "/".join(self.video.parts[-2:])

    @cached_property
    def original(self) -> Array:
        """Frames as they were, RGB in [0, 1], ``[T, H, W, 3]``."""
        return self.clip.frames / 255.0

    @cached_property
    def moves(self) -> tuple[Move, ...]:
        """The witness in words."""
        sizes = [run_lengths(flow) for flow in self.clip.region_sizes]
        width = self.clip.frames.shape[2]
        return moves_of(self.point, sizes, self.spec.partition, float(self.spec.tau), width)

    @property
    def flows(self) -> list[int]:
        """Flows that are changed, from 0; flow t changes frame t+1 and no other."""
        return sorted({move.flow - 1 for move in self.moves})

    @cached_property
    def cost(self) -> int:
        """Cost of the witness."""
        return Game(self.clip.coordinate_sizes, self.spec.norm, self.spec.cap).cost(self.point)

    @property
    def distance(self) -> float:
        """The same as a distance, in pixels of the norm."""
        return distance(self.spec.norm, self.spec.tau, self.cost)

    @property
    def facts(self) -> str:
        """One line: how large the change is, and of what game."""
        frames = f"{len(self.flows)} of {len(self.delta)} flows changed"
        spec = self.spec
        return f"{spec.norm} distance {self.distance:.4g} px · {frames} · {spec.features} · τ = {spec.tau:f} px"

    def mask(self, move: Move) -> npt.NDArray[np.bool_]:
        """Pixels of a move's region, ``[H, W]``."""
        return np.asarray(self.clip.labels[move.flow - 1] == move.region - 1)

    def moves_in(self, flow: int) -> list[Move]:
        """Moves in one flow, given from 0."""
        return [move for move in self.moves if move.flow - 1 == flow]


def stage(
    point: Point, *, video: Path, label: str, digest: str, spec: JobSpec, module: nn.Module, max_bytes: int
) -> Scene:
    """Build a witness's clip as a replay does: from the raw video, by the reference path.

    Raises ClipError for a video that cannot be read, IntegrityError when it no longer gives the clip with ``digest``
    or the point does not change the prediction here.
    """
    influence = influence_of(spec, label, module)
    clip = prepare_clip(video, spec.sampling, spec.flow, spec.partition, max_bytes, influence)
    if clip.digest != digest:
        raise IntegrityError(
            f"{video}: file changed since it was certified, or is decoded differently here "
            f"(clip {clip.digest[:12]}, certified {digest[:12]}); its witness cannot be drawn"
        )
    steps, tau = steps_of(clip, point), float(spec.tau)
    delta: Array = tau * steps.astype(np.float64)
    changed = changed_frames(clip, (steps * tau).astype(np.float64))
    before = _outcome(changed_frames(clip, np.zeros(steps.shape)), label, spec, module)
    after = _outcome(changed, label, spec, module)
    if after.margin >= 0:
        raise IntegrityError(f"{video}: its witness does not change the prediction here (margin {after.margin:g})")
    return Scene(video, label, spec, clip, point, changed.transpose(0, 2, 3, 1), delta, before, after)


def _outcome(frames: Array, label: str, spec: JobSpec, module: nn.Module) -> Outcome:
    """What the model says of frames ``[T, 3, H, W]``."""
    logits = exact_logits(frames, module)
    classes = spec.model.classes
    return Outcome(classes[int(logits[0].argmax())], float(margins(logits, classes.index(label))[0]))
