"""Evaluates blocks of grid points frame by frame: one lockstep pass over the frames after the first change.

A point changes frames independently of each other, so it is a prefix (its changes in all flows but the last one it
changes) and a variant of one more frame. The prefix's recurrent states after every frame are kept; all points of a
block start from their prefix's state before the changed frame, take the variant's projection there, and advance
together over the remaining frames with the unchanged clip's projections (design section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.game import ROOT, Point
from common.game.blocks import Block, block_of
from worker.factorised.slots import Slots, TooManyRows
from worker.factorised.variants import Variants, by_family
from worker.halving import Halving
from worker.models.recurrence import Factorised
from worker.plain import Logits, PlainEvaluator, finite

Integers = npt.NDArray[np.int64]

#: Points advanced together: their gates fit a core's cache, which is what bounds the speed on a CPU.
LOCKSTEP = 2048
#: Points evaluated together: enough that what their prefixes cost is shared by many.
BLOCK = 16384
#: Variants put together at once, for each point of a plain batch: they are one frame each, a point is a clip.
VARIANTS_PER_POINT = 2
#: Frames encoded at once on a CPU: more spill from a core's cache, and processes side by side wait for memory.
FRAMES_IN_CACHE = 32


@dataclass(frozen=True, eq=False)
class _Starts:
    """Where each of ``B`` points leaves its prefix: rows of kept states, of variants, and the flow changed."""

    prefix: Integers  #: row of the prefix's states, ``[B]``
    variant: Integers  #: row of the variant's projection, ``[B]``
    flow: Integers  #: the last flow the point changes; T - 1, which is none, for the unchanged clip, ``[B]``


class FactorisedEvaluator:
    """Logits of blocks of one clip's grid points, for a model that can be taken apart.

    Parameters
    ----------
    plain : the plain evaluation of the same clip, whose frames and flows are used.
    model : the same model, as frames and recurrence.
    budget : bytes that variants and states may take together.

    """

    def __init__(self, plain: PlainEvaluator, model: Factorised, budget: int) -> None:
        self.plain = plain
        self._model = model
        self._recurrence = model.recurrence()
        self._offsets = np.asarray(plain.clip.coordinate_offsets)
        self._flow_of = np.asarray(plain.clip.coordinate_table.t)
        self._lockstep = Halving(LOCKSTEP, "points")
        self._encoding = Halving(VARIANTS_PER_POINT * plain.batch, "frames")
        with torch.no_grad():
            encoded = self._encoding.run(len(plain.frames), lambda part: self._project(plain.frames[part]))
        self._base = torch.cat(encoded)
        size, (length, inputs) = plain.frames.element_size(), self._base.shape
        states = len(self._recurrence.start)
        self._variants = Variants(
            max(budget // 2 // (inputs * size), 1), inputs, plain.dtype, plain.device, self._offsets
        )
        # A prefix has the state before each frame and the one after the last.
        capacity = max(budget // 2 // ((length + 1) * states * size), 2)
        self._states: Slots[Point] = Slots(capacity, (length + 1, states), plain.dtype, plain.device)

    @property
    def batch(self) -> int:
        """Points worth evaluating together."""
        return BLOCK

    @property
    def variants_computed(self) -> int:
        """Frame variants warped and encoded so far, those computed again included."""
        return self._variants.computed

    def logits(self, points: Sequence[Point]) -> Logits:
        """Logits ``[B, C]`` of ``B`` grid points; raises NumericalError when one is NaN or infinite."""
        with torch.no_grad():
            return finite(self._logits(block_of(points)))

    def _logits(self, block: Block) -> Logits:
        try:
            starts = self._starts(block)
        except TooManyRows:
            if len(block) == 1:
                return self.plain.logits(block)
            half = len(block) // 2
            return np.concatenate([self._logits(block[:half]), self._logits(block[half:])])
        # Small integers are sorted by counting.
        order = np.argsort(starts.flow.astype(np.uint16), kind="stable")
        parts = self._lockstep.run(
            len(order), lambda part: self._recurrence.finish(self._advance(starts, order[part])).double().cpu()
        )
        logits = torch.cat(parts).numpy()
        result = np.empty_like(logits)
        result[order] = logits
        return result

    def _advance(self, starts: _Starts, rows: npt.NDArray[np.intp], keep: Tensor | None = None) -> Tensor:
        """Final states of the points ``rows``, sorted by flow: each joins the lockstep at the frame it changes.

        With ``keep``, the rows of the points as prefixes, the states on the way are kept there.
        """
        device = self.plain.device
        flow, prefix = starts.flow[rows], starts.prefix[rows]
        variant = torch.from_numpy(starts.variant[rows]).to(device)
        length = len(self._base)
        joined = np.searchsorted(flow, np.arange(length))
        states = self._recurrence.start.new_empty((len(rows), len(self._recurrence.start)))
        for t in range(int(flow[0]), length - 1):
            start, end = int(joined[t]), int(joined[t + 1])
            if start:
                self._recurrence.advance(states[:start], self._base[t + 1])
            if end > start:
                # A point that changes flow t leaves its prefix before frame t + 1.
                before, origin = self._before(prefix[start:end], t + 1)
                self._recurrence.branch(before, origin, self._variants.rows, variant[start:end], states[start:end])
            if keep is not None:
                self._states.rows[keep[:end], t + 2] = states[:end]
        if joined[-1] < len(rows):
            before, origin = self._before(prefix[joined[-1] :], length)
            states[joined[-1] :] = before[origin]
        return states

    def _before(self, prefix: Integers, frame: int) -> tuple[Tensor, Tensor]:
        """States ``[P, S]`` of the distinct prefixes of ``B`` points before a frame, and which is each point's."""
        distinct, origin = np.unique(prefix, return_inverse=True)
        device = self.plain.device
        return self._states.rows[torch.from_numpy(distinct).to(device), frame], torch.from_numpy(origin).to(device)

    def _starts(self, block: Block) -> _Starts:
        """Find or compute what a block's points start from; raises TooManyRows when the budget is too small for it."""
        last_flow = np.array([self._last_flow(parent) for parent in block.parents], np.int64)
        flow = np.where(block.value == 0, len(self._base) - 1, self._flow_of[block.coordinate])
        same = flow == last_flow[block.parent]
        prefixes = list(block.parents)
        within: dict[int, Point] = {}
        before_flow = np.arange(len(prefixes))
        for index in np.unique(block.parent[same]):
            before, within[int(index)] = self._split(block.parents[int(index)])
            before_flow[index] = len(prefixes)
            prefixes.append(before)
        prefix = np.where(same, before_flow[block.parent], block.parent)
        groups = by_family(block, flow, same, within)
        used = [prefixes[int(index)] for index in np.unique(prefix)]
        kept = self._prefix_rows(used)
        variant = np.zeros(len(block), np.int64)
        found = self._variants.rows_of(
            [(family, block.coordinate[at], block.value[at]) for family, at in groups], self._encode
        )
        for (_, at), rows in zip(groups, found, strict=True):
            variant[at] = rows
        row_of = np.array([kept.get(point, 0) for point in prefixes], np.int64)
        return _Starts(row_of[prefix], variant, flow)

    def _prefix_rows(self, points: Sequence[Point]) -> dict[Point, int]:
        """Rows of the kept states of prefixes, after computing the missing ones, those with fewer flows first."""
        depths: list[dict[Point, None]] = []
        for point in points:
            chain = [point]
            while chain[-1] != ROOT:
                chain.append(self._split(chain[-1])[0])
            for depth, ancestor in enumerate(reversed(chain)):
                if depth == len(depths):
                    depths.append({})
                depths[depth][ancestor] = None
        needed = {point for level in depths for point in level}
        for level in depths:
            missing = [point for point in level if self._states.held(point) is None]
            if missing:
                self._keep(missing, needed)
        return {point: rows[0] for point in needed if (rows := self._states.held(point))}

    def _keep(self, points: list[Point], needed: set[Point]) -> None:
        """Compute and keep the states of prefixes whose own prefixes are kept."""
        starts = None if points == [ROOT] else self._prefix_starts(points)
        try:
            self._states.make_room(len(points), needed)
            taken = np.array([self._states.take(point, 1)[0] for point in points], np.int64)
            if starts is None:
                self._keep_root(int(taken[0]))
            else:
                order = np.argsort(starts.flow, kind="stable")
                rows = torch.from_numpy(taken[order]).to(self.plain.device)
                self._lockstep.run(len(order), lambda part: self._advance(starts, order[part], rows[part]))
        except BaseException:
            # What is held must have been computed.
            for point in points:
                self._states.drop(point)
            raise

    def _prefix_starts(self, points: list[Point]) -> _Starts:
        """What prefixes start from: their own prefixes, which are kept, and a variant each."""
        splits = [self._split(point) for point in points]
        wanted = []
        for point, (_, within) in zip(points, splits, strict=True):
            coordinate, value = within[-1]
            family = self._last_flow(point), within[:-1], abs(value)
            wanted.append((family, np.array([coordinate]), np.array([value])))
        variant = np.concatenate(self._variants.rows_of(wanted, self._encode))
        prefix = [(self._states.held(before) or [0])[0] for before, _ in splits]
        flow = [family[0] for family, _, _ in wanted]
        return _Starts(np.array(prefix, np.int64), variant, np.array(flow, np.int64))

    def _keep_root(self, row: int) -> None:
        """Compute the states of the unchanged clip."""
        states = self._recurrence.start[None].clone()
        for t in range(len(self._base)):
            self._states.rows[row, t] = states[0]
            self._recurrence.advance(states, self._base[t])
        self._states.rows[row, len(self._base)] = states[0]

    def _last_flow(self, point: Point) -> int:
        """The last flow a point changes, -1 for none."""
        return int(self._flow_of[point[-1][0]]) if point else -1

    def _split(self, point: Point) -> tuple[Point, Point]:
        """Split a point into its changes before the last flow it changes, and those in it."""
        first = int(self._offsets[self._last_flow(point)])
        cut = next(i for i, (coordinate, _) in enumerate(point) if coordinate >= first)
        return point[:cut], point[cut:]

    def _project(self, frames: Tensor) -> Tensor:
        return self._recurrence.project(self._model.encode(frames))

    def _encode(self, flow: int, changes: npt.NDArray[np.int16]) -> Tensor:
        """Input projections ``[U, I]`` of frame ``flow + 1`` under changes ``[U, K]`` of that flow."""
        most = FRAMES_IN_CACHE if self.plain.device.type == "cpu" else len(changes)

        def encode(part: slice) -> Tensor:
            frames = self.plain.variants(flow, changes[part])
            return torch.cat([self._project(few) for few in torch.split(frames, most)])

        return torch.cat(self._encoding.run(len(changes), encode))
