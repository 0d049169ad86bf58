"""Decides what a witness's document says: everything that is drawn, in numbers and words, for other programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from common.moves import Move, strategy
from worker.picture.scene import Scene


def describe(scene: Scene) -> dict[str, Any]:
    """Write a witness as JSON has it: distances in pixels, margins in float64 logits, frames and flows from 1."""
    spec, clip = scene.spec, scene.clip
    length, height, width = clip.frames.shape[:3]
    return {
        "video": str(scene.video),
        "label": scene.label,
        "clip_digest": clip.digest,
        "frames": length,
        "height": height,
        "width": width,
        "model": {"name": spec.model.name, "sha256": spec.model.sha256},
        "features": spec.features,
        "norm": str(spec.norm),
        "tau": float(spec.tau),
        "kind": "real" if scene.change.point is None else "grid",
        "distance": scene.distance,
        "cost": scene.cost,
        "point": None if scene.change.point is None else [list(step) for step in scene.change.point],
        "before": asdict(scene.before),
        "after": asdict(scene.after),
        "changed_frames": [flow + 2 for flow in scene.flows],
        "strategy": strategy(scene.moves),
        "moves": [_move(scene, move) for move in scene.moves],
    }


def _move(scene: Scene, move: Move) -> dict[str, Any]:
    rows, columns = np.nonzero(scene.mask(move))
    left, top = int(columns.min()), int(rows.min())
    box = {
        "left": left,
        "top": top,
        "width": int(columns.max()) - left + 1,
        "height": int(rows.max()) - top + 1,
    }
    return {
        "coordinate": move.coordinate,
        "flow": move.flow,
        "frames": [move.flow, move.flow + 1],
        "region": move.region,
        "place": move.place,
        "axis": move.axis,
        "direction": move.direction,
        "steps": move.steps,
        "pixels": move.pixels,
        "region_pixels": move.size,
        "box": box,
    }
