"""Decides the course of a training: what is checked and prepared, when it stops, and what it leaves behind."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.errors import InputError
from worker.models import build, save_weights
from worker.models.frame_model import FrameModel
from worker.training.checkpoint import Progress, load_checkpoint, store_checkpoint, store_metrics, write_whole
from worker.training.data import ClipStore, Examples, Told, encode_clips
from worker.training.encoder import encoder_digest, start_encoder, trained_parameters
from worker.training.groups import Split, shared_group, split_clips
from worker.training.loop import Learner, Plan, accuracy, epochs_of
from worker.training.request import TrainRequest

#: Share of the time that writing checkpoints may take; what is lost by an interruption is at most the rest.
_WRITING = 0.1

#: Takes what happens, as JSON objects with an "event".
Tell = Callable[[dict[str, Any]], None]


def train(request: TrainRequest, tell: Tell) -> None:
    """Train a model and write its weights; tells its progress.

    Raises FlowcertError, one line, when something about the request is wrong; nothing is trained then.
    """
    checkpoint = _checkpoint(request.out)
    request.check_model()
    split = split_clips(request.clips, request.validation_share, request.validation_groups, request.seed)
    shared = shared_group(request.clips, request.test_clips)
    if shared is not None:
        raise InputError("test_split", f"{shared[0]} {shared[1]} is among the training clips too, which would leak")
    for text in split.notes:
        tell({"event": "note", "text": text})
    torch.manual_seed(request.seed)
    module = build(request.model, request.args)
    start_encoder(module, request.model, request.encoder_weights)
    store = ClipStore((*request.clips, *request.test_clips), request.sampling, request.max_bytes, request.cache)
    store.prepare(_stage(tell, "decode"))
    encoder = encoder_digest(module.state_dict())
    identity = request.identity(store.digests[: len(request.clips)], encoder)
    kept = load_checkpoint(checkpoint, identity)
    session = _Session(request, tell, _learner(request, module), _parts(request, split, store, module, encoder, tell))
    session.fit(checkpoint, identity, kept)
    session.save(module)


@dataclass(frozen=True)
class _Session:
    request: TrainRequest
    tell: Tell
    learner: Learner
    parts: dict[str, Examples]  #: train, and validation and test where there are any

    def fit(self, checkpoint: Path, identity: dict[str, Any], kept: Progress | None) -> None:
        """Train until all epochs are done or the next would end too late."""
        request = self.request
        plan = Plan(request.epochs, request.batch, request.rate, request.seed, request.augment)
        metrics = request.out.with_suffix(".csv")
        if kept is not None:
            self.tell({"event": "note", "text": f"going on after epoch {len(kept.rows)}, from {checkpoint}"})
        start = written = time.monotonic()
        cost, done, latest = 0.0, 0 if kept is None else len(kept.rows), None
        told = _stage(self.tell, "train")
        for latest in epochs_of(self.learner, plan, self.parts["train"], self.parts.get("validation"), kept, told):
            row = latest.rows[-1]
            done = row.epoch
            self.tell({"event": "epoch", "epochs": plan.epochs, **asdict(row)})
            store_metrics(metrics, latest.rows)
            now = time.monotonic()
            late = request.minutes is not None and now - start + row.seconds > 60 * request.minutes
            if late or done == plan.epochs or (now - written) * _WRITING >= cost:
                store_checkpoint(checkpoint, identity, latest)
                written = time.monotonic()
                cost = written - now
            if late:
                break
        if done < plan.epochs:
            text = (
                f"--minutes ended the training after epoch {done} of {plan.epochs}; the same command goes on from there"
            )
            self.tell({"event": "note", "text": text})

    def save(self, module: nn.Module) -> None:
        """Measure the accuracy on each side and write the weights."""
        request, sampling = self.request, self.request.sampling
        found = {}
        for name, part in self.parts.items():
            share = accuracy(self.learner, part, request.batch, _stage(self.tell, f"measure {name}"))
            found[name] = {"accuracy": share, "clips": len(part.labels)}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / request.out.name
            save_weights(
                file, module, name=request.model, args=request.args, classes=request.classes,
                frames=sampling.frames, height=sampling.height, width=sampling.width, every=sampling.every,
            )  # fmt: skip
            write_whole(request.out, file.read_bytes())
        self.tell({"event": "done", "out": str(request.out), "bytes": request.out.stat().st_size, "accuracy": found})


def _checkpoint(out: Path) -> Path:
    """Where the checkpoint is; raises InputError when weights are there that no checkpoint says are this training's."""
    checkpoint = out.with_suffix(".checkpoint")
    if out.exists() and not checkpoint.exists():
        raise InputError("out", f"{out}: exists already, and no checkpoint beside it says from which training")
    return checkpoint


def _learner(request: TrainRequest, module: nn.Module) -> Learner:
    if not isinstance(module, FrameModel):
        raise TypeError(f"{type(module).__name__} is no frame model")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device)
    parameters = trained_parameters(module, freeze_encoder=request.freeze_encoder)
    return Learner(module, module.head if request.freeze_encoder else module, parameters, device)


def _parts(
    request: TrainRequest, split: Split, store: ClipStore, module: nn.Module, encoder: str, tell: Tell
) -> dict[str, Examples]:
    """Give the examples of each side that has any."""
    labels = torch.tensor([request.classes.index(clip.label) for clip in store.clips])
    everything = Examples(store.batch, labels)
    if request.freeze_encoder:
        device = next(module.parameters()).device
        features = encode_clips(store, module.eval(), encoder, device, _stage(tell, "encode"))
        everything = Examples(lambda numbers: features[list(numbers)], labels)
    test = range(len(request.clips), len(store.clips))
    sides = {"train": split.train, "validation": split.validation, "test": test}
    return {name: everything.chosen(side) for name, side in sides.items() if side}


def _stage(tell: Tell, name: str) -> Told:
    return lambda done, total: tell({"event": "step", "stage": name, "done": done, "total": total})
