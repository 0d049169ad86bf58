"""Fuzzes the decoder: harmed files of five kinds, and whole ones that no camera writes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any, Self

import cv2
import numpy as np

from common.errors import ClipError
from common.jobspec import SamplingSpec
from tests.fuzz.mutate import NUMBERS, mutate, overwrite
from tests.fuzz.target import check_refusal, check_shown
from tests.unit.clips.conftest import mjpeg_avi, moving_frames
from worker.demo.render import render_dataset
from worker.video import runner
from worker.video.decoder import REFUSED, WORKING_BYTES
from worker.video.runner import run_decoder

REPOSITORY = Path(__file__).resolve().parents[2]
#: Real clips, where they are there.
UCF101 = REPOSITORY.parent / "shared" / "data" / "ucf101"
FRAMES, HEIGHT, WIDTH = 4, 24, 32
LIMIT = 40_000_000
#: One attempt of so many is made through the real process and its start, as a worker does.
_REAL = 25
#: One attempt of so many is the check of a dataset, which counts the frames of the file instead.
_CHECKED = 5
_AVI_TAGS = (b"avih", b"strh", b"strf", b"movi", b"idx1", b"00dc", b"LIST", b"RIFF", b"indx", b"JUNK", b"hdrl")
_MP4_TAGS = (
    b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"edts", b"elst", b"mdhd", b"stsd", b"stts", b"ctts", b"stss", b"stsc",
    b"stsz", b"stco", b"co64", b"mdat", b"avc1", b"mp4v", b"esds", b"hdlr",
)  # fmt: skip
_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v")


class Videos:
    """The decoder, forked from a process that has loaded it; at times the real one."""

    name = "videos"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="flowcert-fuzz-")
        self.folder = Path(self._folder.name)
        self._seeds = _seeds(self.folder)
        environment = runner._environment() | {"PYTHONPATH": str(REPOSITORY)}
        self._forker = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.forker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment, cwd=REPOSITORY,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._forker.kill()
        self._forker.communicate()
        self._folder.cleanup()

    def attempt(self, rng: Random) -> list[tuple[str, str]]:
        """Decode one file; what is accepted is a clip of the size that was asked for, and the same again."""
        kind, content = self._draw(rng)
        path = self.folder / f"clip{rng.choice(_SUFFIXES)}"
        path.write_bytes(content)
        every, stride = rng.choice(((None, None), (None, 2), ("0.04", None), ("0.5", None)))
        sampling = SamplingSpec(frames=FRAMES, height=HEIGHT, width=WIDTH, every=every, stride=stride)
        if rng.randrange(_REAL) == 0:
            return [(f"{kind} (real process)", _through_the_real_process(path, sampling))]
        if rng.randrange(_CHECKED) == 0:
            return [(f"{kind} (dataset check)", self._check(path, every))]
        arguments = [str(path), FRAMES, stride or 0, every or 0, HEIGHT, WIDTH, LIMIT]
        found = self.decode(arguments)
        outcome = judge(found)
        if outcome == "accepted":
            assert self.decode(arguments)["sha256"] == found["sha256"], "decoded otherwise the second time"
        return [(kind, outcome)]

    def _check(self, path: Path, every: str | None) -> str:
        found = self.decode(["check", str(path), LIMIT, FRAMES, every or 0])
        if found["status"] != 0:
            assert found["status"] < 0, f"the check of a dataset would end: {found['said']}"
            return "stopped"
        answer = json.loads(found["text"])
        if answer["problem"] is None:
            return "accepted"
        check_shown(answer["problem"])
        assert "\n" not in answer["problem"]
        return "refused"

    def decode(self, arguments: list[Any]) -> dict[str, Any]:
        """What became of a decoder with these arguments."""
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.write(json.dumps([str(part) for part in arguments]) + "\n")
        self._forker.stdin.flush()
        return json.loads(self._forker.stdout.readline())

    def _draw(self, rng: Random) -> tuple[str, bytes]:
        if rng.random() < 0.25:
            return odd_video(rng)
        kind, seed = rng.choice(self._seeds)
        way = rng.randrange(4)
        if way == 0:
            return f"{kind}, cut short", seed[: rng.randint(0, len(seed))]
        if way == 1:
            other = rng.choice(self._seeds)[1]
            return f"{kind}, begun as another", other[: rng.choice((12, 200, 2000))] + seed[rng.choice((0, 12, 200)) :]
        if way == 2:
            for _ in range(rng.randint(1, 4)):
                seed = _harm_header(seed, rng)
            return f"{kind}, wrong header", seed
        return f"{kind}, harmed", mutate(seed, rng)


def judge(found: dict[str, Any]) -> str:
    """Hold a decoder's end against what it promises: a clip, one line of reason, or an end that its parent can name."""
    most = (LIMIT + WORKING_BYTES) >> 20
    assert found["mebibytes"] <= most, f"took {found['mebibytes']} MiB of {most}"
    assert not found["late"], "hung without using processor time"
    if found["status"] == 0:
        assert found["bytes"] == FRAMES * HEIGHT * WIDTH * 3
        return "accepted"
    if found["status"] == REFUSED:
        assert found["bytes"] == 0
        assert found["lines"] == 1
        check_shown(found["said"])
        return "refused"
    # A signal, or an error of OpenCV's: the decoder's parent words it, and its clip alone is lost.
    assert found["status"] < 0 or found["said"], "failed without a word"
    return "stopped"


def _through_the_real_process(path: Path, sampling: SamplingSpec) -> str:
    try:
        clip = run_decoder(path, sampling, LIMIT)
    except ClipError as error:
        check_refusal(error, str(path))
        return "refused"
    assert clip.shape == (FRAMES, HEIGHT, WIDTH, 3)
    return "accepted"


def odd_video(rng: Random) -> tuple[str, bytes]:
    """An AVI that is whole, and unlike what anybody would film."""
    height, width = rng.choice(((1, 1), (1, 97), (97, 1), (17, 23), (48, 64), (250, 251)))
    images: list[Any] = [np.full((height, width, 3), 20 * i % 256, np.uint8) for i in range(rng.choice((1, 4, 9)))]
    times = {"period": rng.choice((0, 1, 40_000, 2**32 - 1)), "rate": rng.choice((0, 1, 25, 2**32 - 1))}
    kind = rng.choice(
        ("grey", "size changes", "frames are missing", "claims endless", "claims no frame", "huge picture")
    )
    claimed = len(images)
    if kind == "grey":
        images = [image[:, :, 0] for image in images]
        return kind, _recode(images, claimed, times)
    if kind == "size changes":
        images.append(np.zeros((height + 8, width * 2, 3), np.uint8))
    elif kind == "frames are missing":
        images += [None] * rng.choice((1, 5, 2000)) + [images[0]]
    elif kind == "claims endless":
        claimed = 2**32 - 1
    elif kind == "claims no frame":
        claimed = 0
    content = mjpeg_avi(images, claimed, **times)
    return kind, _enlarge(content, rng) if kind == "huge picture" else content


def _recode(images: list[Any], claimed: int, times: dict[str, int]) -> bytes:
    """Grey JPEGs, of one component, in an AVI that says nothing of it."""
    colour = mjpeg_avi([np.repeat(image[:, :, None], 3, axis=2) for image in images], claimed, **times)
    for image in images:
        jpeg = cv2.imencode(".jpg", np.repeat(image[:, :, None], 3, axis=2))[1].tobytes()
        grey = cv2.imencode(".jpg", image)[1].tobytes()
        # Of the same length, so that every size around it stays right.
        colour = colour.replace(jpeg, grey[:-2] + b"\0" * (len(jpeg) - len(grey)) + grey[-2:], 1)
    return colour


def _enlarge(content: bytes, rng: Random) -> bytes:
    """Have a JPEG say that its picture is as large as any can be, and at times the headers too."""
    place = content.find(b"\xff\xc0")
    if place >= 0:
        size = rng.choice(((65535, 65535), (65535, 1), (30000, 30000), (4000, 4000), (0, 0)))
        content = content[: place + 5] + size[0].to_bytes(2, "big") + size[1].to_bytes(2, "big") + content[place + 9 :]
    if rng.random() < 0.5:
        start = content.index(b"strf") + 12
        content = content[:start] + rng.choice(NUMBERS).to_bytes(4, "little") * 2 + content[start + 8 :]
    return content


def _harm_header(seed: bytes, rng: Random) -> bytes:
    avi = seed[:4] == b"RIFF"
    tags = [tag for tag in (_AVI_TAGS if avi else _MP4_TAGS) if tag in seed]
    if not tags:
        return overwrite(seed, rng.randrange(200), rng, rng.choice("<>"))
    place = seed.index(rng.choice(tags)) + rng.choice((-4, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48))
    return overwrite(seed, max(0, place), rng, "<" if avi else ">")


def _seeds(folder: Path) -> list[tuple[str, bytes]]:
    """Good videos to harm: of each codec that can be written here, of the demo, and real ones."""
    found = []
    for suffix, codec in ((".avi", "MJPG"), (".avi", "XVID"), (".mp4", "mp4v"), (".mkv", "mp4v"), (".webm", "VP80")):
        path = folder / f"seed-{codec}{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
        for frame in moving_frames(12):
            writer.write(np.ascontiguousarray(frame))
        writer.release()
        if path.is_file() and path.stat().st_size > 1000:
            found.append((f"{codec} in {suffix}", path.read_bytes()))
    rendered, _ = render_dataset(folder / "demo", per_class=1, seed=0)[0]
    found.append(("the demo's", rendered.read_bytes()))
    real = sorted(UCF101.glob("*/*.avi"), key=lambda path: path.stat().st_size)[:1]
    return found + [("UCF101's", path.read_bytes()) for path in real]
