"""Compares upper bounds: ours, the greedy attack's, a projected-gradient bisection's and an attack library's.

All four search the shortest L2 change of the same clips' flows, by ``grid:4x4``, for the demo model and for the small
model trained on UCF101. The library is foolbox, with its minimal-norm attack DDN (J. Rony et al., CVPR 2019) on the
scaled coordinates. Clips that a model gets wrong are left out. The share of exact grid answers is taken over random
tiny games, solved by brute force, and the demo's clips with one region a flow, solved by exploration.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import eagerpy
import foolbox
import numpy as np
import torch

from benchmarks.claims import correct_claims, spec_of_weights
from benchmarks.report import write_report
from common.game import distance, whole
from common.settings import Settings
from common.vocab import Norm
from tests.tiny import draw_games
from worker.attack import GreedyAttack
from worker.bench import Workbench
from worker.demo.render import render_dataset
from worker.explore import Task, explore
from worker.models import inspect_weights
from worker.models.lstm_kernel import compile_kernels
from worker.numerics import configure_numerics
from worker.plain import PlainEvaluator
from worker.real_margins import RealMargins
from worker.upper_bounds import search_upper_bounds

DEMO = Path("worker/demo/weights.safetensors")
UCF101 = Path("examples/ucf101_cnn_lstm.safetensors")
#: Real clips, in UCF101's layout, and how many of each class of the model are taken.
REAL, EACH = Path(os.environ.get("FLOWCERT_UCF101", "../shared/data/ucf101")), 4
#: How far changes are searched, in pixels: most clips have an adversarial one within it.
DEMO_RADIUS, REAL_RADIUS = Decimal(72), Decimal(400)
#: Steps of the library's attack, which takes one gradient a step: about as many as ours takes.
LIBRARY_STEPS = 100
BISECTIONS = 10
TINY_GAMES, TINY_SEED = 75, 5
Vector = np.ndarray[Any, np.dtype[np.float64]]


def main() -> None:
    """Run the comparison; write build/bench/upper_bounds.json and, clip by clip, upper_bounds.md."""
    configure_numerics(threads=1)
    compile_kernels()
    with tempfile.TemporaryDirectory(prefix="flowcert-bench-") as folder:
        home = Path(folder)
        demo = render_dataset(home / "demo", per_class=6, seed=11)
        rows = list(_compare(home, DEMO, demo, DEMO_RADIUS))
        real = list(_compare(home, UCF101, _real_clips(), REAL_RADIUS)) if REAL.is_dir() else []
        known = [*_tiny_games(home), *_solved(home, demo)]
    figures: dict[str, float] = {f"median_l2_{name}": median(row[name] for row in rows) for name in METHODS}
    figures |= {f"ucf101_median_l2_{name}": median(row[name] for row in real) for name in METHODS if real}
    figures |= {
        "clips": len(rows),
        "ucf101_clips": len(real),
        "grid_optimal_share": sum(known) / len(known),
        "grid_games": len(known),
        "gradients_per_clip": float(np.mean([row["gradients"] for row in rows])),
        "seconds_per_clip": float(np.mean([row["seconds"] for row in rows])),
    }
    if real:
        figures["ucf101_seconds_per_clip"] = float(np.mean([row["seconds"] for row in real]))
    write_report("upper_bounds", figures)
    Path("build/bench/upper_bounds.md").write_text("\n\n".join(_table(part) for part in (rows, real) if part) + "\n")


METHODS = ("ours", "greedy", "pgd", "library")


def _table(rows: list[dict[str, Any]]) -> str:
    """The comparison clip by clip, as a table in Markdown."""
    lines = [
        "| clip | ours | on the grid | greedy | PGD | library | gradients | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        numbers = " | ".join(f"{row[name]:.2f}" for name in ("ours", "grid", "greedy", "pgd", "library"))
        lines.append(f"| {row['clip']} | {numbers} | {row['gradients']} | {row['seconds']:.2f} |")
    return "\n".join(lines)


def _real_clips() -> list[tuple[Path, str]]:
    """The first clips of each of the model's classes."""
    info = inspect_weights("cnn_lstm", UCF101, {}, None)
    return [(path, name) for name in info.classes or () for path in sorted((REAL / name).glob("*.avi"))[:EACH]]


def _compare(home: Path, weights: Path, clips: list[tuple[Path, str]], radius: Decimal) -> Iterator[dict[str, Any]]:
    """Distances of the four methods, and what ours cost, clip by clip."""
    spec = spec_of_weights(weights, "grid:4x4", Norm.L2, radius)
    for bench, claim, judge in correct_claims(home, spec, clips):
        game, limit = bench.game(spec, bench.clip(claim)), claim.radius_cost or 0
        greedy = GreedyAttack(game, judge, limit).find()
        begun = time.perf_counter()
        found = search_upper_bounds(game, judge, spec, limit, lambda: False)
        seconds = time.perf_counter() - begun
        space = ScaledSpace(judge.plain, judge.label, float(radius))
        yield {
            "clip": Path(claim.video).stem,
            "ours": math.inf if found.real is None else found.real.distance,
            "grid": math.inf if found.grid is None else distance(spec.norm, spec.tau, game.cost(found.grid)),
            "greedy": math.inf if greedy is None else distance(spec.norm, spec.tau, game.cost(greedy)),
            "pgd": space.bisected(found.effort.gradients),
            "library": space.library(),
            "gradients": found.effort.gradients,
            "seconds": seconds,
        }


class ScaledSpace:
    """One clip's changes with coordinates scaled so that L2 is plain, where the other methods search."""

    def __init__(self, plain: PlainEvaluator, label: int, radius: float) -> None:
        self.radius = radius
        self.margins, self.label = RealMargins(plain, label), label
        self.scale = np.sqrt(np.array(plain.clip.coordinate_sizes, float))

    def bisected(self, gradients: int) -> float:
        """Radius found by bisection, with projected gradient descent on the margin in each ball."""
        low, high = 0.0, self.radius
        best = math.inf
        for _ in range(BISECTIONS):
            radius = min(high, best) if best == math.inf else (low + best) / 2
            reached = self._descend(radius, gradients // BISECTIONS)
            if reached is None:
                low = radius
            else:
                best = min(best, reached)
        return best

    def _descend(self, radius: float, steps: int) -> float | None:
        """Length of the first adversarial change met in a ball, by normalised steps; None when none is met."""
        row = np.zeros((1, len(self.scale)))
        for _ in range(steps):
            leads, gradient = self.margins.gradients(row / self.scale, np.array([-1]))
            if leads.min() < 0:
                return float(np.linalg.norm(row))
            gradient = gradient / self.scale
            row = row - 2.5 * radius / steps * gradient / max(float(np.linalg.norm(gradient)), 1e-30)
            row *= min(1.0, radius / max(float(np.linalg.norm(row)), 1e-30))
        return float(np.linalg.norm(row)) if self.margins.margins(row / self.scale)[0] < 0 else None

    def library(self) -> float:
        """Length of what the library's attack finds; it works on [0, 1], so the radius is scaled to a half."""
        model = foolbox.PyTorchModel(_Network(self), bounds=(0, 1), device="cpu")
        start = torch.full((1, len(self.scale)), 0.5)
        torch.set_deterministic_debug_mode("default")
        try:
            _, found, success = foolbox.attacks.DDNAttack(steps=LIBRARY_STEPS)(
                model, start, torch.tensor([self.label]), epsilons=None
            )
        finally:
            torch.set_deterministic_debug_mode("error")
        changed = eagerpy.astensor(found).numpy()[0] - 0.5
        return float(np.linalg.norm(changed)) * 2 * self.radius if bool(success) else math.inf


class _Network(torch.nn.Module):
    """The model as a function of scaled changes, which [0, 1] stands for."""

    def __init__(self, space: ScaledSpace) -> None:
        super().__init__()
        self.space = space
        self.scale = torch.tensor(space.scale, dtype=torch.float32)
        self.eval()

    def forward(self, changes: torch.Tensor) -> torch.Tensor:
        """Logits ``[B, C]`` of changes ``[B, J]``."""
        return self.space.margins.logits((changes - 0.5) * 2 * self.space.radius / self.scale)


def _tiny_games(home: Path) -> Iterator[bool]:
    """Whether the grid's upper bound is exact, for random tiny games with an adversarial point."""
    bench = Workbench(Settings(data_dir=home))
    for tiny in draw_games(Random(TINY_SEED), home, bench.settings.cache_dir, TINY_GAMES):
        if tiny.truth.fmsr is None:
            continue
        for one, claim, judge in correct_claims(home, tiny.spec, [(tiny.video, tiny.label)]):
            game = one.game(tiny.spec, one.clip(claim))
            found = search_upper_bounds(game, judge, tiny.spec, claim.radius_cost or 0, lambda: False)
            yield found.grid is not None and game.cost(found.grid) == tiny.truth.fmsr


def _solved(home: Path, clips: list[tuple[Path, str]]) -> Iterator[bool]:
    """The same for the demo's clips as its job has them; exploration below the bound finds what was missed."""
    spec = spec_of_weights(DEMO, "global", Norm.L2, DEMO_RADIUS)
    for bench, claim, judge in correct_claims(home, spec, clips):
        game, limit = bench.game(spec, bench.clip(claim)), claim.radius_cost or 0
        found = search_upper_bounds(game, judge, spec, limit, lambda: False)
        cost = limit + 1 if found.grid is None else game.cost(found.grid)
        truth = explore(
            game, Task(whole(game), 0, cost), judge,
            most_batch=judge.fast.batch, incumbent=lambda: None, interrupted=lambda _points: None,
        )  # fmt: skip
        if truth.reached <= limit:
            yield truth.reached == cost


if __name__ == "__main__":
    main()
