"""The command ``flowcert submit``."""

from __future__ import annotations

import typer

from common.settings import read_settings
from scheduler.cli import options
from scheduler.cli.servers import open_servers


def submit(
    dataset: options.Dataset = None,
    config: options.Config = None,
    root: options.Root = None,
    label: options.Label = None,
    only: options.Only = None,
    split: options.Split = None,
    splits: options.Splits = None,
    per_class: options.PerClass = None,
    limit: options.Limit = None,
    model: options.Model = None,
    weights: options.Weights = None,
    model_args: options.ModelArgs = None,
    classes: options.Classes = None,
    frames: options.Frames = None,
    stride: options.Stride = None,
    every: options.Every = None,
    size: options.Size = None,
    flow: options.Flow = None,
    flow_args: options.FlowArgs = None,
    features: options.Features = None,
    norm: options.Norm = None,
    tau: options.Tau = None,
    radius: options.Radius = None,
    cap: options.Cap = None,
    continuous: options.Continuous = None,
    lipschitz: options.Lipschitz = None,
    heuristic: options.Heuristic = None,
    gradients: options.Gradients = None,
    budget: options.Budget = None,
    clip_seconds: options.ClipSeconds = None,
    wall_time: options.WallTime = None,
    priority: options.Priority = None,
) -> None:
    """Make a job, or resume the one with the same specification; print its number.

    Workers and a scheduler that run elsewhere do the work; flowcert run does it here.
    """
    given = dict(locals())
    settings = read_settings()
    order = options.take_request(given, settings, here=False)
    with open_servers(settings) as servers:
        typer.echo(options.hand_in(servers, order))
