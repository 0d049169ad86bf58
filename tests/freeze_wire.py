"""Writes down what the present protocol's documents may say, with examples: ``python -m tests.freeze_wire``.

A protocol is written down once. A document that changes afterwards needs a new number, and a file of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from common import wire
from common.wire import PROTOCOL

FROZEN = Path(__file__).parent / "frozen"
#: How the pattern of a decimal number begins that some releases of pydantic add.
_DECIMAL = "^(?!^[-+.]*$)"
#: Documents that cross the process boundary; what they consist of is in their schemas.
DOCUMENTS: dict[str, type[BaseModel]] = {
    document.__name__: document
    for document in (
        wire.Message, wire.Claim, wire.Prepared, wire.Attacked, wire.Estimated, wire.Bounded, wire.Explored,
        wire.WorkerInfo, wire.BeatReply,
    )
}  # fmt: skip

_SPEC = {
    "dataset": "/videos", "features": "grid:2x2", "norm": "L2", "tau": "0.5", "radius": "20", "cap": 3,
    "continuous": True, "lipschitz": "12.5", "heuristic": True, "gradients": 40,
    "model": {
        "name": "cnn_lstm", "weights": "/model.safetensors", "args": {"hidden": 16}, "classes": ["walk", "run"],
        "sha256": "0" * 64,
    },
    "sampling": {"frames": 8, "stride": None, "every": "0.2", "height": 32, "width": 32},
    "flow": {
        "method": "farneback", "pyr_scale": 0.5, "levels": 3, "winsize": 9, "iterations": 3, "poly_n": 5,
        "poly_sigma": 1.2,
    },
}  # fmt: skip
_WITNESS = {"point": [[0, -2], [7, 1]], "cost": 1280, "replayed": True, "margin": -0.25, "predicted": "run"}
_REAL = {"moves": [[0, -0.75], [7, 0.5]], "distance": 14.5, "replayed": True, "margin": -0.5, "predicted": "run"}
#: Full ones say something in every field; bare ones nothing where nothing may be said.
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "Message": [{"protocol": PROTOCOL, "task": 17}],
    "Claim": [
        {
            "task": 17, "attempt": 2, "kind": "explore", "spec": _SPEC, "video": "/videos/walk/a.avi", "label": "walk",
            "clip_digest": "a" * 64, "radius_cost": 1600, "upper": 1280, "msr_upper": 14.5, "lipschitz": 12.5,
            "points": 5000, "prefix": [[0, 1]], "first": 3, "last": 9, "floor": 64, "threshold": 128,
        },
        {
            "task": 1, "attempt": 1, "kind": "prepare", "spec": _SPEC, "video": "/videos/walk/a.avi", "label": "walk",
            "clip_digest": None, "radius_cost": None, "upper": None,
        },
    ],
    "Prepared": [
        {
            "clip_digest": "a" * 64, "region_sizes": [[[256, 4]], [[200, 1], [824, 1]]], "predicted": "walk",
            "margin": 1.5, "video_sha256": "b" * 64,
        },
        {"clip_digest": "a" * 64, "region_sizes": [], "predicted": "run", "margin": -1.5},
    ],
    "Attacked": [
        {
            "witness": _WITNESS, "real": _REAL, "safe_point": [[0, -2]], "evaluations": 120, "gradients": 40,
            "stop": "recalled",
        },
        {"witness": None, "evaluations": 0, "gradients": 0},
    ],
    "Estimated": [
        {
            "constant": 12.5, "location": 12.0, "greatest": 11.5, "confidence": 0.95, "fit": 0.5, "samples": 256,
            "seed": 7,
        },
    ],
    "Bounded": [
        {"radius": 3.5, "margin_bound": 0.125, "checks": 12, "stop": "exhausted", "reason": None},
        {"radius": 0.0, "margin_bound": None, "checks": 1, "stop": "time", "reason": "the first layer is not known"},
    ],
    "Explored": [
        {
            "stop": "time", "position": [[0, 1], [4, -1]], "explored": 4096, "reached": 96, "undecided": 80,
            "witness": _WITNESS, "closest": {"point": [[0, 1]], "margin": 0.0625},
        },
        {"stop": "exhausted", "position": None, "explored": 0, "reached": 128, "undecided": None, "witness": None},
    ],
    "WorkerInfo": [
        {"host": "node1", "pid": 4711, "device": "cuda:0", "versions": {"torch": "2.13.0"}, "program": "c" * 64},
    ],
    "BeatReply": [
        {"wanted": True, "recalled": False, "upper": 1280, "current": True, "waiting": 18},
        {"wanted": False, "recalled": True, "upper": None},
    ],
}  # fmt: skip


def frozen_path(protocol: int) -> Path:
    """Where a protocol is written down."""
    return FROZEN / f"wire-{protocol}.json"


def schemas() -> dict[str, Any]:
    """JSON schemas of all documents, without the words that only explain them."""
    return {name: _bare(document.model_json_schema(mode="validation")) for name, document in DOCUMENTS.items()}


def _bare(part: Any) -> Any:
    if isinstance(part, dict):
        explaining = {key for key in ("description", "title") if isinstance(part.get(key), str)}
        if str(part.get("pattern")).startswith(_DECIMAL):
            explaining.add("pattern")
        return {key: _bare(value) for key, value in part.items() if key not in explaining}
    return [_bare(value) for value in part] if isinstance(part, list) else part


def main() -> int:
    """Write the present protocol down, unless it is."""
    path = frozen_path(PROTOCOL)
    if path.exists():
        sys.stderr.write(f"{path}: is there; what has changed since needs a new PROTOCOL in common/wire.py\n")
        return 1
    path.write_text(json.dumps({"schemas": schemas(), "examples": EXAMPLES}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
