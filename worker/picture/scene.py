"""Decides what of a witness is shown: the frames the replay saw, before and after, and what both were taken for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import IntegrityError
from common.game import Game, distance
from common.jobspec import JobSpec
from common.moves import Move, Regions, moves_of, real_moves_of
from common.wire import run_lengths
from worker.clip import PreparedClip
from worker.replay import Change, Source, changed_frames, judged, measured

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
    change: Change
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
    def changed(self) -> Array:
        """Frames as manipulated, RGB in [0, 1], ``[T, H, W, 3]``."""
        return changed_frames(self.clip, self.delta).transpose(0, 2, 3, 1)

    @cached_property
    def delta(self) -> Array:
        """Change of each flow in pixels, ``[T-1, 2, H, W]``."""
        return self.change.delta(self.clip)

    @cached_property
    def moves(self) -> tuple[Move, ...]:
        """The witness in words."""
        sizes = [run_lengths(flow) for flow in self.clip.region_sizes]
        regions = Regions(sizes, self.spec.partition, self.clip.frames.shape[2])
        if self.change.point is None:
            return real_moves_of(self.change.pixels, regions)
        return moves_of(self.change.point, float(self.spec.tau), regions)

    @cached_property
    def flows(self) -> list[int]:
        """Flows that are changed, from 0; flow t changes frame t+1 and no other."""
        return sorted({move.flow - 1 for move in self.moves})

    @cached_property
    def cost(self) -> int | None:
        """Cost of a grid witness; a real one has none."""
        if self.change.point is None:
            return None
        return Game(self.clip.coordinate_sizes, self.spec.norm, self.spec.cap).cost(self.change.point)

    @property
    def distance(self) -> float:
        """How large the change is, in pixels of the norm; of a real one rounded up."""
        if self.cost is None:
            return measured(self.delta, self.spec.norm)
        return distance(self.spec.norm, self.spec.tau, self.cost)

    @property
    def facts(self) -> str:
        """One line: how large the change is, and of what game."""
        frames = f"{len(self.flows)} of {len(self.delta)} flows changed"
        spec = self.spec
        steps = "not on the grid" if self.change.point is None else f"τ = {spec.tau:f} px"
        return f"{spec.norm} distance {self.distance:.4g} px · {frames} · {spec.features} · {steps}"

    def mask(self, move: Move) -> npt.NDArray[np.bool_]:
        """Pixels of a move's region, ``[H, W]``."""
        return np.asarray(self.clip.labels[move.flow - 1] == move.region - 1)

    def moves_in(self, flow: int) -> list[Move]:
        """Moves in one flow, given from 0."""
        return [move for move in self.moves if move.flow - 1 == flow]


def stage(change: Change, source: Source) -> Scene:
    """Build a witness's clip as a replay does, and ask the model again.

    Raises ClipError for a video that cannot be read, IntegrityError when it no longer gives the clip with the digest
    or the change does not alter the prediction here.
    """
    clip = source.clip()
    before, after = (_outcome(clip, delta, source) for delta in (np.zeros(clip.flow.shape), change.delta(clip)))
    if after.margin >= 0:
        raise IntegrityError(
            f"{source.video}: its witness does not change the prediction here (margin {after.margin:g})"
        )
    return Scene(source.video, source.label, source.spec, clip, change, before, after)


def _outcome(clip: PreparedClip, delta: Array, source: Source) -> Outcome:
    """What the model says of a clip under a change ``[T-1, 2, H, W]`` in pixels."""
    found = judged(clip, delta, source)
    return Outcome(found.predicted, found.margin)
