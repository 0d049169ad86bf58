"""What decoding refuses, and that each refusal is one line naming the file and the problem."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import ClipError
from common.features import parse_partition
from common.jobspec import FarnebackSpec, SamplingSpec
from worker.clip import load_or_prepare
from worker.video import decode_clip, runner
from worker.video.runner import run_decoder

LIMIT = 100_000_000


def assert_refused(path: Path, sampling: SamplingSpec, problem: str, limit: int = LIMIT) -> None:
    with pytest.raises(ClipError, match=problem) as caught:
        decode_clip(path, sampling, limit)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_file_is_refused(tmp_path, sampling):
    assert_refused(tmp_path / "none.avi", sampling, "does not exist")


def test_a_directory_is_refused(tmp_path, sampling):
    assert_refused(tmp_path, sampling, "is a directory")


def test_an_empty_file_is_refused(tmp_path, sampling):
    (tmp_path / "empty.avi").touch()
    assert_refused(tmp_path / "empty.avi", sampling, "is empty")


def test_a_named_pipe_is_not_waited_for(tmp_path, sampling):
    os.mkfifo(tmp_path / "pipe.avi")
    assert_refused(tmp_path / "pipe.avi", sampling, "not an ordinary file")


def test_named_pipe_is_not_waited_for_by_a_worker_either(tmp_path, sampling):
    # A worker hashes the file before it is decoded, and asks its cache by the hash.
    os.mkfifo(tmp_path / "pipe.avi")
    with pytest.raises(ClipError, match="not an ordinary file"):
        load_or_prepare(
            tmp_path / "pipe.avi", sampling, FarnebackSpec(), parse_partition("global"), LIMIT, tmp_path / "cache", None
        )  # fmt: skip


def test_terabytes_are_not_read(tmp_path, sampling):
    with (tmp_path / "sparse.avi").open("wb") as file:
        file.truncate(2**40)
    assert_refused(
        tmp_path / "sparse.avi", sampling, r"is too large: it has 1099511627776 bytes, 4294967296 are allowed"
    )


@pytest.mark.parametrize("name", ["frame%03d.avi", "a!b.avi"])
def test_names_that_opencv_would_interpret_are_refused(write_video, sampling, name):
    assert_refused(write_video(name="x.avi").rename(Path(write_video(name="x.avi")).with_name(name)), sampling, "name")


def test_a_network_address_is_only_a_missing_file(sampling):
    with pytest.raises(ClipError, match="does not exist"):
        decode_clip(Path("http://localhost/clip.avi"), sampling, LIMIT)


def test_a_name_with_a_line_break_or_nul_stays_on_one_line(tmp_path, sampling):
    for name in ("a\nb.avi", "a\0b.avi", "a\u2028b.avi", "a\udcffb.avi", "a\x1b[2J.avi", "a\u202eiva.avi"):
        with pytest.raises(ClipError, match="unprintable") as caught:
            decode_clip(tmp_path / name, sampling, LIMIT)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("name", "codec"), [("t.avi", "MJPG"), ("t.avi", "XVID"), ("t.mp4", "mp4v")])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(write_video, sampling, name, codec, kept):
    path = write_video(name=name, codec=codec)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert_refused(path, sampling, "is truncated")


def test_an_mp4_without_its_index_is_refused(write_video, sampling):
    path = write_video(name="t.mp4", codec="mp4v")
    content = path.read_bytes()
    # A "free" box of the same length in place of "moov" leaves all sizes right.
    path.write_bytes(content.replace(b"moov", b"free"))
    assert_refused(path, sampling, "moov index")


def test_text_that_is_named_a_video_is_refused(tmp_path, sampling):
    (tmp_path / "text.avi").write_text("not a video\n" * 1000)
    assert_refused(tmp_path / "text.avi", sampling, "not a video")


def test_text_that_ffmpeg_would_render_is_refused(tmp_path, sampling):
    (tmp_path / "text.txt").write_text("hello\n" * 1000)
    assert_refused(tmp_path / "text.txt", sampling, "not a video")


def test_an_image_is_not_a_video(tmp_path, sampling):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.zeros((64, 64, 3), np.uint8))
    assert_refused(path, sampling, "not a video")


def test_a_playlist_cannot_name_another_file(write_video, sampling):
    video = write_video()
    playlist = video.with_name("list.ffconcat")
    playlist.write_text(f"ffconcat version 1.0\nfile {video.name}\n")
    assert_refused(playlist, sampling, "not a video")


def test_random_bytes_behind_a_video_header_are_refused(write_video, sampling):
    path = write_video(codec="XVID")
    content = bytearray(path.read_bytes())
    start = content.index(b"movi") + 4
    content[start:] = np.random.default_rng(3).bytes(len(content) - start)
    path.write_bytes(content)
    with pytest.raises(ClipError):
        decode_clip(path, sampling, LIMIT)


def test_a_video_without_any_frame_is_refused(write_mjpeg_avi, sampling):
    path = write_mjpeg_avi([np.zeros((32, 48, 3), np.uint8)], 1)
    content = path.read_bytes()
    jpeg = content.index(b"\xff\xd8")
    path.write_bytes(content[:jpeg] + b"\0" * (len(content) - jpeg))
    assert_refused(path, sampling, r"no frame|not a video|has 0 frames")


@pytest.mark.parametrize(("count", "problem"), [(1, "has 1 frame, 8 are needed"), (7, "has 7 frames, 8 are needed")])
def test_a_video_of_too_few_frames_is_refused(write_video, sampling, count, problem):
    assert_refused(write_video(count=count), sampling, problem)


def test_a_video_of_too_few_frames_for_the_stride_is_refused(write_video):
    sampling = SamplingSpec(frames=4, stride=8, height=24, width=32)
    assert_refused(write_video(count=24), sampling, "has 24 frames, 25 are needed")


def test_a_video_that_is_too_large_when_decoded_is_refused(write_video, sampling):
    frame = 48 * 64 * 3
    path = write_video(count=24)
    assert decode_clip(path, sampling, 24 * frame).shape[0] == 8
    assert_refused(path, sampling, "is too large", limit=24 * frame - 1)


def test_a_clip_that_is_too_large_is_refused_before_decoding(write_video):
    sampling = SamplingSpec(frames=1000, height=1000, width=1000)
    assert_refused(write_video(), sampling, "is too large")


def test_a_claimed_size_is_refused_before_a_frame_is_read(write_mjpeg_avi):
    images = [np.zeros((600, 800, 3), np.uint8)] * 2
    sampling = SamplingSpec(frames=2, height=8, width=8)
    assert_refused(write_mjpeg_avi(images, 2), sampling, "is too large", limit=600 * 800 * 3 - 1)


def test_a_slow_decoder_is_stopped(write_video, sampling):
    with pytest.raises(ClipError, match=r"took longer than 0.01 s"):
        run_decoder(write_video(), sampling, LIMIT, wall_seconds=0.01)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "stopped by SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "processor time"),
        ("raise ValueError('broken')", "status 1.*ValueError: broken"),
        ("print('too little')", "status 0"),
        ("import sys\nwhile True: sys.stdout.write('x' * 65536)", "stopped by SIGKILL"),
    ],
)
def test_a_decoder_that_misbehaves_costs_only_its_clip(write_video, sampling, monkeypatch, code, problem):
    monkeypatch.setattr(runner, "_command", lambda *_: [sys.executable, "-c", code])
    assert_refused(write_video(), sampling, problem)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=runner._environment(), check=False
    )


def test_the_decoder_loads_no_torch_pydantic_or_database():
    result = run_python(
        "import json, sys, cv2, worker.video.decoder; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    assert {"torch", "pydantic", "sqlalchemy", "celery", "common"}.isdisjoint(json.loads(result.stdout))


def test_the_decoders_limits_hold(tmp_path):
    result = run_python(
        "from worker.video.decoder import set_limits\nset_limits(1000)\n"
        "try: bytearray(4 << 30)\nexcept MemoryError: print('memory')\n"
        f"try: __import__('pathlib').Path({str(tmp_path / 'file')!r}).write_text('x')\nexcept OSError: print('files')\n"
    )
    assert re.fullmatch(r"memory\nfiles\n", result.stdout), result


def test_the_decoder_inherits_no_secrets(monkeypatch):
    monkeypatch.setenv("FLOWCERT_DATABASE_URL", "postgresql://secret")
    result = run_python("import os; print(list(os.environ))")
    assert "FLOWCERT" not in result.stdout
