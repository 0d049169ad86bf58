"""Draws random small models, each with a real clip, and counts what contradicts the guarantees that are given of them.

``continuous``: no real change within the certified radius is adversarial, and no margin there is below the bound.
``grid``: no grid point below the exact answer is adversarial, and the answer is the one that brute force finds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count, groupby, product
from pathlib import Path
from random import Random

import numpy as np
import torch

from common.features import parse_partition
from common.game import Game, cost_of_radius, whole
from common.jobspec import FarnebackSpec, SamplingSpec
from common.vocab import Norm
from tests.oracle import LEAST_MARGIN, Features, Rules, Truth, brute_force, grid
from tests.oracle import margins as oracle_margins
from tests.tiny import MAX_BYTES, MOST_POINTS, calibrate, draw_radius, write_video
from worker.certify import Certificate, certified_radius
from worker.certify.ball import pixels_per_unit
from worker.clip import PreparedClip, load_or_prepare
from worker.explore import Task, explore
from worker.factorised import FactorisedEvaluator
from worker.gradient_search import GradientSearch
from worker.judge import Judge
from worker.models import build
from worker.plain import PlainEvaluator, margins
from worker.real_margins import RealMargins

HEADS = ("cnn_lstm", "cnn_gru", "cnn_mean")
#: Every head is drawn with every norm, in turn; the norms of a head share a clip.
KINDS = tuple(product(HEADS, Norm))
#: Clips evaluated at once, in float64; room for what the grid's evaluation keeps.
BATCH, CACHE_BYTES = 250, 20_000_000
#: Samples from which projected gradient steps are made, and steps from each.
DESCENTS, STEPS = 8, 10
#: How far attacks look, in certified radii: within the ball, and beyond it for how much of the distance is certified.
ATTACKS = (1.0, 100.0)
ORDER = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}


@dataclass(frozen=True, eq=False)
class Case:
    """A random model with a clip that it gets right."""

    number: int
    head: str
    norm: Norm
    plain: PlainEvaluator
    label: int
    rules: Rules | None  #: the grid's game; None when it has too many points for brute force
    truth: Truth | None

    @property
    def sizes(self) -> list[int]:
        """Flow entries that each coordinate moves."""
        return list(self.plain.clip.coordinate_sizes)


@dataclass(frozen=True)
class RealCheck:
    """What became of a certificate; ``adversarial``, ``below`` and ``attacks`` count its violations."""

    samples: int
    adversarial: int  #: samples of a margin below zero
    below: int  #: samples of a margin below the bound
    attacks: int  #: adversarial changes within the radius that attacks found
    least: float  #: least margin met within the radius
    upper: float  #: pixels of the shortest adversarial change that attacks found anywhere; infinite without one

    @property
    def violations(self) -> int:
        """Changes that the certificate says there are none of."""
        # A bound of a certificate is above zero, so samples below zero are below it as well.
        return max(self.below, self.adversarial) + self.attacks


@dataclass(frozen=True)
class GridCheck:
    """What became of an exact answer of the grid's game."""

    samples: int
    adversarial: int  #: samples of a margin below zero
    wrong: bool  #: whether brute force finds another answer

    @property
    def violations(self) -> int:
        """Points that the answer says there are none of, and the answer itself where it is wrong."""
        return self.adversarial + self.wrong


def draw_cases(seed: int, numbers: range, folder: Path) -> Iterator[tuple[Case, int]]:
    """Draw the cases of these numbers, always the same ones, and say how many draws each took.

    A draw is of no use when the clip is misclassified or some margin is too near zero for brute force to be sure.
    """
    for group, members in groupby(numbers, lambda number: number // len(Norm)):
        clip = _draw_clip(Random(f"clip {seed} {group}"), folder)
        for number in members:
            rng, draws = Random(f"case {seed} {number}"), 1
            while (case := _draw(rng, number, clip)) is None:
                draws += 1
            yield case, draws


def _draw(rng: Random, number: int, clip: PreparedClip) -> Case | None:
    head, norm = KINDS[number % len(KINDS)]
    features, tau = Features(clip.frames, clip.flow, clip.labels), Decimal(rng.choice(["0.5", "0.7", "1", "1.25", "2"]))
    module, classes = _draw_module(rng, head, clip)
    rules = _draw_rules(rng, features.sizes, norm, tau)
    points = [(0,) * len(features.sizes)] if rules is None else [point for point, _ in grid(features.sizes, rules)]
    exact, label = copy.deepcopy(module).double(), rng.randrange(classes)
    truth = None
    if rules is None:
        leads = [float(oracle_margins(features, points, exact, each, tau)[0]) for each in range(classes)]
        label = int(np.argmax(leads))
        if leads[label] < LEAST_MARGIN:
            return None
    else:
        quantile = 0.0 if rng.random() < 0.5 else rng.choice([0.003, 0.01, 0.03, 0.1])
        if not calibrate(module, label, oracle_margins(features, points, exact, label, tau), quantile):
            return None
        truth = brute_force(features, rules, copy.deepcopy(module).double(), label)
        if truth is None:
            return None
    plain = PlainEvaluator(clip, module, float(tau), torch.device("cpu"), BATCH)
    return Case(number, head, norm, plain, label, rules, truth)


def _draw_rules(rng: Random, sizes: list[int], norm: Norm, tau: Decimal) -> Rules | None:
    """Rules of a game that brute force can solve; None when none was met."""
    if norm is Norm.LINF:
        cap = rng.choice([1, 2])
        # As all coordinates move together, the whole box is in the game.
        return Rules(norm, tau, cap * tau, cap) if (2 * cap + 1) ** len(sizes) <= MOST_POINTS else None
    cap = rng.choice([None, None, 1, 2])
    radius = draw_radius(rng, sizes, norm, tau, cap)
    return None if radius is None else Rules(norm, tau, radius, cap)


def _draw_clip(rng: Random, folder: Path) -> PreparedClip:
    """A real video of 3 to 5 sampled frames, with up to 4 regions a flow."""
    height, width = rng.randint(8, 16), rng.randint(8, 16)
    video = folder / f"{rng.getrandbits(64):016x}.avi"
    write_video(video, rng, frames=rng.randint(6, 9), height=height, width=width)
    sampling = SamplingSpec(frames=rng.choice([3, 3, 4, 5]), height=height, width=width)
    kind = rng.choice(["global", "global", "grid:1x2", "grid:2x2", f"superpixel:{rng.randint(2, 4)}"])
    return load_or_prepare(video, sampling, FarnebackSpec(), parse_partition(kind), MAX_BYTES, folder, None)


def _draw_module(rng: Random, head: str, clip: PreparedClip) -> tuple[torch.nn.Module, int]:
    """A model of 2 to 4 classes, its weights scaled up so that it reacts to small changes; and how many classes."""
    torch.manual_seed(rng.getrandbits(32))
    height, width = clip.frames.shape[1:3]
    args = {"classes": rng.randint(2, 4), "height": height, "width": width}
    args |= {"channels": rng.choice([[4], [3, 4]]), "features": rng.randint(3, 5)}
    module = build(head, args if head == "cnn_mean" else {**args, "hidden": rng.randint(3, 6)})
    scale = rng.uniform(2, 4)
    for parameter in module.eval().requires_grad_(requires_grad=False).parameters():
        parameter.mul_(scale)
    return module, args["classes"]


def certify(case: Case, checks: int | None = None) -> Certificate:
    """The certificate of a case, stopped after about as many radii tried, as a worker out of time would.

    It is not cut off at an adversarial distance, which would hide that it goes too far.
    """
    asked, most = count(), math.inf if checks is None else checks * (len(case.plain.flow) + 1)
    return certified_radius(case.plain, case.label, case.norm, upper=math.inf, stop=lambda: next(asked) >= most)


def check_real(
    case: Case, certificate: Certificate, many: int, seed: int, attacks: tuple[float, ...] = ATTACKS
) -> RealCheck:
    """Sample as many real changes in the certified ball, go on downhill from the worst, and attack."""
    exact = RealMargins(case.plain, case.label).in_float64()
    rows = samples_in_ball(np.random.default_rng(seed), case.norm, many, len(case.sizes))
    # What rounding adds to a length must not put a change outside the ball.
    unit = certificate.radius * (1 - 1e-12) * pixels_per_unit(torch.tensor(case.sizes).double(), case.norm).numpy()
    parts = [exact.margins(rows[start : start + BATCH] * unit) for start in range(0, many, BATCH)]
    rows = rows[np.argsort(np.concatenate(parts))[:DESCENTS]]
    for step in range(STEPS):
        _, gradients = exact.gradients(rows * unit, np.full(len(rows), -1))
        rows = rows + _steepest(gradients * unit, case.norm) / (1 + step)
        rows /= np.maximum(_lengths(rows, case.norm), 1.0)
        parts.append(exact.margins(rows * unit))
    found = np.concatenate(parts)
    distances = _attack(case, [certificate.radius * reach for reach in attacks])
    return RealCheck(
        len(found), int((found < 0).sum()), int((found < certificate.margin_bound).sum()),
        sum(distance <= certificate.radius for distance in distances), float(found.min()),
        min(distances, default=math.inf),
    )  # fmt: skip


def _attack(case: Case, limits: list[float]) -> list[float]:
    """Distances of the adversarial changes that the gradient search finds, with each limit once."""
    search = RealMargins(case.plain, case.label)
    finds = [GradientSearch(search, case.norm, limit).find() for limit in limits]
    return [find.distance for find in finds if find is not None]


def samples_in_ball(rng: np.random.Generator, norm: Norm, many: int, dimensions: int) -> np.ndarray:
    """Changes in the unit ball, the first half on its surface: uniform, signs only, few coordinates, and all axes."""
    draw = {Norm.L1: rng.laplace, Norm.L2: rng.normal, Norm.LINF: lambda size: rng.uniform(-1, 1, size)}[norm]
    rows = draw(size=(many, dimensions))
    kept = rng.random(rows.shape) < 2 / dimensions
    kept[np.arange(many), rng.integers(0, dimensions, many)] = True
    kind = np.arange(many)[:, None] % 4
    rows = np.where(kind % 2 == 1, np.sign(rows), rows) * np.where(kind >= 2, kept, 1)
    rows[: 2 * dimensions] = np.concatenate([np.eye(dimensions), -np.eye(dimensions)])[:many]
    rows /= np.maximum(_lengths(rows, norm), 1e-30)
    rows[many // 2 :] *= rng.random((many - many // 2, 1)) ** (1 / dimensions)
    return rows


def _lengths(rows: np.ndarray, norm: Norm) -> np.ndarray:
    return np.linalg.norm(rows, ORDER[norm], axis=1, keepdims=True)


def _steepest(gradients: np.ndarray, norm: Norm) -> np.ndarray:
    """Where in the unit ball linear functions with these gradients are least, row by row."""
    if norm is Norm.L1:
        rows = np.where(np.abs(gradients) == np.abs(gradients).max(axis=1, keepdims=True), -np.sign(gradients), 0.0)
    else:
        rows = -gradients if norm is Norm.L2 else -np.sign(gradients)
    return rows / np.maximum(_lengths(rows, norm), 1e-30)


def check_grid(case: Case, many: int, seed: int) -> GridCheck | None:
    """Explore the game, and evaluate as many points below the answer (all there are, when fewer); None without one."""
    if case.rules is None or case.truth is None:
        return None
    limit = cost_of_radius(case.norm, case.rules.tau, case.rules.radius)
    judge = Judge(FactorisedEvaluator(case.plain, case.plain.module, CACHE_BYTES), case.plain, case.label)
    game = Game(case.sizes, case.norm, case.rules.cap)
    answer = explore(
        game, Task(whole(game), 0, limit + 1), judge,
        most_batch=judge.fast.batch, incumbent=lambda: None, interrupted=lambda _points: None,
    )  # fmt: skip
    below = [vector for vector, cost in grid(case.sizes, case.rules) if cost < answer.reached]
    drawn = Random(seed).sample(below, many) if len(below) > many else below
    points = [tuple((j, a) for j, a in enumerate(vector) if a != 0) for vector in drawn]
    found = margins(replace(case.plain.in_float64(), batch=BATCH).logits(points), case.label)
    truth = limit + 1 if case.truth.fmsr is None else case.truth.fmsr
    return GridCheck(len(points), int((found < 0).sum()), answer.reached != truth)


@dataclass(frozen=True)
class Checked:
    """A case with everything that was found about it, its number of draws included."""

    case: Case
    draws: int
    certificate: Certificate
    real: RealCheck | None  #: None where no radius could be certified
    grid: GridCheck | None  #: None where brute force cannot solve the game

    @property
    def violations(self) -> int:
        """What contradicts a guarantee."""
        return sum(part.violations for part in (self.real, self.grid) if part is not None)

    @property
    def ratio(self) -> float:
        """How many times the certified radius goes into the distance of the shortest adversarial change found."""
        return math.inf if self.real is None else self.real.upper / self.certificate.radius


@dataclass(frozen=True)
class Effort:
    """How thoroughly cases are checked."""

    samples: int  #: of each case and label
    attacks: tuple[float, ...] = ATTACKS  #: how far they look, in certified radii
    checks: int | None = None  #: radii that a certificate may try; None for as many as it likes


def checked_cases(seed: int, numbers: range, folder: Path, effort: Effort) -> Iterator[Checked]:
    """Draw cases and check both guarantees of each."""
    for case, draws in draw_cases(seed, numbers, folder):
        certificate, real = certify(case, effort.checks), None
        if certificate.radius > 0:
            real = check_real(case, certificate, effort.samples, case.number, effort.attacks)
        yield Checked(case, draws, certificate, real, check_grid(case, effort.samples, case.number))
