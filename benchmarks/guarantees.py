"""Measures what guarantees are worth: that nothing contradicts them, and how near lower bounds come to upper ones.

Soundness: random small models with a clip each (``tests.soundness``); samples and attacks look for changes that the
labels ``continuous`` and ``grid`` rule out. Tightness: certified radii of two 64x64 models, one trained in the
ordinary way and one to be certified, beside the shortest adversarial change known of each clip that is got right.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch

from benchmarks.claims import correct_claims, spec_of_weights
from benchmarks.report import write_report
from common.features import parse_partition
from common.game import distance
from common.jobspec import JobSpec
from common.vocab import Norm
from common.wire import Claim
from tests.soundness import ATTACKS, Checked, Effort, checked_cases
from worker.bench import Workbench
from worker.certify import certified_radius
from worker.certify.ball import Ball
from worker.certify.encoder import FrameBounds
from worker.certify.heads import last_state
from worker.clip import PreparedClip
from worker.demo.render import render_dataset
from worker.features import label_regions
from worker.judge import Judge
from worker.models import build
from worker.models.lstm_kernel import compile_kernels
from worker.numerics import configure_numerics
from worker.plain import PlainEvaluator
from worker.upper_bounds import search_upper_bounds

#: Random small models, the seed they are drawn from, and samples of each model and label.
MODELS, SEED, SAMPLES = 108, 11, 10_000
WEIGHTS = {
    "ordinary": Path("examples/demo64_ordinary.safetensors"),
    "friendly": Path("examples/demo64_friendly.safetensors"),
}
CLIPS_PER_CLASS, CLIPS_SEED = 6, 11
#: How far adversarial changes are searched, in pixels: every clip of both models has one within it.
RADIUS = Decimal(400)
#: Size of the head whose bounds are timed: frames, state and features; and of its frames, with 32 coordinates a flow.
FRAMES, HIDDEN, FEATURES, SIDE = 16, 128, 64, 16
HEAD_RADIUS, HEAD_RUNS = 0.1, 3
DETAILS = Path("build/bench/guarantees.md")


def main() -> None:
    """Run both parts; write build/bench/guarantees.json and, model by model and clip by clip, guarantees.md."""
    configure_numerics(threads=1)
    compile_kernels()
    checked, sound = soundness()
    figures, tables = dict(sound), [_soundness_table(checked)]
    for name, weights in WEIGHTS.items():
        rows = tightness(weights)
        tables.append(_tightness_table(name, rows))
        figures |= _tightness_figures(name, rows)
    figures["positive_share"] = figures.pop("positive_share_ordinary")
    figures["lstm_head_seconds"] = head_seconds()
    DETAILS.parent.mkdir(parents=True, exist_ok=True)
    DETAILS.write_text("\n\n".join(tables) + "\n")
    endless = [key for key, value in figures.items() if not math.isfinite(value)]
    if endless:
        raise SystemExit(f"{', '.join(endless)} of {figures} cannot be reported; {DETAILS} has the clips")
    write_report("guarantees", figures)
    if figures["soundness_violations"]:
        raise SystemExit(f"{figures['soundness_violations']} violations of guarantees; {DETAILS} says of which models")


def soundness() -> tuple[list[Checked], dict[str, float]]:
    """Check the random models, and sum up."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="flowcert-bench-") as folder:
        checked = list(checked_cases(SEED, range(MODELS), Path(folder), Effort(SAMPLES)))
    real = [one.real for one in checked if one.real is not None]
    grid = [one.grid for one in checked if one.grid is not None]
    return checked, {
        "soundness_models": len(checked),
        "soundness_samples": sum(check.samples for check in (*real, *grid)),
        "soundness_violations": sum(one.violations for one in checked),
        "soundness_radius_zero": len(checked) - len(real),
        "soundness_draws_of_no_use": sum(one.draws - 1 for one in checked),
        "soundness_continuous_models": len(real),
        "soundness_continuous_samples": sum(check.samples for check in real),
        "soundness_continuous_attacks": len(ATTACKS) * len(real),
        "soundness_grid_models": len(grid),
        "soundness_grid_samples": sum(check.samples for check in grid),
        "soundness_median_ratio": median(one.ratio for one in checked),
        "soundness_seconds": time.perf_counter() - begun,
    }


def _soundness_table(checked: list[Checked]) -> str:
    """The random models as a table in Markdown; ``draw_cases(SEED, range(MODELS), ...)`` draws each of them again."""
    heading = (
        "| model | head | norm | coordinates | radius | margin bound | least margin | adversarial from | samples "
        "| grid samples | violations |"
    )
    lines = [f"Random small models, seed {SEED}:", "", heading, "|---|---|---|---|---|---|---|---|---|---|---|"]
    for one in checked:
        case, found, grid = one.case, one.certificate, one.grid
        real = "none | none | 0"
        if one.real is not None:
            real = f"{one.real.least:.5f} | {one.real.upper:.4f} | {one.real.samples}"
        lines.append(
            f"| {case.number} | {case.head} | {case.norm} | {len(case.sizes)} | {found.radius:.4f} "
            f"| {found.margin_bound:.5f} | {real} | {'no game' if grid is None else grid.samples} | {one.violations} |"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class Row:
    """One clip's bounds, in pixels, and what the lower one took."""

    clip: str
    upper: float  #: infinite when no adversarial change was found
    lower: float
    margin_bound: float
    checks: int
    seconds: float  #: of the processor

    @property
    def ratio(self) -> float:
        """How many times the lower bound goes into the upper one; infinite without one of them."""
        return self.upper / self.lower if self.lower > 0 else math.inf


def tightness(weights: Path, per_class: int = CLIPS_PER_CLASS) -> list[Row]:
    """Both bounds of all clips that the model gets right."""
    spec = spec_of_weights(weights, "grid:4x4", Norm.L2, RADIUS)
    with tempfile.TemporaryDirectory(prefix="flowcert-bench-") as folder:
        home = Path(folder)
        clips = render_dataset(home / "clips", per_class=per_class, seed=CLIPS_SEED)
        return list(_bounded(home, spec, clips))


def _bounded(home: Path, spec: JobSpec, clips: list[tuple[Path, str]]) -> Iterator[Row]:
    for bench, claim, judge in correct_claims(home, spec, clips):
        upper = _shortest(bench, claim, judge)
        # Processor time: one thread computes, and other programs may be running.
        begun = time.process_time()
        found = certified_radius(judge.plain, judge.label, spec.norm, upper=min(upper, float(spec.radius)))
        seconds = time.process_time() - begun
        yield Row(Path(claim.video).stem, upper, found.radius, found.margin_bound, found.checks, seconds)


def _shortest(bench: Workbench, claim: Claim, judge: Judge) -> float:
    """Distance of the shortest adversarial change found, real or on the grid; infinite without one."""
    spec = claim.spec
    game = bench.game(spec, bench.clip(claim))
    found = search_upper_bounds(game, judge, spec, claim.radius_cost or 0, lambda: False)
    real = math.inf if found.real is None else found.real.distance
    return real if found.grid is None else min(real, distance(spec.norm, spec.tau, game.cost(found.grid)))


def _tightness_figures(name: str, rows: list[Row]) -> dict[str, float]:
    """Sum up a model's clips; a median may be infinite, which the caller refuses."""
    if not rows:
        raise SystemExit(f"the {name} model gets no clip right")
    seconds = [row.seconds for row in rows]
    return {
        f"clips_{name}": len(rows),
        f"positive_share_{name}": sum(row.lower > 0 for row in rows) / len(rows),
        f"median_ratio_{name}": median(row.ratio for row in rows),
        f"median_lower_{name}": median(row.lower for row in rows),
        f"without_upper_{name}": sum(math.isinf(row.upper) for row in rows),
        f"seconds_per_certificate_{name}": fmean(seconds),
        f"most_seconds_per_certificate_{name}": max(seconds),
    }


def _tightness_table(name: str, rows: list[Row]) -> str:
    """A model's clips as a table in Markdown."""
    lines = [
        f"Clips that the {name} model gets right:",
        "",
        "| clip | lower | upper | upper / lower | margin bound | radii tried | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.clip} | {row.lower:.4f} | {row.upper:.4f} | {row.ratio:.2f} | {row.margin_bound:.5f} "
        f"| {row.checks} | {row.seconds:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def head_seconds() -> float:
    """Seconds that the bounds of an LSTM of the usual size take in one ball: the median run.

    The forms of the features are those of random frames and flows, with random weights.
    """
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (FRAMES, SIDE, SIDE, 3)).astype(np.uint8)
    flow = rng.normal(0, 1, (FRAMES - 1, 2, SIDE, SIDE)).astype(np.float32)
    clip = PreparedClip(frames, flow, label_regions(parse_partition("grid:4x4"), flow))
    args = {"classes": 4, "height": SIDE, "width": SIDE, "hidden": HIDDEN, "features": FEATURES}
    module = build("cnn_lstm", args).eval().requires_grad_(requires_grad=False)
    bounds = FrameBounds(PlainEvaluator(clip, module, 1.0, torch.device("cpu"), batch=1).in_float64())
    ball, taken = Ball(Norm.L2, HEAD_RADIUS), []
    with torch.no_grad():
        features = bounds.features(ball, lambda: False)
        if features is None:
            raise ValueError("bounds of the features stopped although nobody told them to")
        for _ in range(HEAD_RUNS):
            begun = time.process_time()
            last_state(bounds.plain.module, bounds.first, features, ball)
            taken.append(time.process_time() - begun)
    return median(taken)


if __name__ == "__main__":
    main()
