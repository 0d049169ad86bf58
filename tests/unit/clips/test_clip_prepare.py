"""What a prepared clip promises: numbered coordinates, spread points, one digest, and a cache that never lies."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import structlog
import torch

from common.errors import ClipError, IntegrityError
from common.features import parse_partition
from common.jobspec import DisSpec, FarnebackSpec, SamplingSpec
from worker import clip as clip_module
from worker.clip import PreparedClip, frames_tensor, load_or_prepare, prepare_clip
from worker.replay import Change
from worker.warp import manipulated_frame

LIMIT = 100_000_000
FLOW = FarnebackSpec()
GRID = parse_partition("grid:2x2")


def tiny_clip() -> PreparedClip:
    """Three frames of 2 by 2 pixels; two regions in the first flow, three in the second."""
    frames = np.arange(36, dtype=np.uint8).reshape(3, 2, 2, 3)
    labels = np.array([[[0, 0], [0, 1]], [[0, 1], [2, 2]]], np.int32)
    return PreparedClip(frames, np.zeros((2, 2, 2, 2), np.float32), labels)


def test_coordinates_are_numbered_by_flow_region_axis():
    clip = tiny_clip()
    assert clip.coordinate_sizes == (3, 3, 1, 1, 1, 1, 1, 1, 2, 2)
    assert clip.coordinate_table.t.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert clip.coordinate_table.k.tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2]
    assert clip.coordinate_table.axis.tolist() == [0, 1] * 5
    assert clip.coordinate_offsets.tolist() == [0, 4, 10]


def test_point_moves_exactly_its_regions():
    clip = tiny_clip()
    table = clip.coordinate_table
    for j in range(10):
        delta = Change.on_grid(((j, 3),), 0.5).delta(clip)
        expected = np.zeros_like(delta)
        expected[table.t[j], table.axis[j]] = 1.5 * (clip.labels[table.t[j]] == table.k[j])
        assert np.array_equal(delta, expected)
        assert np.array_equal(delta != 0, clip.coordinate_index == j)
        assert int((delta != 0).sum()) == clip.coordinate_sizes[j]


def test_digest_depends_on_every_array_shape_and_type():
    clip = tiny_clip()
    others = [
        PreparedClip(clip.frames ^ (np.arange(36).reshape(clip.frames.shape) == 35), clip.flow, clip.labels),
        PreparedClip(clip.frames.reshape(3, 4, 1, 3), clip.flow, clip.labels),
        PreparedClip(clip.frames, clip.flow + np.float32(1e-6), clip.labels),
        PreparedClip(clip.frames, clip.flow.astype(np.float64), clip.labels),
        PreparedClip(clip.frames, clip.flow, clip.labels[::-1]),
    ]
    assert len({clip.digest, *(other.digest for other in others)}) == 6
    assert clip.digest == tiny_clip().digest


def test_frames_are_floats_between_0_and_1():
    frames = frames_tensor(tiny_clip(), torch.float64)
    assert frames.shape == (3, 3, 2, 2)
    assert frames[1, 2, 0, 1].item() == 17 / 255


def test_prepared_video_has_matching_arrays(write_video, sampling):
    clip = prepare_clip(write_video(), sampling, FLOW, GRID, LIMIT)
    assert clip.frames.shape == (8, 24, 32, 3)
    assert clip.flow.shape == (7, 2, 24, 32)
    assert clip.labels.shape == (7, 24, 32)
    assert len(clip.coordinate_sizes) == 7 * 4 * 2


def test_changing_one_flow_changes_the_next_frame_only(write_video, sampling):
    clip = prepare_clip(write_video(), sampling, FLOW, GRID, LIMIT)
    frames, flow = frames_tensor(clip, torch.float32), torch.from_numpy(clip.flow)
    for t in range(7):
        moved = np.flatnonzero(clip.coordinate_table.t == t)
        delta = Change.on_grid(tuple((int(j), 2) for j in moved), 0.5).delta(clip)
        changed = manipulated_frame(frames[:-1], frames[1:], flow, torch.from_numpy(delta).float())
        different = [not torch.equal(a, b) for a, b in zip(changed, frames[1:], strict=True)]
        assert different == [step == t for step in range(7)]


def load(path: Path, cache: Path, sampling: SamplingSpec, expected: str | None = None, **changes) -> PreparedClip:
    arguments = {"flow_spec": FLOW, "partition": GRID} | changes
    return load_or_prepare(path, sampling, max_bytes=LIMIT, cache_dir=cache, expected_digest=expected, **arguments)


def test_second_load_comes_from_the_cache_unchanged(write_video, sampling, tmp_path, monkeypatch):
    path, cache = write_video(), tmp_path / "deep" / "cache"
    first = load(path, cache, sampling)
    monkeypatch.setattr(clip_module, "prepare_clip", lambda *_: pytest.fail("prepared again"))
    second = load(path, cache, sampling, first.digest)
    assert second.digest == first.digest
    assert first.video_sha256 == second.video_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(second.frames, first.frames)
    assert [entry.suffix for entry in cache.iterdir()] == [".clip"]


def test_same_bytes_under_another_name_share_one_entry(write_video, sampling, tmp_path):
    path = write_video()
    load(path, tmp_path / "cache", sampling)
    load(path.rename(tmp_path / "moved.avi"), tmp_path / "cache", sampling)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_each_specification_has_its_own_entry(write_video, sampling, tmp_path):
    path, cache = write_video(), tmp_path / "cache"
    digests = {
        load(path, cache, sampling).digest,
        load(path, cache, SamplingSpec(frames=8, stride=2, height=24, width=32)).digest,
        load(path, cache, SamplingSpec(frames=8, every="0.12", height=24, width=32)).digest,
        load(path, cache, sampling, flow_spec=DisSpec()).digest,
        load(path, cache, sampling, partition=parse_partition("global")).digest,
    }
    assert len(digests) == len(list(cache.iterdir())) == 5


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_damaged_entry_is_rebuilt(write_video, sampling, tmp_path, damage):
    path, cache = write_video(), tmp_path / "cache"
    digest = load(path, cache, sampling).digest
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert load(path, cache, sampling, digest).digest == digest
    assert entry.read_bytes() == whole


def test_changed_video_is_an_integrity_error_that_names_it(write_video, sampling, tmp_path):
    path = write_video()
    digest = load(path, tmp_path / "cache", sampling).digest
    write_video(count=20)
    with pytest.raises(IntegrityError, match=r"clip\.avi: file changed since it was prepared"):
        load(path, tmp_path / "cache", sampling, digest)


def test_video_that_is_gone_is_a_clip_error(sampling, tmp_path):
    with pytest.raises(ClipError, match="does not exist"):
        load(tmp_path / "gone.avi", tmp_path / "cache", sampling)


def test_video_replaced_while_it_is_read_is_refused(write_video, sampling, tmp_path, monkeypatch):
    path = write_video()

    def prepare_and_replace(*arguments):
        clip = prepare_clip(*arguments)
        write_video(count=20)
        return clip

    monkeypatch.setattr(clip_module, "prepare_clip", prepare_and_replace)
    with pytest.raises(ClipError, match="changed while"):
        load(path, tmp_path / "cache", sampling)
    assert not (tmp_path / "cache").exists()


def test_full_disk_is_logged_and_leaves_nothing_behind(write_video, sampling, tmp_path, monkeypatch):
    def full(*_arguments, **_keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path, cache = write_video(), tmp_path / "cache"
    monkeypatch.setattr(Path, "replace", full)
    with structlog.testing.capture_logs() as logs:
        clip = load(path, cache, sampling)
    assert clip.frames.shape == (8, 24, 32, 3)
    assert [log["event"] for log in logs] == ["clip_cache.not_stored"]
    assert list(cache.iterdir()) == []


def test_a_disk_that_is_full_in_the_middle_of_a_write_keeps_no_part_of_it(tmp_path):
    # A limit on file sizes is the full disk that every machine has; it needs a process of its own.
    script = """
import resource, sys
from pathlib import Path
import numpy as np
from worker.clip_cache import load_arrays, store_arrays
entry = Path(sys.argv[1]) / "cache" / "one.clip"
store_arrays(entry, {"small": np.zeros(10)})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
store_arrays(entry, {"large": np.random.default_rng(0).random(100_000)})
print(sorted(path.name for path in entry.parent.iterdir()), list(load_arrays(entry)))
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['one.clip'] ['small']"
    assert "clip_cache.not_stored" in done.stdout + done.stderr
    assert "File too large" in done.stdout + done.stderr


def test_cache_directory_that_is_a_file_costs_only_the_cache(write_video, sampling, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with structlog.testing.capture_logs() as logs:
        load(write_video(), tmp_path / "cache", sampling)
    assert {log["event"] for log in logs} == {"clip_cache.unreadable", "clip_cache.not_stored"}
