"""Decides how the options of a job are written on the command line; configuration files have the same names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

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

Dataset = Annotated[
    str | None,
    typer.Argument(
        metavar="DATASET", help="Folder <Class>/<clip>, a list of such clips (.txt, .csv), or a video file."
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="YAML file of the same fields; options override it.")
]
Root = Annotated[str | None, typer.Option(metavar="DIR", help="Where a list's entries start [its folder].")]
Label = Annotated[
    str | None,
    typer.Option(metavar="CLASS", help="Class of a single video [its folder's name]."),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="CLASS", help="Only clips of this class; repeatable."),
]
Split = Annotated[
    str | None,
    typer.Option(metavar="LIST", help="Only clips of an official list, such as testlist01."),
]
Splits = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Folder of the official lists [DATASET, or ucfTrainTestlist in or beside it]."),
]
PerClass = Annotated[int | None, typer.Option(metavar="N", help="Only the first N clips of each class.")]
Limit = Annotated[int | None, typer.Option(metavar="N", help="Only the first N clips of all that are left.")]
Model = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Registered model, or module:callable of a factory."),
]
Weights = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Weights: .safetensors, or a .pt/.pth state dict."),
]
ModelArgs = Annotated[str | None, typer.Option(metavar="JSON", help="Arguments of the model's constructor.")]
Classes = Annotated[
    str | None,
    typer.Option(metavar="FILE|A,B", help="Class names in the order of the logits [from the weights]."),
]
Frames = Annotated[int | None, typer.Option(metavar="N", help="Frames a clip [from the weights].")]
Stride = Annotated[int | None, typer.Option(metavar="N", help="Take every N-th frame [see --every].")]
Every = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS", help="Take a frame every so many seconds of video [from the weights, or spread evenly]."
    ),
]
Size = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="Frame height and width, in pixels [from the weights]."),
]
Flow = Annotated[str | None, typer.Option(metavar="NAME", help="farneback or dis [farneback].")]
FlowArgs = Annotated[str | None, typer.Option(metavar="JSON", help="Parameters of the flow method.")]
Features = Annotated[
    str | None,
    typer.Option(metavar="PARTITION", help="global, grid:RxC, superpixel:K, saliency:K or pixel."),
]
Norm = Annotated[str | None, typer.Option(metavar="NORM", help="L1, L2 or Linf.")]
Tau = Annotated[str | None, typer.Option(metavar="PX", help="Size of an atomic manipulation, in pixels.")]
Radius = Annotated[str | None, typer.Option(metavar="PX", help="Search radius, in pixels of the norm.")]
Cap = Annotated[
    int | None,
    typer.Option(metavar="N", help="Most manipulations of any one coordinate [no limit]."),
]
Budget = Annotated[
    int | None,
    typer.Option(metavar="POINTS", help="Points a clip may cost before it is left open [200000]."),
]
ClipSeconds = Annotated[
    float | None,
    typer.Option(metavar="S", help="Worker seconds a clip may cost before it is left open [no limit]."),
]
WallTime = Annotated[
    str | None,
    typer.Option(metavar="D", help="Time the job may run before its clips are left open: 90s, 30m, 8h [no limit]."),
]
Priority = Annotated[
    int | None,
    typer.Option(metavar="N", help="Jobs of higher priority come first, from -1000 to 1000 [0, or as it is]."),
]
Continuous = Annotated[
    bool | None,
    typer.Option("--continuous/--no-continuous", help="Certify a radius for all real changes too [no]."),
]
Lipschitz = Annotated[
    str | None,
    typer.Option(metavar="L", help="The margin's Lipschitz constant, in logits per pixel, or: estimated."),
]
Gradients = Annotated[
    int | None, typer.Option(metavar="N", help="Gradients after which a clip's attack ends [its time limit only].")
]
Heuristic = Annotated[
    bool | None,
    typer.Option("--heuristic/--no-heuristic", help="Guide the search by margin / L; its bounds rest on L then [no]."),
]

Job = Annotated[str, typer.Argument(metavar="[JOB]", help="Number of the job, or latest.")]
AsJson = Annotated[bool, typer.Option("--json", help='Print strict JSON; infinite is "inf", unknown is null.')]
Workers = Annotated[int | None, typer.Option(metavar="N", min=1, help="Worker processes [2, or 1 on a single core].")]


@dataclass(frozen=True)
class Order:
    """What is handed in as a job."""

    spec: JobSpec
    clips: list[FoundClip]
    budget: int  #: points a clip may cost
    terms: Terms


def take_request(parameters: dict[str, Any], settings: Settings) -> Order:
    """Turn a command's parameters into a checked specification, its clips, budgets and priority; starts no server.

    Raises InputError, one line naming the option, file or field that is wrong.
    """
    external_urls(settings)
    names = {"only": "class"}
    options = {names.get(key, key): value for key, value in parameters.items() if value not in (None, [])}
    file = options.pop("config", None)
    options.pop("workers", None)
    request = read_request(options, file)
    clips = _clips(request)
    spec = build_spec(request)
    config = request.config
    terms = Terms(config.priority, config.clip_seconds, config.wall_time)
    return Order(spec, usable(clips, spec.model.classes), config.budget, terms)


def _clips(request: JobRequest) -> list[FoundClip]:
    config = request.config
    if config.splits is not None and config.split is None:
        raise InputError(request.at("splits"), "says where a list is looked up; name the list with --split")
    wanted = Selection(
        root=folder(config.root), label=config.label, split=config.split, splits=folder(config.splits),
        only=config.only, per_class=config.per_class, limit=config.limit, missing=False,
    )  # fmt: skip
    dataset = Path(config.dataset).expanduser().resolve()
    try:
        found = select(dataset, wanted)
    except InputError as error:
        # An option that stands in a file is named there; a list or a line that is wrong is named as it is.
        if error.where.startswith("--"):
            raise request.located(error) from error
        raise
    say_skipped(dataset, config.split, len(found.skipped))
    return found.clips


def folder(given: str | None) -> Path | None:
    """A folder as the user wrote it."""
    return None if given is None else Path(given).expanduser().resolve()


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
