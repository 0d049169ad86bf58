"""What is wrong with clips is found before a job has them; each file is read once, and a crash is one clip's alone."""

import os
import signal
from decimal import Decimal
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import ServerError
from scheduler.intake import check
from scheduler.intake.check import Need, Reading, read_files
from scheduler.intake.dataset import MISSING, FoundClip
from scheduler.intake.findings import Fault, count_classes, find_faults

LIMIT = 10**9
NEED = Need(16)


def write_video(path: Path, frames: int, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 12, (64, 48))
    assert writer.isOpened()
    for _ in range(frames):
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()
    return path


def lie_about_frames(path: Path, claimed: int) -> None:
    """Overwrite the number of frames in both of an AVI's headers."""
    content = bytearray(path.read_bytes())
    for tag, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        place = content.index(tag) + offset
        content[place : place + 4] = claimed.to_bytes(4, "little")
    path.write_bytes(content)


def test_real_files_are_read_in_the_words_of_a_job(tmp_path):
    good = write_video(tmp_path / "A" / "good.avi", 20)
    liar = write_video(tmp_path / "A" / "liar.avi", 5)
    lie_about_frames(liar, 300)
    assert cv2.VideoCapture(str(liar)).get(cv2.CAP_PROP_FRAME_COUNT) != 5
    cut = tmp_path / "A" / "cut.avi"
    cut.write_bytes(good.read_bytes()[:3000])
    (tmp_path / "A" / "empty.avi").touch()
    (tmp_path / "A" / "text.avi").write_text("This is no video.\n" * 500)
    os.mkfifo(tmp_path / "A" / "pipe.avi")
    paths = {path.stem: str(path) for path in (tmp_path / "A").iterdir()}
    told = []
    readings = read_files(list(paths.values()), NEED, LIMIT, told.append)
    found = {stem: readings[path] for stem, path in paths.items()}
    assert (found["good"].frames, found["good"].problem) == (20, None)
    assert len(found["good"].sha256) == 64
    assert found["liar"].frames == 5
    assert found["cut"].problem.startswith("is truncated")
    assert found["empty"].problem == "is empty (0 bytes)"
    assert found["text"].problem == "is not a video that FFmpeg can open"
    assert found["pipe"].problem == MISSING
    assert sum(told) == len(paths)
    large = read_files([str(good)], NEED, 20 * 48 * 64 * 3 - 1, told.append)[str(good)]
    assert large.problem.startswith("is too large")


def test_frames_a_pause_apart_are_counted_as_a_job_would_take_them(tmp_path):
    # 20 frames at 12 a second, the last at 1.58 s.
    good = write_video(tmp_path / "A" / "good.avi", 20)
    cut = tmp_path / "A" / "cut.avi"
    cut.write_bytes(good.read_bytes()[:3000])
    clips = [FoundClip("A", str(path)) for path in (cut, good)]

    def faults(frames, every):
        need = Need(frames, Decimal(every))
        found = find_faults(clips, read_files([clip.path for clip in clips], need, LIMIT, lambda _: None), need)
        return [(Path(finding.clip.path).stem, finding.fault, finding.problem) for finding in found]

    (damaged,) = faults(4, "0.5")
    assert damaged[:2] == ("cut", Fault.UNREADABLE)
    assert faults(5, "0.50")[1:] == [("good", Fault.SHORT, "has 4 frames at --every 0.50, 5 are needed")]
    untimed = "has no frame from 0.01 s to 0.02 s, where --every 0.01 needs one"
    assert faults(5, "0.01")[1:] == [("good", Fault.UNREADABLE, untimed)]


def test_links_of_one_file_are_read_once(tmp_path, monkeypatch):
    good = write_video(tmp_path / "A" / "1.avi", 3)
    (tmp_path / "A" / "2.avi").hardlink_to(good)
    (tmp_path / "A" / "3.avi").symlink_to(good)
    asked, ask = [], check._Reader.ask
    monkeypatch.setattr(check._Reader, "ask", lambda *given: asked.append(given[1]) or ask(*given))
    paths = [str(tmp_path / "A" / f"{number}.avi") for number in (1, 2, 3)]
    told = []
    readings = read_files(paths, NEED, LIMIT, told.append)
    assert asked == paths[:1]
    assert told == [3]
    assert {readings[path].frames for path in paths} == {3}


READER = """
import json, os, sys
for line in sys.stdin:
    path = json.loads(line)["path"]
    if path == "crash":
        os.kill(os.getpid(), {signal})
    print(json.dumps({{"frames": 3, "sha256": path, "problem": None}}), flush=True)
"""


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """Have another program stand in for the reader."""

    def use(program: str) -> None:
        file = tmp_path / "reader.py"
        file.write_text(program)
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec "{check.sys.executable}" "{file}"\n')
        python.chmod(0o755)
        monkeypatch.setattr(check.sys, "executable", str(python))

    return use


@pytest.mark.parametrize(
    ("number", "problem"),
    [(signal.SIGSEGV, "the decoder was stopped by SIGSEGV"), (signal.SIGALRM, "takes too long to decode")],
)
def test_a_clip_that_ends_its_reader_is_the_only_one_without_an_answer(pretend, number, problem):
    pretend(READER.format(signal=int(number)))
    readings = read_files(["a", "crash", "b", "c"], NEED, LIMIT, lambda _: None)
    assert readings["crash"] == Reading(0, None, problem)
    assert [readings[path].sha256 for path in "abc"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "answer", ["{}", "[1]", "x" * 10**6, '{"frames": "x", "sha256": 1, "problem": []}'], ids=range(4)
)
def test_a_reader_that_answers_nonsense_is_started_anew(pretend, answer):
    nonsense = READER.replace("os.kill(os.getpid(), {signal})", f"print({answer!r}, flush=True); continue")
    pretend(nonsense.replace("{{", "{").replace("}}", "}"))
    readings = read_files(["a", "crash", "b", "c"], NEED, LIMIT, lambda _: None)
    assert readings["crash"] == Reading(0, None, "the decoder gave no answer that could be read")
    assert [readings[path].sha256 for path in "abc"] == ["a", "b", "c"]


def test_a_reader_that_does_not_work_is_no_clips_fault(pretend):
    pretend("import sys\nsys.exit('no module named cv2')")
    with pytest.raises(ServerError, match=r"^the check of clips ended early: no module named cv2$"):
        read_files(["a", "b"], NEED, LIMIT, lambda _: None)


def test_faults_are_found_and_counted():
    clips = [
        FoundClip("A", "/d/A/v_A_g01_c01.avi"),
        FoundClip("A", "/d/A/v_A_g01_c02.avi"),
        FoundClip("A", "/d/A/v_A_g02_c01.avi", MISSING),
        FoundClip("B", "/d/B/copy.avi"),
        FoundClip("B", "/d/B/odd.avi"),
        FoundClip("B", "/d/B/x.avi", "its name is not UTF-8; rename it"),
    ]
    readings = {
        clips[0].path: Reading(16, "same", None),
        clips[1].path: Reading(1, "short", None),
        clips[3].path: Reading(16, "same", None),
        clips[4].path: Reading(0, "odd", "is truncated"),
    }
    findings = find_faults(clips, readings, NEED)
    assert [(finding.clip.path, finding.fault, finding.problem) for finding in findings] == [
        ("/d/A/v_A_g01_c02.avi", Fault.SHORT, "has 1 frame, 16 are needed"),
        ("/d/A/v_A_g02_c01.avi", Fault.MISSING, MISSING),
        ("/d/B/copy.avi", Fault.DUPLICATED, "has the same bytes as A/v_A_g01_c01.avi, which is labelled A"),
        ("/d/B/odd.avi", Fault.UNREADABLE, "is truncated"),
        ("/d/B/x.avi", Fault.UNREADABLE, "its name is not UTF-8; rename it"),
    ]
    first, second = count_classes(clips, findings)
    assert (first.label, first.clips, first.groups, dict(first.faults)) == (
        "A", 3, 2, {"missing": 1, "unreadable": 0, "short": 1, "duplicated": 0},
    )  # fmt: skip
    assert (second.groups, second.faults[Fault.UNREADABLE]) == (0, 2)
