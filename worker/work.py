"""Carries out one claimed task: a claim goes in, a result document comes out; nothing is kept that matters."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import numpy as np

from common.errors import ClipError
from common.game import ROOT
from common.vocab import StopReason, TaskKind
from common.wire import Attacked, Claim, Explored, Prepared, run_lengths
from worker.bench import Workbench
from worker.explore import Task, explore
from worker.plain import margins
from worker.replay import Source, replay, replay_real
from worker.tolerances import FLOAT64_BAND
from worker.upper_bounds import search_upper_bounds

#: Gives the clip's incumbent upper bound (a cost) as of the last beat.
Incumbent = Callable[[], int | None]
#: Gives the reason to stop early, if there is one.
Interrupted = Callable[[], StopReason | None]


def carry_out(
    bench: Workbench, claim: Claim, incumbent: Incumbent, interrupted: Interrupted
) -> Prepared | Attacked | Explored:
    """Do what a claim asks for.

    Raises
    ------
    FlowcertError
        when the clip, the weights or the numbers are unusable: trying again would not help.

    """
    match claim.kind:
        case TaskKind.PREPARE:
            return _prepare(bench, claim)
        case TaskKind.ATTACK:
            return _attack(bench, claim, interrupted)
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
    )


def _attack(bench: Workbench, claim: Claim, interrupted: Interrupted) -> Attacked:
    if claim.radius_cost is None:
        raise ValueError(f"task {claim.task} attacks a clip that is not prepared")
    game = bench.game(claim.spec, bench.clip(claim))
    limit = time.monotonic() + bench.settings.task_seconds
    found = search_upper_bounds(
        game, bench.judge(claim), claim.spec, claim.radius_cost,
        lambda: time.monotonic() > limit or interrupted() is not None,
    )  # fmt: skip
    source = _source(bench, claim)
    return Attacked(
        witness=None if found.grid is None else replay(found.grid, source),
        real=None if found.real is None else replay_real(found.real.sparse(), source),
        evaluations=found.effort.evaluations,
        gradients=found.effort.gradients,
    )


def _explore(bench: Workbench, claim: Claim, incumbent: Incumbent, interrupted: Interrupted) -> Explored:
    if claim.floor is None or claim.threshold is None:
        raise ValueError(f"task {claim.task} explores no level")
    limit = time.monotonic() + bench.settings.task_seconds

    def stop(points: int) -> StopReason | None:
        if time.monotonic() > limit:
            return StopReason.TIME
        return interrupted() or (StopReason.POINTS if points >= bench.settings.task_points else None)

    judge = bench.judge(claim)
    found = explore(
        bench.game(claim.spec, bench.clip(claim)),
        Task(claim.subtree(), claim.floor, claim.threshold),
        judge,
        most_batch=judge.fast.batch,
        incumbent=incumbent,
        interrupted=stop,
    )
    witness = None if found.adversarial is None else replay(found.adversarial, _source(bench, claim))
    undecided = found.undecided
    if witness is not None and not witness.replayed:
        # The search and the replay disagree on this point: neither a witness nor safe.
        undecided = witness.cost if undecided is None else min(undecided, witness.cost)
    return Explored(
        stop=found.stop, position=found.position, explored=found.explored, reached=found.reached,
        undecided=undecided, witness=witness,
    )  # fmt: skip


def _source(bench: Workbench, claim: Claim) -> Source:
    if claim.clip_digest is None:
        raise ValueError(f"task {claim.task} has a witness for a clip that is not prepared")
    return Source(
        video=Path(claim.video), label=claim.label, digest=claim.clip_digest, spec=claim.spec,
        module=bench.model(claim.spec.model).module, max_bytes=bench.settings.max_clip_bytes,
    )  # fmt: skip
