"""Measures what building manipulated clips costs: plain evaluation against the model's bare forward pass.

One clip of random frames (cnn_lstm, 64x64, 16 frames, hidden 64, grid:4x4), points of two changed coordinates. The
bare pass runs the same model on ready tensors; both run in turn and the best round of each counts.
"""

import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

from common.features import parse_partition
from worker.clip import PreparedClip
from worker.features import label_regions
from worker.models import build
from worker.numerics import configure_numerics
from worker.plain import PlainEvaluator, dense

FRAMES, SIZE, BATCH, POINTS, ROUNDS = 16, 64, 32, 128, 5


def main() -> None:
    """Print the table and write build/bench/plain.json."""
    configure_numerics(threads=1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    flow = rng.normal(size=(FRAMES - 1, 2, SIZE, SIZE)).astype(np.float32)
    labels = label_regions(parse_partition("grid:4x4"), flow)
    clip = PreparedClip(rng.integers(0, 256, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8), flow, labels)
    module = build("cnn_lstm", {"classes": 5, "height": SIZE, "width": SIZE, "hidden": 64}).eval()
    plain = PlainEvaluator(clip, module, tau=1.0, device=torch.device("cpu"), batch=BATCH)
    coordinates = len(clip.coordinate_sizes)
    pairs = [sorted(rng.choice(coordinates, size=2, replace=False)) for _ in range(POINTS)]
    points = [tuple((int(j), int(rng.choice([-1, 1]))) for j in pair) for pair in pairs]
    ready = plain.manipulated(dense(points[:BATCH], coordinates))
    rates = {"bare forward pass": 0.0, "plain evaluation": 0.0}
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        with torch.inference_mode():
            for _ in range(POINTS // BATCH):
                module(ready)
        between = time.perf_counter()
        plain.logits(points)
        seconds = (between - begun, time.perf_counter() - between)
        rates = {name: max(rate, POINTS / s) for (name, rate), s in zip(rates.items(), seconds, strict=True)}
    for name, rate in rates.items():
        print(f"{name:<20} {rate:9.1f} points/s  {rate / rates['bare forward pass']:6.1%}")
    record = {"points_per_second": rates, "threads": 1, "machine": platform.machine(), "torch": torch.__version__}
    Path("build/bench").mkdir(parents=True, exist_ok=True)
    Path("build/bench/plain.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
