"""The command ``flowcert train``."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from common.errors import InputError
from common.settings import read_settings
from scheduler.cli import options, orders
from scheduler.cli.orders import folder, say_skipped
from scheduler.cli.output import note
from scheduler.cli.training import run_training
from scheduler.intake import Selection, select
from scheduler.intake.classes import read_classes
from scheduler.intake.official import class_folder
from scheduler.intake.selection import Selected

Dataset = Annotated[
    str, typer.Argument(metavar="DATASET", help="Folder <Class>/<clip>, or a list of such clips (.txt, .csv).")
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Weights to write (.safetensors).")]
Model = Annotated[str, typer.Option(metavar="NAME", help="Registered model.")]
Split = Annotated[
    str | None, typer.Option(metavar="LIST", help="Train on clips of an official list only, such as trainlist01.")
]
TestSplit = Annotated[
    str | None,
    typer.Option(metavar="LIST", help="At the end, measure the accuracy on an official list, such as testlist01."),
]
Classes = Annotated[
    str | None, typer.Option(metavar="FILE|A,B", help="Class names in the order of the logits [the dataset's, sorted].")
]
Frames = Annotated[int, typer.Option(metavar="N", help="Frames a clip.")]
Every = Annotated[
    str | None,
    typer.Option(metavar="SECONDS", help="Take a frame every so many seconds of video [spread evenly]."),
]
Size = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="Frame height and width, in pixels [64x64; 224x224 for published encoders]."),
]
Epochs = Annotated[int, typer.Option(metavar="N", min=1, help="Passes over the training clips.")]
Minutes = Annotated[
    float | None, typer.Option(metavar="M", help="End before an epoch that would take training beyond M minutes.")
]
Rate = Annotated[
    float, typer.Option(metavar="R", help="Learning rate at the start; it falls linearly over the epochs.")
]
Batch = Annotated[int, typer.Option(metavar="N", min=1, help="Clips a step.")]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of everything random.")]
Augment = Annotated[
    bool,
    typer.Option(
        "--augment/--no-augment", help="Mirror, shift and light clips at random; not where a mirror changes the class."
    ),
]
Freeze = Annotated[
    bool,
    typer.Option("--freeze-encoder", help="Train the head alone; each clip is encoded once, and kept on disk."),
]
EncoderWeights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|imagenet",
        help="Start the encoder from a published state dict, such as torchvision's vgg16; or from the ImageNet weights "
        "that come with efficientnet_lite0_lstm.",
    ),
]
Share = Annotated[
    float,
    typer.Option(
        "--validation-share",
        metavar="S",
        help="Share of each class's clips set aside to measure on; whole groups (v_Class_gNN_cNN), since the clips of "
        "one group are of one video, and a random split of clips leaks.",
    ),
]
Groups = Annotated[
    str | None,
    typer.Option(
        "--validation-groups", metavar="N,M-K", help="Numbers of the groups to set aside, instead of a share."
    ),
]


def train(
    dataset: Dataset,
    out: Out,
    model: Model = "cnn_lstm",
    root: options.Root = None,
    split: Split = None,
    test_split: TestSplit = None,
    splits: options.Splits = None,
    model_args: options.ModelArgs = None,
    classes: Classes = None,
    frames: Frames = 16,
    every: Every = None,
    size: Size = None,
    epochs: Epochs = 50,
    minutes: Minutes = None,
    rate: Rate = 0.001,
    batch: Batch = 16,
    seed: Seed = 0,
    augment: Augment = False,
    freeze_encoder: Freeze = False,
    encoder_weights: EncoderWeights = None,
    validation_share: Share = 0.2,
    validation_groups: Groups = None,
) -> None:
    """Train a registered model on clips and write weights that run takes as they are; needs no servers.

    Interrupted, the same command goes on after the last epoch that was kept. Beside the weights are written a
    checkpoint and the metrics of each epoch (.csv). The same command trains the same weights, unless --minutes ends it.
    """
    settings = read_settings()
    source = orders.source(dataset, "DATASET")
    wanted = Selection(root=folder(root, "--root"), split=split, splits=folder(splits, "--splits"), missing=False)
    found = select(source, wanted)
    present = tuple(sorted({clip.label for clip in found.clips if clip.problem is None}))
    names = present if classes is None else read_classes(classes)
    tested = Selected([]) if test_split is None else select(source, replace(wanted, split=test_split))
    height, width = _size(size)
    run_training(
        {
            "clips": _clips(source, split, found, names), "test_clips": _clips(source, test_split, tested, names),
            "classes": names, "model": model, "model_args": _object(model_args), "frames": frames,
            "every": every, "height": height, "width": width, "epochs": epochs, "minutes": minutes, "rate": rate,
            "batch": batch, "seed": seed, "augment": augment, "freeze_encoder": freeze_encoder,
            "encoder_weights": encoder_weights,
            "validation_share": validation_share, "validation_groups": _numbers(validation_groups),
            "out": str(out.expanduser().absolute()), "cache": str(settings.data_dir / "training"),
            "max_bytes": settings.max_clip_bytes, "threads": settings.threads,
        }
    )  # fmt: skip


def _clips(dataset: Path, split: str | None, found: Selected, classes: tuple[str, ...]) -> list[dict[str, str]]:
    """The clips of these classes that can be used; how many of them are not there, or cannot be used, is said."""
    say_skipped(dataset, split, sum(class_folder(name) in classes for name in found.skipped))
    asked = [clip for clip in found.clips if clip.label in classes]
    refused = [clip for clip in asked if clip.problem is not None]
    if refused:
        note(f"{len(refused)} clips are left out; the first: {refused[0].path}: {refused[0].problem}")
    return [{"label": clip.label, "path": clip.path} for clip in asked if clip.problem is None]


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text, re.ASCII)
    if match is None:
        raise InputError("--size", f"{text!r} is not a height and width in pixels, such as 64x64")
    return int(match[1]), int(match[2])


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = {} if text is None else json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError("--model-args", f"is not a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise InputError("--model-args", "is not a JSON object")
    return value


def _numbers(text: str | None) -> list[int] | None:
    """Numbers such as ``1,3,5-7``."""
    if text is None:
        return None
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
        if match is None:
            raise InputError("--validation-groups", f"{text!r} is not a list of numbers, such as 1,3,5-7")
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return numbers
