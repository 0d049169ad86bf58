"""Decides what benchmarks of single clips start from: a weights file as a job, and the clips its model gets right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

from common.game import ROOT
from common.game.costs import cost_of_radius
from common.jobspec import FarnebackSpec, JobSpec, ModelSpec, SamplingSpec
from common.settings import Settings
from common.vocab import Norm, TaskKind
from common.wire import Claim
from worker.bench import Workbench
from worker.judge import Call, Judge
from worker.models import inspect_weights


def spec_of_weights(weights: Path, features: str, norm: Norm, radius: Decimal) -> JobSpec:
    """A job with a ``cnn_lstm`` of a weights file that says what it is for, and an atomic manipulation of one pixel."""
    info = inspect_weights("cnn_lstm", weights, {}, None)
    if info.classes is None or info.frames is None:
        raise ValueError(f"{weights} does not say what it is for")
    return JobSpec(
        dataset="benchmark",
        model=ModelSpec(
            name="cnn_lstm", weights=str(weights), args=info.args, classes=info.classes, sha256=info.sha256
        ),
        sampling=SamplingSpec(frames=info.frames, every=info.every, height=info.height, width=info.width),
        flow=FarnebackSpec(), features=features, norm=norm, tau=Decimal(1), radius=radius,
    )  # fmt: skip


def correct_claims(
    home: Path, spec: JobSpec, clips: Iterable[tuple[Path, str]]
) -> Iterator[tuple[Workbench, Claim, Judge]]:
    """The clips that the model gets right, as an attack's worker has them."""
    bench = Workbench(Settings(data_dir=home))
    limit = cost_of_radius(spec.norm, spec.tau, spec.radius)
    for path, label in clips:
        claim = Claim(
            task=1, attempt=1, kind=TaskKind.ATTACK, spec=spec, video=str(path), label=label,
            clip_digest=None, radius_cost=limit, upper=None,
        )  # fmt: skip
        claim = claim.model_copy(update={"clip_digest": bench.clip(claim).digest})
        judge = bench.judge(claim)
        if judge.judge([ROOT]).calls[0] == Call.SAFE:
            yield bench, claim, judge
