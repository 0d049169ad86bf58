"""Decides how the options of a job are written on the command line; configuration files have the same names."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any

import typer

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

#: Options of a job by the names of their parameters, which configuration files have as keys.
_JOB: dict[str, Any] = {
    "dataset": Dataset, "config": Config, "root": Root, "label": Label, "only": Only, "split": Split, "splits": Splits,
    "per_class": PerClass, "limit": Limit, "model": Model, "weights": Weights, "model_args": ModelArgs,
    "classes": Classes, "frames": Frames, "stride": Stride, "every": Every, "size": Size, "flow": Flow,
    "flow_args": FlowArgs, "features": Features, "norm": Norm, "tau": Tau, "radius": Radius, "cap": Cap,
    "continuous": Continuous, "lipschitz": Lipschitz, "heuristic": Heuristic, "gradients": Gradients, "budget": Budget,
    "clip_seconds": ClipSeconds, "wall_time": WallTime, "priority": Priority,
}  # fmt: skip


def of_a_job(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a job before its own; it is called with a dictionary of the former first."""

    def command(**given: Any) -> None:
        function({name: given.pop(name) for name in _JOB}, **given)

    shared = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind) for name, kind in _JOB.items()]
    _, *own = signature(function, eval_str=True).parameters.values()
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    parameters = [*shared, *(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own)]
    command.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command
