"""Measures, in one run, grid points per second: plain forward passes, factorised evaluation, and the bare products.

Writes ``build/bench/points_per_second.json``. Ratios carry over to other machines; absolute rates do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.report import write_report
from benchmarks.service_level import measure_service
from common.game import Game, Point, Subtree, whole
from common.game.blocks import Block, blocks
from common.vocab import Norm
from worker.clip import PreparedClip
from worker.explore import Task, explore
from worker.factorised import FactorisedEvaluator
from worker.factorised.evaluator import LOCKSTEP
from worker.judge import Judge
from worker.models import build
from worker.models.lstm_kernel import compile_kernels
from worker.numerics import configure_numerics
from worker.plain import PlainEvaluator

CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Subject:
    """A model and a clip to measure on."""

    game: Game
    plain: PlainEvaluator
    level: int  #: costs below it are evaluated

    def listing(self, size: int) -> list[Block]:
        """Every point of the level, in blocks."""
        return [block for block, _ in blocks(self.game, whole(self.game), 0, lambda: self.level, lambda: size)]


def subject(model: str, side: int, hidden: int, grid: int, moves: int, cap: int | None) -> Subject:
    """Build a random model and a random clip of 16 frames; the level holds all points of up to ``moves`` steps."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (16, side, side, 3)).astype(np.uint8)
    flow = rng.normal(size=(15, 2, side, side)).astype(np.float32)
    rows = np.arange(side) * grid // side
    labels = np.broadcast_to(rows[:, None] * grid + rows[None, :], (15, side, side)).astype(np.int32)
    args = {"classes": 5, "hidden": hidden} | ({} if model == "vgg16_lstm" else {"height": side, "width": side})
    module = build(model, args).eval().requires_grad_(requires_grad=False)
    clip = PreparedClip(frames, flow, labels)
    game = Game(clip.coordinate_sizes, Norm.L1, cap)
    plain = PlainEvaluator(clip, module, 1.0, torch.device("cpu"), batch=16 if side > 64 else 64)
    return Subject(game, plain, moves * game.sizes[0] + 1)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def plain_rate(on: Subject, points: Sequence[Point]) -> float:
    """Points per second of full forward passes."""
    return len(points) / seconds(lambda: on.plain.logits(points))


def bare_tail_seconds(on: Subject, listing: list[Block], hidden: int) -> float:
    """Time of the recurrent matrix products alone that the points need: a row per frame after their last change."""
    flow_of = on.plain.clip.coordinate_table.t
    weights = torch.randn(hidden, 4 * hidden)
    states = torch.randn(LOCKSTEP, hidden)
    out = torch.empty(LOCKSTEP, 4 * hidden)
    steps = [15 - np.where(block.value == 0, 15, flow_of[block.coordinate]) for block in listing]
    rows = int(sum(block.sum() for block in steps))

    def products() -> None:
        left = rows
        with torch.no_grad():
            while left > 0:
                here = min(left, LOCKSTEP)
                torch.mm(states[:here], weights, out=out[:here])
                left -= here

    products()
    return seconds(products)


def explore_seconds(on: Subject, evaluator: FactorisedEvaluator) -> float:
    """Time of a whole explore task over the level: enumeration, evaluation and judgement of every point."""
    label = int(on.plain.logits([()])[0].argmax())
    tree = whole(on.game)
    task = Task(Subtree(tree.prefix, tree.first, tree.last), 0, on.level)
    judge = Judge(evaluator, on.plain, label)

    def work() -> None:
        explore(
            on.game, task, judge, most_batch=evaluator.batch, incumbent=lambda: None, interrupted=lambda _points: None
        )

    return seconds(work)


def measure(name: str, on: Subject, hidden: int, plain_points: int) -> dict[str, float]:
    """Measure one model: every figure on the same clip and the same level."""
    evaluator = FactorisedEvaluator(on.plain, on.plain.module, CACHE_BYTES)
    listing = on.listing(evaluator.batch)
    count = sum(len(block) for block in listing)
    first = seconds(lambda: [evaluator.logits(block) for block in listing])
    variants = evaluator.variants_computed
    again = min(seconds(lambda: [evaluator.logits(block) for block in listing]) for _ in range(2))
    points = [listing[-1][index] for index in range(plain_points)]
    plain = plain_rate(on, points)
    found = np.abs(evaluator.logits(points) - on.plain.logits(points)).max()
    bare = min(bare_tail_seconds(on, listing, hidden) for _ in range(2))
    explored = min(explore_seconds(on, evaluator) for _ in range(2))
    return {
        f"{name}_points": count,
        f"{name}_variants": variants,
        f"{name}_plain_points_per_second": plain,
        f"{name}_factorised_points_per_second": count / again,
        f"{name}_factorised_with_encoding_points_per_second": count / first,
        f"{name}_encoding_seconds_per_variant": (first - again) / variants,
        f"{name}_explore_points_per_second": count / explored,
        f"{name}_bare_tail_points_per_second": count / bare,
        f"{name}_greatest_difference_of_logits": float(found),
        f"{name}_factorised_over_plain": count / again / plain,
        f"{name}_factorised_with_encoding_over_plain": count / first / plain,
        f"{name}_explore_over_bare_tail": bare / explored,
    }


def main() -> None:
    """Measure both models in this process and the two-move level through the service, and report."""
    configure_numerics(threads=1)
    compile_kernels()
    small = measure("cnn_lstm", subject("cnn_lstm", 64, 64, grid=4, moves=2, cap=None), 64, plain_points=256)
    large = measure("vgg16_lstm", subject("vgg16_lstm", 224, 256, grid=1, moves=3, cap=1), 256, plain_points=2)
    service = measure_service()
    write_report(
        "points_per_second",
        {**small, **large, **service, "explore_over_bare_tail": small["cnn_lstm_explore_over_bare_tail"]},
    )


if __name__ == "__main__":
    main()
