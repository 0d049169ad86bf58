"""The command ``train``, through its program: progress and results, one line for what is wrong, Ctrl-C and going on."""

import os
import signal
import subprocess
import sys
import time
from decimal import Decimal

import pytest

from scheduler.cli.train import _numbers
from worker.demo.render import DIRECTIONS, render_dataset
from worker.models import inspect_weights

SMALL = ("--frames=4", "--size=16x16", "--epochs=3", '--model-args={"hidden": 8, "channels": [4], "features": 8}')


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    render_dataset(folder / "clips", per_class=3, seed=1)
    for half, groups in (("train", (1, 2)), ("test", (3,))):
        lines = [f"{label}/v_{label}_g{group:02d}_c01.avi\r\n" for label in DIRECTIONS for group in groups]
        absent = [f"{label}/v_{label}_g09_c01.avi\r\n" for label in ("Absent", "MoveUp")]
        (folder / f"{half}list01.txt").write_text("".join([*lines, *absent]))
    return folder


@pytest.fixture
def flowcert(home, monkeypatch, in_process):
    """Run a command in this process, in a data directory beside the clips."""
    monkeypatch.setenv("FLOWCERT_DATA_DIR", str(home / "data"))
    return in_process


def test_a_model_is_trained_on_an_official_list_and_measured_on_the_other(flowcert, home, tmp_path):
    out = tmp_path / "w.safetensors"
    lists = ("--splits", home, "--split=trainlist01", "--test-split=testlist01", "--validation-groups=2")
    status, said, noted = flowcert("train", home / "clips", "--out", out, *lists, *SMALL, "--every=0.5")
    assert status == 0, noted
    assert [line.split(":")[0] for line in said.splitlines()] == ["train", "validation", "test"]
    assert said.count("of 4 clips") == 3
    for half in ("train", "test"):
        assert f"{half}list01: 1 of its clips are not in {home / 'clips'} and are skipped" in noted
    assert "12 of 12 clips decoded" in noted
    assert "no group is on both sides" in noted
    assert "epoch 3 of 3: loss" in noted
    info = inspect_weights("cnn_lstm", out, {}, None)
    assert (info.classes, info.frames, info.height, info.width) == (tuple(sorted(DIRECTIONS)), 4, 16, 16)
    assert info.every == Decimal("0.5")


def test_only_what_was_asked_for_is_taken_and_said_to_be_missing(flowcert, home, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("scheduler.cli.train.run_training", asked.append)
    lists = ("--splits", home, "--split=trainlist01", "--test-split=testlist01")
    status, _, noted = flowcert("train", home / "clips", "--out", tmp_path / "w", *lists, "--classes=MoveUp,MoveDown")
    assert status == 0
    assert noted.count("1 of its clips are not in") == 2
    status, _, noted = flowcert("train", home / "clips", "--out", tmp_path / "w", *lists, "--classes=MoveLeft,MoveDown")
    assert (status, noted) == (0, "")
    assert {clip["label"] for clip in asked[1]["clips"]} == {"MoveLeft", "MoveDown"}
    assert [len(asked[1][part]) for part in ("clips", "test_clips")] == [4, 2]


def test_a_listed_clip_that_cannot_be_used_is_named_only_if_its_class_was_asked_for(
    flowcert, home, tmp_path, monkeypatch
):
    monkeypatch.setattr("scheduler.cli.train.run_training", lambda _: None)
    names = [f"{label}/v_{label}_g01_c01.avi" for label in DIRECTIONS]
    chosen = tmp_path / "mine.txt"
    chosen.write_text("\n".join([*names, "MoveUp/gone.avi"]))
    command = ("train", chosen, "--root", home / "clips", "--out", tmp_path / "w")
    assert "1 clips are left out; the first: " in flowcert(*command)[2]
    assert flowcert(*command, "--classes=MoveLeft,MoveDown")[2] == ""


def test_what_is_wrong_is_one_line_at_its_option(flowcert, home, tmp_path):
    out = ("--out", tmp_path / "w.safetensors")
    for arguments, line in (
        ((home / "none", *out), "none: does not exist"),
        ((home / "clips", *out, "--size=16"), "error: --size: '16' is not a height and width in pixels, such as 64x64"),
        ((home / "clips", *out, "--every=0"), "error: --every: input should be greater than 0 (given: '0')"),
        ((home / "clips", *out, "--every=1"), "has 2 frames at --every 1, 16 are needed"),
        ((home / "clips", *out, "--model-args=[1]"), "error: --model-args: is not a JSON object"),
        ((home / "clips", *out, "--validation-groups=1,x"), "error: --validation-groups: '1,x' is not a list of"),
        ((home / "clips", *out, "--model=resnet"), "error: --model: 'resnet' is not one of cnn_lstm, "),
    ):
        status, said, noted = flowcert("train", *arguments)
        assert (status, said) == (2, "")
        assert line in noted.splitlines()[-1]


def test_numbers_are_read_as_written():
    assert _numbers("1, 3,5-7") == [1, 3, 5, 6, 7]
    assert _numbers(None) is None


def test_a_training_that_is_stopped_goes_on_and_leaves_no_half_written_file(home, tmp_path):
    out = tmp_path / "w.safetensors"
    command = [sys.executable, "-m", "scheduler.cli.main", "train", home / "clips", "--out", out, *SMALL[:2], SMALL[3]]
    environment = os.environ | {"FLOWCERT_DATA_DIR": str(home / "data")}
    started = [*map(str, command), "--epochs=1000000"]
    process = subprocess.Popen(started, stderr=subprocess.PIPE, text=True, env=environment)
    checkpoint = out.with_suffix(".checkpoint")
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, noted = process.communicate(timeout=60)
    assert process.returncode == 130, noted
    assert "give the same command again to go on" in noted
    assert checkpoint.exists()
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    again = subprocess.run(
        [*started, "--minutes=0.000001"], capture_output=True, text=True, env=environment, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "going on after epoch" in again.stderr
    assert out.exists()
