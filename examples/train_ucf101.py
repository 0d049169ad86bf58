"""Trains the small CNN+LSTM on a folder of UCF101 clips and writes weights that ``flowcert submit`` takes as they are.

    python examples/train_ucf101.py --classes Basketball,Biking,Diving --minutes 5 --out ucf101.safetensors

Official split 1 is used: groups 1-7 test, 8-25 train. Training stops after ``--epochs`` or ``--minutes``, whichever
comes first.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from common.jobspec import SamplingSpec
from worker.models import build, save_weights
from worker.numerics import configure_numerics
from worker.video import decode_clip

SAMPLING = SamplingSpec(frames=16, height=64, width=64)
LAST_TEST_GROUP = 7
MAX_CLIP_BYTES = 1_000_000_000
BATCH = 16
RATE = 2e-3
GREATEST_SHIFT = 6  # Pixels, either way.


@dataclass(frozen=True)
class Clips:
    """Decoded clips: uint8 ``[N, T, 3, H, W]`` and labels ``[N]``."""

    frames: Tensor
    labels: Tensor


def read_split(data: Path, classes: tuple[str, ...], cache: Path) -> tuple[Clips, Clips]:
    """Decode the clips of ``classes``; give the training and the test part."""
    parts: dict[bool, list[tuple[np.ndarray, int]]] = {True: [], False: []}
    for label, name in enumerate(classes):
        videos = sorted((data / name).glob("*.avi"))
        for path in videos:
            group = re.search(r"_g(\d+)_c\d+\.avi$", path.name)
            if group is None:
                raise SystemExit(f"{path}: is not named like a UCF101 clip (v_Class_gNN_cNN.avi)")
            parts[int(group[1]) <= LAST_TEST_GROUP].append((decode_cached(path, cache), label))
        print(f"{name}: {len(videos)} clips")
    if not parts[True] or not parts[False]:
        raise SystemExit(f"{data}: has no training or no test clips of {', '.join(classes)}")
    train, test = (
        Clips(
            torch.from_numpy(np.stack([clip for clip, _ in part])).permute(0, 1, 4, 2, 3).contiguous(),
            torch.tensor([label for _, label in part]),
        )
        for part in (parts[False], parts[True])
    )
    return train, test


def decode_cached(path: Path, cache: Path) -> np.ndarray:
    """Decode one clip, or take it from the cache folder if it has been decoded before."""
    kept = cache / f"{path.stem}-{SAMPLING.frames}x{SAMPLING.height}x{SAMPLING.width}.npy"
    if kept.exists():
        return np.load(kept, allow_pickle=False)
    clip = decode_clip(path, SAMPLING, MAX_CLIP_BYTES)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(kept, clip, allow_pickle=False)
    return clip


def augment(clips: Tensor) -> Tensor:
    """Mirror, shift and light every clip ``[B, T, 3, H, W]`` (float, in [0, 1]) at random, all its frames alike."""
    changed = []
    for clip in clips:
        mirrored = clip.flip(-1) if torch.rand(()) < 0.5 else clip
        dx, dy = torch.randint(-GREATEST_SHIFT, GREATEST_SHIFT + 1, (2,)).tolist()
        padded = pad(mirrored, [GREATEST_SHIFT] * 4, mode="replicate")
        top, left = GREATEST_SHIFT + dy, GREATEST_SHIFT + dx
        shifted = padded[..., top : top + SAMPLING.height, left : left + SAMPLING.width]
        changed.append((shifted * (0.8 + 0.4 * torch.rand(())) + 0.2 * (torch.rand(()) - 0.5)).clamp(0, 1))
    return torch.stack(changed)


def accuracy(module: nn.Module, clips: Clips) -> float:
    """Share of the clips that are classified as their label."""
    module.eval()
    right = 0
    with torch.inference_mode():
        for frames, labels in zip(clips.frames.split(BATCH), clips.labels.split(BATCH), strict=True):
            right += int((module(frames / 255.0).argmax(dim=1) == labels).sum())
    return right / len(clips.labels)


def train(module: nn.Module, train_clips: Clips, test_clips: Clips, *, epochs: int, minutes: float) -> None:
    """Fit the module in place; the learning rate falls with whichever of epochs and minutes is used up faster."""
    optimiser = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=1e-3)
    start = time.monotonic()
    for epoch in range(epochs):
        used = max(epoch / epochs, (time.monotonic() - start) / (60 * minutes))
        if used >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - used)
        module.train()
        total = 0.0
        for chosen in torch.randperm(len(train_clips.labels)).split(BATCH):
            logits = module(augment(train_clips.frames[chosen] / 255.0))
            loss = cross_entropy(logits, train_clips.labels[chosen], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            total += loss.item() * len(chosen)
        if epoch % 10 == 0:
            mean = total / len(train_clips.labels)
            print(f"epoch {epoch}: loss {mean:.3f}, test accuracy {accuracy(module, test_clips):.3f}")


def main() -> None:
    """Decode, train, report and save."""
    parser = argparse.ArgumentParser(description="Train the small CNN+LSTM on UCF101 clips.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ucf101"), help="folder of class folders")
    parser.add_argument("--classes", help="comma-separated class folders (default: all)")
    parser.add_argument("--epochs", type=int, default=200, help="greatest number of passes (default 200)")
    parser.add_argument("--minutes", type=float, default=5.0, help="greatest training time (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
    parser.add_argument("--out", type=Path, default=Path("ucf101_cnn_lstm.safetensors"), help="file to write")
    default_cache = Path(tempfile.gettempdir()) / "flowcert-ucf101"
    parser.add_argument("--cache", type=Path, default=default_cache, help="folder of decoded clips")
    options = parser.parse_args()

    configure_numerics(options.threads)
    torch.manual_seed(options.seed)
    found = sorted(path.name for path in options.data.iterdir() if path.is_dir())
    classes = tuple(options.classes.split(",")) if options.classes else tuple(found)
    train_clips, test_clips = read_split(options.data, classes, options.cache)
    args = {"classes": len(classes), "height": SAMPLING.height, "width": SAMPLING.width}
    module = build("cnn_lstm", args)
    train(module, train_clips, test_clips, epochs=options.epochs, minutes=options.minutes)
    for name, part in (("train", train_clips), ("test", test_clips)):
        print(f"{name}: accuracy {accuracy(module, part):.3f} on {len(part.labels)} clips")
    sizes = {"frames": SAMPLING.frames, "height": SAMPLING.height, "width": SAMPLING.width}
    save_weights(options.out, module, name="cnn_lstm", args=args, classes=classes, **sizes)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
