"""The command ``flowcert run``."""

from __future__ import annotations

from common.settings import read_settings
from scheduler.cli import options
from scheduler.cli.local import default_workers, work
from scheduler.cli.servers import open_servers


def run(
    dataset: options.Dataset = None,
    config: options.Config = None,
    workers: options.Workers = None,
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
    """Submit a job and work on it here until it is done; print its results."""
    given = dict(locals())
    settings = read_settings()
    order = options.take_request(given, settings)
    with open_servers(settings) as servers:
        work(servers, options.hand_in(servers, order), workers or default_workers(), order.spec.model.name)
