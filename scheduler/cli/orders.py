"""Decides how a job is handed in: from a command's options to a checked order, and from there to the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.confine import outside
from common.errors import InputError
from common.jobspec import JobSpec
from common.settings import Settings
from scheduler.cli.output import note
from scheduler.cli.servers import Servers, external_urls
from scheduler.intake import (
    FoundClip,
    JobRequest,
    Selection,
    Terms,
    build_spec,
    read_request,
    select,
    submit,
    usable,
)
from scheduler.intake.paths import real_path, user_path


@dataclass(frozen=True)
class Order:
    """What is handed in as a job."""

    spec: JobSpec
    clips: list[FoundClip]
    budget: int  #: points a clip may cost
    terms: Terms


def take_request(parameters: dict[str, Any], settings: Settings, *, here: bool = True) -> Order:
    """Turn a command's parameters into a checked specification, its clips, budgets and priority; starts no server.

    ``here`` says that this command's own workers do the job, which may import the model that is typed.
    Raises InputError, one line naming the option, file or field that is wrong.
    """
    elsewhere = external_urls(settings) is not None and not here
    names = {"only": "class"}
    options = {names.get(key, key): value for key, value in parameters.items() if value not in (None, [])}
    file = options.pop("config", None)
    request = read_request(options, file)
    if elsewhere:
        _check_factory(request, settings)
    clips = _clips(request)
    _check_roots(request, clips, settings)
    spec = build_spec(request)
    config = request.config
    terms = Terms(config.priority, config.clip_seconds, config.wall_time)
    return Order(spec, usable(clips, spec.model.classes), config.budget, terms)


def _check_factory(request: JobRequest, settings: Settings) -> None:
    """Refuse a factory that workers elsewhere, which are set up like this command, would not import."""
    model = request.config.model
    if ":" in model and not settings.allows_factory(model):
        problem = f"{model} is not in FLOWCERT_MODEL_FACTORIES, here and at the workers, which import nothing else"
        raise InputError(request.at("model"), problem)


def _check_roots(request: JobRequest, clips: list[FoundClip], settings: Settings) -> None:
    """Refuse files that workers would not read; those that are missing are looked at by where they would be."""
    weights = user_path(request.config.weights, request.at("weights"))
    problem = outside(weights, settings.data_roots)
    if problem is not None:
        raise InputError(request.at("weights"), f"{weights}: {problem}")
    for clip in clips:
        problem = outside(Path(clip.path), settings.data_roots)
        if problem is not None:
            raise InputError(clip.path, problem)


def _clips(request: JobRequest) -> list[FoundClip]:
    config = request.config
    if config.splits is not None and config.split is None:
        raise InputError(request.at("splits"), "says where a list is looked up; name the list with --split")
    wanted = Selection(
        root=folder(config.root, request.at("root")), label=config.label, split=config.split,
        splits=folder(config.splits, request.at("splits")),
        only=config.only, per_class=config.per_class, limit=config.limit, missing=False,
    )  # fmt: skip
    dataset = source(config.dataset, request.at("dataset"))
    try:
        found = select(dataset, wanted)
    except InputError as error:
        # An option that stands in a file is named there; a list or a line that is wrong is named as it is.
        if error.where.startswith("--"):
            raise request.located(error) from error
        raise
    say_skipped(dataset, config.split, len(found.skipped))
    return found.clips


def source(given: str | Path, where: str) -> Path:
    """A dataset as the user wrote it, links followed; raises InputError at the option ``where``."""
    return real_path(user_path(given, where), where)


def folder(given: str | None, where: str) -> Path | None:
    """A folder as the user wrote it, if one is given."""
    return None if given is None else source(given, where)


def say_skipped(dataset: Path, split: str | None, skipped: int) -> None:
    """Say how many clips of an official list the dataset does not have: it may be a part of UCF101."""
    if skipped:
        note(f"{split}: {skipped:,} of its clips are not in {dataset} and are skipped")


def hand_in(servers: Servers, order: Order) -> int:
    """Submit, and say what that changed; returns the job's id."""
    done = submit(servers.engine, order.spec, order.clips, order.budget, order.terms)
    said = [f"job {done.job_id}: {'new' if done.created else 'resumed'}, {done.added} clips added"]
    for count, what in ((done.resumed, "go on"), (done.retried, "tried again"), (done.reopened, "reopened")):
        if count:
            said.append(f"{count} {what}")
    note(", ".join(said))
    for clip in order.clips:
        if clip.problem is not None:
            note(f"not certified: {clip.path}: {clip.problem}")
    if done.kept_failed:
        note(
            f"{done.kept_failed} clips failed earlier and are not tried again; flowcert results says why,"
            " flowcert rerun tries those again that can be"
        )
    return done.job_id
