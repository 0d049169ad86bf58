"""Decides how a model is fitted: the epochs, each fixed by the seed and its number, and what is measured of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import NumericalError
from worker.training.checkpoint import Progress, Row
from worker.training.data import Examples, Told

_WEIGHT_DECAY: Final = 1e-3
_SMOOTHING: Final = 0.1
_GRADIENT_NORM: Final = 1.0
#: Greatest shift of an augmented clip, as a share of its height and width.
_SHIFT: Final = 0.1


@dataclass(frozen=True)
class Plan:
    """How to train; equal plans from equal parameters give equal ones."""

    epochs: int
    batch: int
    rate: float
    seed: int
    augment: bool


@dataclass(frozen=True)
class Learner:
    """A model as it is trained."""

    module: nn.Module  #: set to training before an epoch, and to evaluation before measuring
    classify: Callable[[Tensor], Tensor]  #: examples' inputs to logits: the module, or its head
    parameters: dict[str, nn.Parameter]  #: those that change
    device: torch.device


def epochs_of(
    learner: Learner, plan: Plan, train: Examples, validation: Examples | None, kept: Progress | None, told: Told
) -> Iterator[Progress]:
    """Train epoch by epoch, from what was kept; gives the training after each epoch, which the next one changes.

    The learning rate falls linearly over the epochs. Raises NumericalError when the loss is NaN or infinite.
    """
    optimiser = torch.optim.AdamW(learner.parameters.values(), lr=plan.rate, weight_decay=_WEIGHT_DECAY)
    rows: list[Row] = []
    if kept is not None:
        for name, parameter in learner.parameters.items():
            parameter.data.copy_(kept.parameters[name])
        optimiser.load_state_dict(kept.optimiser)
        rows = list(kept.rows)
    for epoch in range(len(rows), plan.epochs):
        start = time.monotonic()
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * (1 - epoch / plan.epochs)
        loss, right = _epoch(learner, plan, train, optimiser, epoch, told)
        share = None if validation is None else round(accuracy(learner, validation, plan.batch), 6)
        rows.append(Row(epoch + 1, round(loss, 6), round(right, 6), share, round(time.monotonic() - start, 3)))
        parameters = {name: value.detach() for name, value in learner.parameters.items()}
        yield Progress(parameters, optimiser.state_dict(), list(rows))


def accuracy(learner: Learner, examples: Examples, batch: int, told: Told = lambda _done, _total: None) -> float:
    """Share of the examples whose greatest logit is their label's."""
    learner.module.eval()
    right = 0
    with torch.inference_mode():
        for chosen in torch.split(torch.arange(len(examples.labels)), batch):
            logits = learner.classify(examples.inputs(chosen.tolist()).to(learner.device))
            right += int((logits.argmax(dim=1).cpu() == examples.labels[chosen]).sum())
            told(int(chosen[-1]) + 1, len(examples.labels))
    return right / len(examples.labels)


def _epoch(
    learner: Learner, plan: Plan, train: Examples, optimiser: torch.optim.Optimizer, epoch: int, told: Told
) -> tuple[float, float]:
    """Mean loss and share of right answers over one pass."""
    # All randomness of an epoch comes from the seed and its number, so that a resumed training is the same training.
    torch.manual_seed(plan.seed * 1_000_003 + epoch)
    learner.module.train()
    count = len(train.labels)
    batches = torch.split(torch.randperm(count), plan.batch)
    total, right = 0.0, 0
    for number, chosen in enumerate(batches):
        inputs = train.inputs(chosen.tolist())
        inputs = (augment(inputs) if plan.augment else inputs).to(learner.device)
        labels = train.labels[chosen].to(learner.device)
        logits = learner.classify(inputs)
        loss = F.cross_entropy(logits, labels, label_smoothing=_SMOOTHING)
        value = loss.item()
        if not math.isfinite(value):
            raise NumericalError(f"the loss is {value} in epoch {epoch + 1}; a smaller --rate may help")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learner.parameters.values(), _GRADIENT_NORM)
        optimiser.step()
        total += value * len(chosen)
        right += int((logits.argmax(dim=1) == labels).sum())
        told(epoch * len(batches) + number + 1, plan.epochs * len(batches))
    return total / count, right / count


def augment(clips: Tensor) -> Tensor:
    """Mirror, shift and light every clip ``[B, T, 3, H, W]``, in [0, 1], at random, all its frames alike."""
    height, width = clips.shape[-2:]
    down, aside = round(height * _SHIFT), round(width * _SHIFT)
    changed = []
    for clip in clips:
        mirrored = clip.flip(-1) if torch.rand(()) < 0.5 else clip
        padded = F.pad(mirrored, [aside, aside, down, down], mode="replicate")
        top = int(torch.randint(0, 2 * down + 1, ()))
        left = int(torch.randint(0, 2 * aside + 1, ()))
        shifted = padded[..., top : top + height, left : left + width]
        changed.append((shifted * (0.8 + 0.4 * torch.rand(())) + 0.2 * (torch.rand(()) - 0.5)).clamp(0, 1))
    return torch.stack(changed)
