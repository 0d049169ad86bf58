"""Carries out one claimed task: a claim goes in, a result document comes out; nothing is kept that matters."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import numpy as np

from common.errors import ClipError, DeviceMemoryError, InputError, first_line
from common.game import ROOT
from common.vocab import StopReason, TaskKind
from common.wire import Attacked, Bounded, Claim, Estimated, Explored, Outcome, Prepared, SafePoint, run_lengths
from worker.bench import Workbench
from worker.best_first import Heuristic, explore_best_first
from worker.certify import certified_radius
from worker.explore import Exploration, Task, explore
from worker.halving import lacks_memory
from worker.lipschitz import CONFIDENCE, estimate_lipschitz
from worker.plain import margins
from worker.real_margins import RealMargins
from worker.replay import Source, replay, replay_real
from worker.tolerances import FLOAT64_BAND
from worker.upper_bounds import search_upper_bounds

#: Gives the clip's incumbent upper bound (a cost) as of the last beat.
Incumbent = Callable[[], int | None]
#: Gives the reason to stop early, if there is one.
Interrupted = Callable[[], StopReason | None]


def carry_out(bench: Workbench, claim: Claim, incumbent: Incumbent, interrupted: Interrupted) -> Outcome:
    """Do what a claim asks for.

    Raises
    ------
    DeviceMemoryError
        when the device has no memory for the smallest batch: another worker's may have it.
    FlowcertError
        when the clip, the weights or the numbers are unusable: trying again would not help.

    """
    try:
        return _carry_out(bench, claim, incumbent, interrupted)
    except (RuntimeError, DeviceMemoryError) as error:
        if isinstance(error, RuntimeError) and not lacks_memory(error):
            raise
        reason = first_line(error)
    # Outside the except block, whose traceback would keep the task's tensors alive.
    bench.clear()
    raise DeviceMemoryError(f"{bench.device}: {reason}")


def _carry_out(bench: Workbench, claim: Claim, incumbent: Incumbent, interrupted: Interrupted) -> Outcome:
    match claim.kind:
        case TaskKind.PREPARE:
            return _prepare(bench, claim)
        case TaskKind.ATTACK:
            return _attack(bench, claim, interrupted)
        case TaskKind.ESTIMATE:
            return _estimate(bench, claim, interrupted)
        case TaskKind.BOUND:
            return _bound(bench, claim, interrupted)
        case TaskKind.EXPLORE:
            return _explore(bench, claim, incumbent, interrupted)
        case _:
            assert_never(claim.kind)


def _prepare(bench: Workbench, claim: Claim) -> Prepared:
    clip = bench.clip(claim)
    logits = bench.plain(claim, clip).in_float64().logits([ROOT])
    classes = claim.spec.model.classes
    margin = float(margins(logits, classes.index(claim.label))[0])
    if abs(margin) <= FLOAT64_BAND * (1.0 + float(np.abs(logits).max())):
        raise ClipError(claim.video, f"the model cannot tell {claim.label} from another class (margin {margin:g})")
    return Prepared(
        clip_digest=clip.digest,
        region_sizes=[run_lengths(sizes) for sizes in clip.region_sizes],
        predicted=classes[int(logits[0].argmax())],
        margin=margin,
        video_sha256=clip.video_sha256,
    )


def _attack(bench: Workbench, claim: Claim, interrupted: Interrupted) -> Attacked:
    if claim.radius_cost is None:
        raise ValueError(f"task {claim.task} attacks a clip that is not prepared")
    game = bench.game(claim.spec, bench.clip(claim))
    limit = time.monotonic() + bench.settings.task_seconds
    stop: StopReason | None = None

    def stopped() -> bool:
        nonlocal stop
        stop = stop or (StopReason.TIME if time.monotonic() > limit else interrupted())
        return stop is not None

    found = search_upper_bounds(game, bench.judge(claim), claim.spec, claim.radius_cost, stopped)
    source = _source(bench, claim)
    return Attacked(
        witness=None if found.grid is None else replay(found.grid, source),
        real=None if found.real is None else replay_real(found.real.sparse(), source),
        safe_point=found.safe_point,
        evaluations=found.effort.evaluations,
        gradients=found.effort.gradients,
        stop=stop or StopReason.EXHAUSTED,
    )


def _estimate(bench: Workbench, claim: Claim, interrupted: Interrupted) -> Estimated:
    # Fixed by the clip, so that a repeated task finds the same.
    seed = int((claim.clip_digest or "0")[:8], 16)
    limit = time.monotonic() + bench.settings.bound_seconds
    judge = bench.judge(claim)
    found = estimate_lipschitz(
        RealMargins(judge.plain, judge.label), claim.spec.norm, float(claim.spec.radius), seed=seed,
        adversarial=claim.msr_upper, stop=lambda: time.monotonic() > limit or interrupted() is not None,
    )  # fmt: skip
    return Estimated(
        constant=found.constant, location=found.location, greatest=found.greatest, confidence=CONFIDENCE,
        fit=found.fit, samples=found.samples, seed=seed,
    )  # fmt: skip


def _bound(bench: Workbench, claim: Claim, interrupted: Interrupted) -> Bounded:
    limit = time.monotonic() + bench.settings.bound_seconds

    def stopped() -> StopReason | None:
        return interrupted() or (StopReason.TIME if time.monotonic() > limit else None)

    judge = bench.judge(claim)
    radius = float(claim.spec.radius)
    upper = radius if claim.msr_upper is None else min(radius, claim.msr_upper)
    try:
        found = certified_radius(
            judge.plain, judge.label, claim.spec.norm, upper=upper, stop=lambda: stopped() is not None
        )
    except InputError as error:
        # The clip is as good as before; only this kind of bound cannot be had.
        return Bounded(radius=0, margin_bound=None, checks=0, stop=StopReason.EXHAUSTED, reason=error.problem)
    stop = stopped() or StopReason.EXHAUSTED
    reason = None if found.radius > 0 else f"no radius was certified in {found.checks} tries ({stop})"
    margin = found.margin_bound if found.radius > 0 else None
    return Bounded(radius=found.radius, margin_bound=margin, checks=found.checks, stop=stop, reason=reason)


def _explore(bench: Workbench, claim: Claim, incumbent: Incumbent, interrupted: Interrupted) -> Explored:
    found = _exploration(bench, claim, incumbent, interrupted)
    witness = None if found.adversarial is None else replay(found.adversarial, _source(bench, claim))
    undecided = found.undecided
    if witness is not None and not witness.replayed:
        # The search and the replay disagree on this point: neither a witness nor safe.
        undecided = witness.cost if undecided is None else min(undecided, witness.cost)
    closest = None if found.closest is None else SafePoint(point=found.closest[0], margin=found.closest[1])
    return Explored(
        stop=found.stop, position=found.position, explored=found.explored, reached=found.reached,
        undecided=undecided, witness=witness, closest=closest,
    )  # fmt: skip


def _exploration(bench: Workbench, claim: Claim, incumbent: Incumbent, interrupted: Interrupted) -> Exploration:
    if claim.floor is None or claim.threshold is None:
        raise ValueError(f"task {claim.task} explores no level")
    limit = time.monotonic() + bench.settings.task_seconds
    most = min(bench.settings.task_points, claim.points or bench.settings.task_points)

    def stop(points: int) -> StopReason | None:
        if time.monotonic() > limit:
            return StopReason.TIME
        return interrupted() or (StopReason.POINTS if points >= most else None)

    spec, judge = claim.spec, bench.judge(claim)
    game, task = bench.game(spec, bench.clip(claim)), Task(claim.subtree(), claim.floor, claim.threshold)
    batch = judge.fast.batch
    if not spec.heuristic:
        return explore(game, task, judge, most_batch=batch, incumbent=incumbent, interrupted=stop)
    if claim.lipschitz is None:
        raise ValueError(f"task {claim.task} is guided by a Lipschitz constant that is not known")
    return explore_best_first(
        game, task, judge, Heuristic(spec.norm, float(spec.tau), claim.lipschitz),
        most_batch=batch, most_points=most, incumbent=incumbent, interrupted=stop,
    )  # fmt: skip


def _source(bench: Workbench, claim: Claim) -> Source:
    if claim.clip_digest is None:
        raise ValueError(f"task {claim.task} has a witness for a clip that is not prepared")
    return Source(
        video=Path(claim.video), label=claim.label, digest=claim.clip_digest, spec=claim.spec,
        module=bench.model(claim.spec.model).module, max_bytes=bench.settings.max_clip_bytes,
    )  # fmt: skip
