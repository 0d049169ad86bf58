"""Fuzzes what names clips: CSV manifests, official lists with their classes' numbers, and folders of odd names."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from random import Random
from typing import Self

from common.errors import InputError
from common.printable import is_printable
from scheduler.intake.dataset import FoundClip, find_clips
from scheduler.intake.lists import MOST_LINE
from scheduler.intake.official import find_list, other_half
from tests.fuzz.mutate import mutate, odd_text
from tests.fuzz.target import Plain, check_refusal

_GOOD = ("A/v_A_g01_c01.avi", "A/v_A_g02_c01.avi", "B/v_B_g01_c01.avi", "B c/d e.mp4")


class Lists(Plain):
    """Readers of lists and folders; every clip that comes out lies below the root and can be shown."""

    name = "lists"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="flowcert-fuzz-")
        self.root = Path(self._folder.name) / "data"
        for name in _GOOD:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"video")
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def attempt(self, rng: Random) -> list[tuple[str, str]]:
        """Read one list or folder."""
        kind, read = rng.choice(
            (("manifest", self._manifest), ("lines", self._lines), ("official list", self._official),
             ("folder", self._odd_folder))
        )  # fmt: skip
        try:
            clips = read(rng)
        except InputError as error:
            # Where a list is wrong, its file is named; a folder is the option's.
            check_refusal(error)
            return [(kind, "refused")]
        for clip in clips:
            assert is_printable(clip.path), clip
            assert is_printable(clip.label), clip
            assert clip.problem is not None or Path(clip.path).resolve().is_relative_to(self.root.resolve()), clip
        return [(kind, "accepted")]

    def _manifest(self, rng: Random) -> list[FoundClip]:
        rows = ["path,label", *(f"{name},{name[0]}" for name in _GOOD)]
        return find_clips(self._written(_odd_lines(rows, rng), ".csv", rng))

    def _lines(self, rng: Random) -> list[FoundClip]:
        return find_clips(
            self._written(_odd_lines([f"{name} {i % 2 + 1}" for i, name in enumerate(_GOOD)], rng), ".txt", rng)
        )

    def _official(self, rng: Random) -> list[FoundClip]:
        for name, rows in (
            ("trainlist01", [f"{name} {'AB'.index(name[0]) + 1}" for name in _GOOD[:3]]),
            ("testlist01", list(_GOOD[:2])),
            ("classInd", ["1 A", "2 B"]),
        ):
            (self.root / f"{name}.txt").write_bytes(_spoilt(_odd_lines(rows, rng), rng))
        official = find_list(rng.choice(("trainlist01", "testlist01")), self.root, None)
        other = other_half(official)
        assert other is None or isinstance(official.groups & other.groups, frozenset)
        return []

    def _odd_folder(self, rng: Random) -> list[FoundClip]:
        folder = Path(tempfile.mkdtemp(dir=self.root.parent))
        for _ in range(3):
            label, clip = odd_text(rng, "A"), odd_text(rng, "clip") + ".avi"
            if "/" in label + clip or "\0" in label + clip:
                continue
            try:
                (folder / label).mkdir(exist_ok=True)
                (folder / label / clip).write_bytes(b"video")
            except (OSError, UnicodeEncodeError):
                continue  # A name that no file can have.
        (folder / "A").mkdir(exist_ok=True)
        os.mkfifo(folder / "A" / "pipe.avi")
        (folder / "A" / "loop.avi").symlink_to(folder / "A" / "loop.avi")
        found = find_clips(folder)
        assert {clip.problem for clip in found if clip.path.endswith(("pipe.avi", "loop.avi"))} <= {
            "does not exist or is not an ordinary file"
        }
        return [clip for clip in found if clip.problem is not None]

    def _written(self, lines: list[str], suffix: str, rng: Random) -> Path:
        path = self.root / f"list{suffix}"
        path.write_bytes(_spoilt(lines, rng))
        return path


def _odd_lines(lines: list[str], rng: Random) -> list[str]:
    """Lines of which some are odd, doubled, endless or missing."""
    lines = list(lines)
    for _ in range(rng.randint(0, 2)):
        place = rng.randrange(len(lines))
        way = rng.randrange(5)
        if way == 0:
            lines[place] = odd_text(rng, lines[place])
        elif way == 1:
            lines.append(lines[place].swapcase())
        elif way == 2:
            lines[place] += " " * rng.choice((1, 100, MOST_LINE - 100)) + rng.choice(
                ("", "x", "7", "٣", "²", "1" * 400)
            )
        elif way == 3:
            lines[place] = "," * rng.choice((1, 4000))
        else:
            lines = lines * rng.choice((1, 2, 500))
    return lines


def _spoilt(lines: list[str], rng: Random) -> bytes:
    data = rng.choice(("\n", "\n", "\r\n", "\r")).join(lines).encode(errors="surrogatepass")
    return mutate(data, rng) if rng.random() < 0.4 else data
