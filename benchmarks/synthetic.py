"""A game without videos or models: a job of clips that are safe, and the answers of workers that tell the truth."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any

from common.game import Game, PointCounter, Subtree, cost_of_radius
from common.jobspec import FarnebackSpec, JobSpec, ModelSpec, SamplingSpec
from common.vocab import Norm
from common.wire import POINT, coordinate_sizes
from scheduler.intake.dataset import FoundClip

#: Fifteen flows of sixteen regions of 256 pixels: ``grid:4x4`` on sixteen frames of 64x64, 480 coordinates.
REGION_SIZES = [[(256, 16)]] * 15
LABEL = "walk"


def spec_of_game(name: str, moves: int) -> JobSpec:
    """A job whose radius holds ``moves`` atomic manipulations; its files do not exist, and nobody looks for them."""
    return JobSpec(
        dataset=f"/synthetic/{name}",
        model=ModelSpec(name="cnn_lstm", weights="/none.safetensors", classes=(LABEL, "run"), sha256="0" * 64),
        sampling=SamplingSpec(frames=16, height=64, width=64),
        flow=FarnebackSpec(), features="grid:4x4", norm=Norm.L1, tau=Decimal(1), radius=Decimal(256 * moves),
    )  # fmt: skip


def clips_of_game(name: str, count: int) -> list[FoundClip]:
    """So many clips that nobody looks for."""
    return [FoundClip(LABEL, f"/synthetic/{name}/{number:05}.avi") for number in range(count)]


def answer(claim: dict[str, Any]) -> dict[str, Any]:
    """What an honest worker finds in a clip without adversarial points, as the document that it appends.

    ``claim`` is what ``worker_claim`` returned, unparsed: parsing half a kilobyte of specification thousands of times a
    second is work that 64 workers would share and one simulator cannot.
    """
    match claim["kind"]:
        case "prepare":
            # Of other models' jobs the regions are those of their partition, if it is a grid; costs do not matter here.
            return {
                "clip_digest": "a" * 64, "region_sizes": REGION_SIZES, "predicted": claim["label"], "margin": 1.0,
            }  # fmt: skip
        case "attack":
            return {"witness": None, "evaluations": 1, "gradients": 0}
        case "explore":
            return {
                "stop": "exhausted", "position": None, "explored": points_of(claim), "reached": claim["threshold"],
                "undecided": None, "witness": None,
            }  # fmt: skip
        case kind:
            raise ValueError(f"nobody asked for a {kind} task here")


def points_of(claim: dict[str, Any]) -> int:
    """Exact number of points that an explore task asks for."""
    spec = claim["spec"]
    counter = _counter(spec["norm"], spec["cap"], spec["tau"], spec["radius"])
    subtree = Subtree(POINT.validate_python(claim["prefix"]), claim["first"], claim["last"])
    return counter.between(subtree, claim["floor"], claim["threshold"])


@lru_cache
def _counter(norm: str, cap: int | None, tau: str, radius: str) -> PointCounter:
    limit = cost_of_radius(Norm(norm), Decimal(tau), Decimal(radius))
    return PointCounter(Game(coordinate_sizes(REGION_SIZES), Norm(norm), cap), limit)
