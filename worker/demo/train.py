"""Trains the demo classifier on rendered clips and writes the weights that Flowcert ships.

``python -m worker.demo.train`` takes about two minutes on one CPU core.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from common.jobspec import SamplingSpec
from worker.demo.render import DIRECTIONS, render_dataset
from worker.models import build, save_weights
from worker.numerics import configure_numerics
from worker.video.decoder import sample_video

CLASSES: Final = tuple(DIRECTIONS)
SAMPLING: Final = SamplingSpec(frames=8, height=32, width=32)
WEIGHTS: Final = Path(__file__).with_name("weights.safetensors")
ARGS: Final = MappingProxyType(
    {"classes": len(CLASSES), "height": 32, "width": 32, "hidden": 32, "channels": (8, 16, 16), "features": 32}
)

_TRAIN_SEED, _TEST_SEED = 1, 2  # Neither is 0, the seed of the demo's own clips.
_TRAIN_PER_CLASS, _TEST_PER_CLASS = 900, 100
_EPOCHS: Final = 20
_BATCH: Final = 32
_RATE: Final = 3e-3
_MAX_CLIP_BYTES: Final = 10_000_000

log = structlog.get_logger()


def load_clips(folder: Path, *, per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Render and decode a dataset: clips ``[N, T, 3, H, W]`` in [0, 1] and labels ``[N]``."""
    videos = render_dataset(folder, per_class=per_class, seed=seed)
    # Decoded here, not in the limited child process: these files are our own, and a process for each takes minutes.
    clips = np.stack([_decode(path) for path, _ in videos])
    labels = torch.tensor([CLASSES.index(label) for _, label in videos])
    return torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 255.0, labels


def train(clips: Tensor, labels: Tensor, *, epochs: int) -> nn.Module:
    """Fit the demo classifier; the seed and the batch order are fixed, so that it can be trained again."""
    torch.manual_seed(0)
    module = build("cnn_lstm", ARGS)
    optimiser = torch.optim.Adam(module.parameters(), lr=_RATE)
    batches = -(-len(clips) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=_RATE, total_steps=epochs * batches)
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.split(torch.randperm(len(clips)), _BATCH):
            loss = F.cross_entropy(module(clips[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += loss.item()
        log.info("epoch", number=epoch + 1, loss=round(total / batches, 4))
    return module.eval()


def accuracy(module: nn.Module, clips: Tensor, labels: Tensor) -> float:
    """Share of the clips whose greatest logit is their label's."""
    with torch.inference_mode():
        return float((module(clips).argmax(dim=1) == labels).float().mean())


def _decode(path: Path) -> NDArray[np.uint8]:
    return sample_video(path, SAMPLING.frames, SAMPLING.height, SAMPLING.width, _MAX_CLIP_BYTES)


def main() -> None:
    """Train, report the accuracy on clips of another seed, and write the weights."""
    parser = argparse.ArgumentParser(description="Train the demo classifier.")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file to write (default: the bundled weights)")
    parser.add_argument("--epochs", type=int, default=_EPOCHS, help=f"passes over the clips (default {_EPOCHS})")
    options = parser.parse_args()
    configure_numerics(threads=1)
    with tempfile.TemporaryDirectory() as folder:
        clips, labels = load_clips(Path(folder) / "train", per_class=_TRAIN_PER_CLASS, seed=_TRAIN_SEED)
        held_out = load_clips(Path(folder) / "test", per_class=_TEST_PER_CLASS, seed=_TEST_SEED)
    module = train(clips, labels, epochs=options.epochs)
    log.info("trained", train=accuracy(module, clips, labels), held_out=accuracy(module, *held_out))
    save_weights(
        options.out, module, name="cnn_lstm", args=ARGS, classes=CLASSES,
        frames=SAMPLING.frames, height=SAMPLING.height, width=SAMPLING.width,
    )  # fmt: skip


if __name__ == "__main__":
    main()
