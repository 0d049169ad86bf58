"""Draws random tiny games on real video files, with their truth by brute force."""

from __future__ import annotations

import copy
import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import torch

from common.features import parse_partition
from common.game import cost_of_radius
from common.jobspec import FarnebackSpec, JobSpec, ModelSpec, SamplingSpec
from common.vocab import TaskKind
from common.wire import Claim
from tests.oracle import Features, Rules, Truth, brute_force, grid, margins
from worker.bench import Workbench
from worker.clip import PreparedClip, load_or_prepare
from worker.models import build, save_weights
from worker.replay import Source

#: Points a game may have at most.
MOST_POINTS = 1500
MAX_BYTES = 10_000_000
#: Games drawn on each video: they differ in model, norm, tau, cap and radius.
GAMES_PER_CLIP = 3


@dataclass(frozen=True)
class TinyGame:
    """A job of one clip, and the truth about it."""

    spec: JobSpec
    video: Path
    label: str
    truth: Truth


def claim_of(tiny: TinyGame, bench: Workbench) -> Claim:
    """The game's attack task, as a worker has it once the clip is prepared."""
    spec = tiny.spec
    claim = Claim(
        task=1, attempt=1, kind=TaskKind.ATTACK, spec=spec, video=str(tiny.video), label=tiny.label,
        clip_digest=None, radius_cost=cost_of_radius(spec.norm, spec.tau, spec.radius), upper=None,
    )  # fmt: skip
    return claim.model_copy(update={"clip_digest": bench.clip(claim).digest})


def source_of(claim: Claim, bench: Workbench) -> Source:
    """What a replay of the task's witnesses starts from."""
    return Source(
        video=Path(claim.video), label=claim.label, digest=claim.clip_digest or "", spec=claim.spec,
        module=bench.model(claim.spec.model).module, max_bytes=MAX_BYTES,
    )  # fmt: skip


def write_video(path: Path, rng: Random, *, frames: int, height: int, width: int) -> None:
    """Write bright blobs that move over noise, as a real AVI file (Motion JPEG)."""
    noise = np.random.default_rng(rng.getrandbits(32)).integers(0, 60, (height, width, 3))
    blobs = [[rng.uniform(0, height), rng.uniform(0, width), rng.uniform(-2, 2), rng.uniform(-2, 2)] for _ in range(3)]
    colours = [[rng.randint(80, 190) for _ in range(3)] for _ in blobs]
    y, x = np.mgrid[0:height, 0:width]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    assert writer.isOpened()
    for step in range(frames):
        image = noise.astype(np.float64)
        for (top, left, down, right), colour in zip(blobs, colours, strict=True):
            bump = np.exp(-((y - top - down * step) ** 2 + (x - left - right * step) ** 2) / 8.0)
            image += bump[..., None] * colour
        writer.write(np.clip(image, 0, 255).astype(np.uint8))
    writer.release()


def random_model(rng: Random, args: dict[str, Any], scale: float) -> torch.nn.Module:
    """Build a small model with random weights, scaled up so that it reacts to small changes."""
    torch.manual_seed(rng.getrandbits(32))
    module = build("cnn_lstm", args).eval().requires_grad_(requires_grad=False)
    for parameter in module.parameters():
        parameter.mul_(scale)
    return module


def draw_radius(rng: Random, sizes: list[int], norm: str, tau: Decimal, cap: int | None) -> Decimal | None:
    """Draw a radius that holds at most MOST_POINTS points and at least one move; None when none was met."""
    # Small games are quick, so there are more of them: skewed on a logarithmic scale.
    wanted = round(20 * math.exp(rng.random() ** 2 * math.log(MOST_POINTS / 20)))
    limit = 1 if norm == "Linf" else min(sizes)
    costs: list[int] = []
    for _ in range(10):
        rules = Rules(norm, tau, _distance(norm, tau, limit), cap)
        costs = sorted(cost for _, cost in itertools.islice(grid(sizes, rules), 20_000))
        if len(costs) >= wanted:
            break
        limit += max(1, limit // 2)
    levels = [cost for cost in sorted(set(costs)) if cost > 0 and np.searchsorted(costs, cost, "right") <= wanted]
    if not levels or len(costs) >= 20_000:
        return None
    # On the boundary itself, or somewhat beyond it: both must give the same game.
    return _distance(norm, tau, levels[-1]) + rng.choice([Decimal(0), Decimal(0), tau / 8])


def _distance(norm: str, tau: Decimal, cost: int) -> Decimal:
    exact = tau * Decimal(cost).sqrt() if norm == "L2" else tau * cost
    return exact.quantize(Decimal("0.000001"), ROUND_CEILING)


def calibrate(module: torch.nn.Module, label: int, found: np.ndarray, quantile: float) -> bool:
    """Shift one class's bias so that this share of the points is adversarial; False when the clip itself would be."""
    gap = float(np.abs(found).max()) * 0.01 + 1e-3
    shift = -float(np.quantile(found, quantile)) + (gap if quantile == 0 else gap / 100)
    module.dense.bias[label] += shift
    return float(found[0]) + shift > gap / 10


def make_game(
    rng: Random, folder: Path, video: Path, clip: PreparedClip, rules: Rules, *, quantile: float, **spec: Any
) -> TinyGame | None:
    """Make a game of a prepared clip with a random model; None when the draw is of no use.

    ``spec`` is the rest of the job's specification; ``args`` in it are the model's constructor arguments.
    """
    features = Features(clip.frames, clip.flow, clip.labels)
    height, width = clip.frames.shape[1:3]
    classes = tuple(f"class{c}" for c in range(rng.randint(2, 4)))
    args = {"classes": len(classes), "height": height, "width": width, **spec.pop("args")}
    module, label = random_model(rng, args, scale=rng.uniform(2, 4)), rng.randrange(len(classes))
    vectors = [vector for vector, _ in grid(features.sizes, rules)]
    found = margins(features, vectors, copy.deepcopy(module).double(), label, rules.tau)
    if not calibrate(module, label, found, quantile):
        return None
    truth = brute_force(features, rules, copy.deepcopy(module).double(), label)
    if truth is None:
        return None
    weights = folder / f"{rng.getrandbits(64):016x}.safetensors"
    known = {"frames": len(clip.frames), "height": height, "width": width}
    save_weights(weights, module, name="cnn_lstm", args=args, classes=classes, **known)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    model = ModelSpec(name="cnn_lstm", weights=str(weights), args=args, classes=classes, sha256=digest)
    played = {"norm": rules.norm, "tau": rules.tau, "radius": rules.radius, "cap": rules.cap}
    return TinyGame(JobSpec(dataset=str(video), model=model, **played, **spec), video, classes[label], truth)


def draw_game(rng: Random, folder: Path, video: Path, clip: PreparedClip, spec: dict[str, Any]) -> TinyGame | None:
    """Draw one game on a prepared clip; None when the draw is of no use."""
    norm = rng.choice(["L1", "L2", "L1", "L2", "Linf" if spec["features"] == "global" else "L2"])
    cap = rng.choice([1, 2]) if norm == "Linf" else rng.choice([None, None, 1, 2])
    tau = Decimal(rng.choice(["0.5", "0.7", "1", "1.25", "2"]))
    radius = draw_radius(rng, Features(clip.frames, clip.flow, clip.labels).sizes, norm, tau, cap)
    if radius is None:
        return None
    args = {"hidden": rng.randint(3, 6), "channels": rng.choice([[4], [3, 4]]), "features": rng.randint(3, 5)}
    quantile = 0.0 if rng.random() < 0.5 else rng.choice([0.003, 0.01, 0.03, 0.1, 0.3])
    return make_game(rng, folder, video, clip, Rules(norm, tau, radius, cap), quantile=quantile, args=args, **spec)


def draw_games(rng: Random, folder: Path, cache: Path, many: int) -> Iterator[TinyGame]:
    """Draw games with 2 to 4 flows and 1 to 4 features; clips land in ``cache`` as a worker would prepare them."""
    drawn = 0
    while drawn < many:
        height, width = rng.randint(8, 16), rng.randint(8, 16)
        video = folder / f"{rng.getrandbits(64):016x}.avi"
        write_video(video, rng, frames=rng.randint(6, 9), height=height, width=width)
        sampling = SamplingSpec(frames=rng.randint(3, 5), height=height, width=width)
        kind = rng.choice(["global", "global", "grid:1x2", "grid:2x2", f"superpixel:{rng.randint(2, 4)}"])
        spec = {"sampling": sampling, "flow": FarnebackSpec(), "features": kind}
        clip = load_or_prepare(video, sampling, FarnebackSpec(), parse_partition(kind), MAX_BYTES, cache, None)
        for _ in range(GAMES_PER_CLIP):
            game = draw_game(rng, folder, video, clip, spec)
            if game is not None and drawn < many:
                drawn += 1
                yield game
