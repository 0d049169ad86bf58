"""Bad clips fail alone, each with one line; a job that cannot be right is refused before it exists, in one line."""

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.acceptance.conftest import SMALL_GAME, WEIGHTS, Home, options
from tests.programs import Programs
from worker.models import build, save_weights

pytestmark = pytest.mark.acceptance
CLASSES = ("MoveDown", "MoveLeft", "MoveRight", "MoveUp")


def write_video(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 12, (64, 64))
    assert writer.isOpened()
    for _ in range(frames):
        writer.write(np.full((64, 64, 3), 90, np.uint8))
    writer.release()


#: File of a list and what its clip's reason says. The demo's weights take eight frames.
BAD = {
    "MoveUp/missing.avi": "does not exist",
    "MoveUp/empty.avi": "is empty (0 bytes)",
    "MoveUp/truncated.avi": "is truncated",
    "MoveUp/text.avi": "is not a video that FFmpeg can open",
    "MoveUp/frameless.avi": "has no frame",
    "MoveUp/single.avi": "has 1 frame, 8 are needed",
    "MoveUp/short.avi": "has 7 frames, 8 are needed",
    "Juggling/unknown.avi": "its label 'Juggling' is not one of the model's 4 classes",
}
GOOD = ("MoveLeft/v_MoveLeft_g01_c01.avi", "MoveUp/v_MoveUp_g01_c01.avi")


@pytest.fixture
def dataset(copied_clips: Path) -> Path:
    """A list of two good clips and one of each bad kind."""
    (copied_clips / "Juggling").mkdir()
    good = copied_clips / GOOD[1]
    shutil.copy(good, copied_clips / "Juggling/unknown.avi")
    (copied_clips / "MoveUp/empty.avi").touch()
    (copied_clips / "MoveUp/truncated.avi").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (copied_clips / "MoveUp/text.avi").write_text("This is no video.\n" * 500)
    for name, frames in (("frameless", 0), ("single", 1), ("short", 7)):
        write_video(copied_clips / f"MoveUp/{name}.avi", frames)
    file = copied_clips / "clips.txt"
    file.write_text("".join(f"{name}\n" for name in (*BAD, *GOOD)))
    return file


def test_bad_clips_fail_alone(new_home, dataset):
    home = new_home()
    done = home.flowcert("run", dataset, *options(SMALL_GAME))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    rows = {str(Path(row["video"]).relative_to(dataset.parent)): row for row in home.rows("results")}
    assert rows.keys() == {*BAD, *GOOD}
    for name in GOOD:
        assert (rows[name]["verdict"], rows[name]["reason"]) in (("solved", None), ("robust", None))
        assert rows[name]["fmsr_lower"] > 0
    for name, problem in BAD.items():
        row = rows[name]
        assert (row["status"], row["verdict"]) == ("failed", "failed")
        assert problem in row["reason"]
        assert "\n" not in row["reason"]
        assert (row["fmsr_lower"], row["fmsr_lower_guarantee"], row["fmsr_upper"]) == (None, None, None)
        assert row["reason"].startswith(f"{row['video']}: ")
        # The table names the file once, in short.
        assert f"{name}: {problem}" in " ".join(done.stdout.split())


Files = dict[str, Path]


@pytest.fixture(scope="module")
def files(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Datasets, weights and configurations that are wrong in one way each."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "empty").mkdir()
    (folder / "garbage.safetensors").write_bytes(b"\x07" * 1000)
    sizes = {"classes": 4, "height": 32, "width": 32}
    kept: dict[str, Any] = {"classes": CLASSES, "frames": 8, "height": 32, "width": 32}
    other = torch.nn.Linear(3, 4)
    save_weights(folder / "other.safetensors", other, name="cnn_lstm", args=sizes, **kept)
    spoilt = build("cnn_lstm", sizes)
    next(iter(spoilt.parameters())).data.view(-1)[0] = float("nan")
    save_weights(folder / "nan.safetensors", spoilt, name="cnn_lstm", args=sizes, **kept)
    (folder / "unknown.yaml").write_text("taus: 1\n")
    (folder / "broken.yaml").write_text("tau: [1\n")
    return {"clips": clips, "folder": folder}


#: What is changed of a command that would be right, and how the line begins that refuses it; {folder} is filled in.
REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    # These are refused before torch is started.
    "no dataset": ({"dataset": "{folder}/none"}, "{folder}/none: does not exist"),
    "empty dataset": ({"dataset": "{folder}/empty"}, "{folder}/empty: has no clips"),
    "negative tau": ({"tau": -1}, "--tau: input should be greater than 0"),
    "tau is NaN": ({"tau": "nan"}, "--tau: input should be a finite number"),
    "no radius": ({"radius": 0}, "--radius: input should be greater than 0"),
    "no rows": ({"features": "grid:0x2"}, "--features: 'grid:0x2' is not one of global, grid:RxC, "),
    "unknown norm": ({"norm": "L3"}, "--norm: input should be 'L1', 'L2' or 'Linf'"),
    "unknown key": ({"config": "{folder}/unknown.yaml"}, "{folder}/unknown.yaml: taus: is no field of a job; known: "),
    "no YAML": ({"config": "{folder}/broken.yaml"}, "--config: {folder}/broken.yaml: is not YAML: "),
    # These need the model, or the frame size that only its weights say.
    "no weights": ({"weights": "{folder}/none.safetensors"}, "--weights: {folder}/none.safetensors: cannot be read"),
    "garbage": (
        {"weights": "{folder}/garbage.safetensors"},
        "--weights: {folder}/garbage.safetensors: is not a usable safetensors file",
    ),
    "other architecture": (
        {"weights": "{folder}/other.safetensors"},
        "--weights: {folder}/other.safetensors: parameter ",
    ),
    "NaN weights": ({"weights": "{folder}/nan.safetensors"}, "--weights: {folder}/nan.safetensors: parameter "),
    "unknown model": ({"model": "resnet"}, "--model: 'resnet' is not one of cnn_lstm, cnn_gru, cnn_mean, vgg16_lstm"),
    "too few classes": ({"classes": "MoveUp,MoveDown"}, "--weights: " + str(WEIGHTS) + ": was saved for 4 classes"),
    "too many rows": ({"features": "grid:99x99"}, "--features: grid:99x99 has more rows or columns than the 32x32"),
    "too many regions": ({"features": "superpixel:99999"}, "--features: superpixel:99999 asks for more regions"),
    "Linf too large": ({"features": "grid:4x4", "norm": "Linf", "radius": 3}, "--norm: "),
    "radius too small": ({"radius": 31}, "--radius: 31 px is below the cheapest manipulation (32 px L2"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_in_one_line_before_there_is_a_job(name: str, programs: Programs, files: Files, home: Home) -> None:
    changes, problem = REFUSALS[name]
    fields = {**SMALL_GAME, "dataset": files["clips"], **changes}
    given = {key: str(value).format(folder=files["folder"]) for key, value in fields.items()}
    done = programs.run("scheduler.cli.main", "submit", given.pop("dataset"), *options(given), data_dir=home.folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: " + problem.format(folder=files["folder"]))
    assert done.stderr.count("\n") == 1
    # Not even the servers were started.
    assert not home.folder.exists()
