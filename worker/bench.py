"""Keeps what tasks share between each other: the loaded model, the clips last used, and their evaluators."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from common.game import Game
from common.jobspec import JobSpec, ModelSpec
from common.settings import Settings
from common.wire import Claim
from worker.clip import PreparedClip, load_or_prepare
from worker.factorised import FactorisedEvaluator
from worker.factorised.agreement import require_agreement
from worker.halving import release_memory
from worker.judge import Judge
from worker.models import MODELS, LoadedModel, load_model
from worker.models.recurrence import Factorised
from worker.numerics import set_full_float32
from worker.plain import Evaluator, PlainEvaluator
from worker.saliency import influence_of

#: Clips kept in memory; a worker seldom has tasks of more than a few at once.
_CLIPS = 8
#: Evaluators kept, which share the cache's budget: the clip in hand, and the one a worker returns to.
_JUDGES = 2

Key = TypeVar("Key")
Value = TypeVar("Value")


class Workbench:
    """One worker process's tools; everything on it can be rebuilt from a claim."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._clips: OrderedDict[tuple[str, str], PreparedClip] = OrderedDict()
        self._judges: OrderedDict[tuple[str, str], Judge] = OrderedDict()

    def forget(self) -> None:
        """Put everything away: its memory is needed."""
        for shelf in (self._models, self._clips, self._judges):
            shelf.clear()

    def model(self, spec: ModelSpec) -> LoadedModel:
        """The job's model, loaded once; raises HostError when this host has not the pinned one."""

        def load() -> LoadedModel:
            loaded = load_model(spec, self.device)
            set_full_float32()
            return loaded

        return _kept(self._models, spec.model_dump_json(), 2, load)

    def clip(self, claim: Claim) -> PreparedClip:
        """The task's prepared clip; raises ClipError when unusable, IntegrityError when not the one first prepared."""
        spec = claim.spec

        def prepare() -> PreparedClip:
            influence = influence_of(spec, claim.label, self.model(spec.model).module)
            return load_or_prepare(
                Path(claim.video), spec.sampling, spec.flow, spec.partition,
                self.settings.max_clip_bytes, self.settings.cache_dir, claim.clip_digest, influence,
            )  # fmt: skip

        if claim.clip_digest is None:
            return prepare()
        return _kept(self._clips, _key(claim), _CLIPS, prepare)

    def judge(self, claim: Claim) -> Judge:
        """The judge of the task's grid points, for the labelled class."""

        def build() -> Judge:
            plain = self.plain(claim, self.clip(claim))
            return Judge(self._fast(plain, claim.spec.model.name), plain, claim.spec.model.classes.index(claim.label))

        return build() if claim.clip_digest is None else _kept(self._judges, _key(claim), _JUDGES, build)

    def _fast(self, plain: PlainEvaluator, name: str) -> Evaluator:
        """The factorised evaluation where the model can be taken apart, the plain one for any other module."""
        if not isinstance(plain.module, Factorised):
            return plain
        fast = FactorisedEvaluator(plain, plain.module, self.settings.cache_bytes // _JUDGES)
        if name not in MODELS:
            require_agreement(fast, plain)
        return fast

    def plain(self, claim: Claim, clip: PreparedClip) -> PlainEvaluator:
        """The plain evaluation of a clip."""
        module = self.model(claim.spec.model).module
        return PlainEvaluator(clip, module, float(claim.spec.tau), self.device, self.settings.batch_points)

    def clear(self) -> None:
        """Give back the device's memory but the models'; evaluators are built anew when they are needed."""
        self._judges.clear()
        release_memory()

    def game(self, spec: JobSpec, clip: PreparedClip) -> Game:
        """The clip's game."""
        return Game(clip.coordinate_sizes, spec.norm, spec.cap)


def _key(claim: Claim) -> tuple[str, str]:
    return f"{claim.clip_digest}:{claim.label}", claim.spec.digest()


def _kept(shelf: OrderedDict[Key, Value], key: Key, most: int, make: Callable[[], Value]) -> Value:
    """Take a value from a shelf, or make it and put the least recently used one away."""
    if key not in shelf:
        shelf[key] = make()
        if len(shelf) > most:
            shelf.popitem(last=False)
    shelf.move_to_end(key)
    return shelf[key]
