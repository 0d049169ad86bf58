"""Datasets are found in a fixed order, and lists that name anything odd are refused in one line."""

import os
from pathlib import Path

import pytest

from common.errors import InputError
from scheduler.intake.dataset import find_clips
from scheduler.intake.lists import MOST_BYTES, MOST_LINE
from scheduler.intake.selection import Selection, select, usable


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for name in ("B/b.MP4", "A/c.avi", "A/a.avi", "A/notes.txt", "stray.avi", "A/deep/d.avi"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")
    return tmp_path / "data"


def listed(tmp_path: Path, text: str, suffix: str = ".txt") -> Path:
    path = tmp_path / f"list{suffix}"
    path.write_bytes(text.encode())
    return path


def names(clips):
    return [(clip.label, Path(clip.path).name, clip.problem) for clip in clips]


def test_a_folder_is_searched_one_level_deep_in_sorted_order(dataset):
    assert names(find_clips(dataset)) == [("A", "a.avi", None), ("A", "c.avi", None), ("B", "b.MP4", None)]


def test_a_single_video_is_labelled_by_its_folder_or_by_the_user(dataset):
    assert names(find_clips(dataset / "A" / "a.avi")) == [("A", "a.avi", None)]
    assert names(find_clips(dataset / "A" / "a.avi", label="B")) == [("B", "a.avi", None)]


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("A/a.avi\r\nB/b.MP4\r\n\r\n", ".txt"),
        ("A/a.avi 1\nB/b.MP4 2\n", ".txt"),
        ("A/a.avi\nB/b.MP4\n", ".csv"),
        ("\ufefflabel,bytes,path\nA,5,A/a.avi\nB,5,B/b.MP4\n", ".csv"),
    ],
)
def test_lists_are_read_in_all_their_forms(dataset, tmp_path, text, suffix):
    found = find_clips(listed(tmp_path, text, suffix), root=dataset)
    assert names(found) == [("A", "a.avi", None), ("B", "b.MP4", None)]


def test_a_list_starts_at_its_own_folder_and_keeps_missing_clips_with_their_problem(dataset):
    path = listed(dataset, "A/a.avi\nA/gone.avi\n")
    assert names(find_clips(path)) == [
        ("A", "a.avi", None),
        ("A", "gone.avi", "does not exist or is not an ordinary file"),
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("/etc/A/x.avi", "is absolute"),
        ("A/../../x.avi", "has '..' in it"),
        ("A/%03d.avi", "has '%' in it"),
        ("A/x!y.avi", "has '!' in it"),
        ("http://A/x.avi", "has '://' in it"),
        ("A/x\0.avi", "has '\\x00' in it"),
        ("x.avi", "has no class folder"),
        ("A/notes.txt", "is no video"),
        ("link/x.avi", "leads out of"),
        ("A/./a.avi", "is already in line 1"),
        ("a/A.AVI", "differs only in case from 'A/a.avi' in line 1"),
        ("loop/x.avi", "leads out of"),
        ("A/escape.avi", "leads out of"),
        ("A/\x1b[31m.avi", "has unprintable characters"),
        ("A/\u202eiva.exe.avi", "has unprintable characters"),
        ("round/x.avi", "its links lead round in a circle"),
        ("A/" + "x" * MOST_LINE + ".avi", f"has more than {MOST_LINE} characters"),
    ],
)
def test_odd_entries_are_refused_by_line(dataset, tmp_path, entry, problem):
    (dataset / "link").symlink_to(tmp_path)
    (dataset / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "loop").symlink_to(dataset / "link")
    (dataset / "round").symlink_to(dataset / "round")
    (dataset / "A" / "escape.avi").symlink_to("/etc/passwd")
    path = listed(dataset, f"A/a.avi\n{entry}\n")
    with pytest.raises(InputError, match="line 2: ") as refused:
        find_clips(path)
    assert problem in refused.value.problem


def test_lists_that_are_too_long_or_no_csv_are_refused(dataset):
    long = dataset / "long.txt"
    with long.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match=f"has more than {MOST_BYTES} bytes"):
        find_clips(long)
    with pytest.raises(InputError, match="line 2: has a label of more than 1000 characters"):
        find_clips(listed(dataset, f"path,label\nA/a.avi,{'x' * 1001}\n", ".csv"))
    quoted = "\n".join(["x" * 4000] * 40)
    with pytest.raises(InputError, match=r"line \d+: is no CSV: field larger than field limit"):
        find_clips(listed(dataset, f'path,label\nA/a.avi,"{quoted}"\n', ".csv"))


def test_a_list_is_read_in_time_that_grows_with_its_length(dataset):
    # The space between a path and its number was once looked for at every place of the line, again and again.
    spaces = f"A/a.avi{' ' * (MOST_LINE - 20)}x\n" * 2000
    with pytest.raises(InputError, match=r"line 1: .* is no video"):
        find_clips(listed(dataset, spaces))
    commas = "path,label" + "," * 4000 + "\n" + "A/a.avi,A" + "," * 4000 + "\n"
    assert names(find_clips(listed(dataset, commas, ".csv"))) == [("A", "a.avi", None)]


def test_a_list_has_a_limited_number_of_clips(dataset, monkeypatch):
    monkeypatch.setattr("scheduler.intake.lists.MOST_CLIPS", 2)
    with pytest.raises(InputError, match="line 3: is beyond the 2 clips that a list may have"):
        find_clips(listed(dataset, "A/a.avi\nA/b.avi\nA/c.avi\n"))


def test_names_that_cannot_be_shown_are_kept_as_problems(dataset):
    for name in ("\x1b]0;x\x07.avi", "a\nb.avi", "\u202eiva.exe.avi", "c\u2028.avi"):
        (dataset / "A" / name).write_bytes(b"video")
    found = [clip for clip in find_clips(dataset) if clip.problem]
    assert len(found) == 4
    assert {clip.problem for clip in found} == {"its name has unprintable characters; rename it"}
    assert all(clip.path.isascii() and clip.path.isprintable() for clip in found)


def test_what_is_no_dataset_is_refused(dataset, tmp_path):
    (tmp_path / "empty").mkdir()
    for path, problem in (
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "empty", "has no clips"),
        (dataset / "A" / "a.avi" / "x", "does not exist"),
        (tmp_path / ("x" * 5000), "cannot be read"),
        (listed(tmp_path, "\n"), "has no clips"),
        (listed(tmp_path, "", ".json"), "is neither"),
    ):
        with pytest.raises(InputError, match=problem):
            find_clips(path)
    with pytest.raises(InputError, match="--root: is only"):
        find_clips(dataset, root=tmp_path)
    with pytest.raises(InputError, match="--label: is only"):
        find_clips(dataset, label="A")


def test_a_name_that_is_not_utf8_is_kept_as_a_problem(dataset):
    (Path(os.fsdecode(os.fsencode(dataset / "A") + b"/\xff.avi"))).write_bytes(b"video")
    problem = [clip for clip in find_clips(dataset) if clip.problem]
    assert [clip.problem for clip in problem] == ["its name is not UTF-8; rename it"]
    assert problem[0].path.encode()


def test_choosing_clips_is_deterministic(dataset):
    def chosen(**wanted):
        return [Path(clip.path).name for clip in select(dataset, Selection(**wanted)).clips]

    assert chosen() == ["a.avi", "c.avi", "b.MP4"]
    assert chosen(per_class=1) == ["a.avi", "b.MP4"]
    assert chosen(limit=2) == ["a.avi", "c.avi"]
    assert chosen(per_class=1, limit=1) == ["a.avi"]
    assert chosen(only=("B",), limit=2) == ["b.MP4"]
    with pytest.raises(InputError, match="--class: no clip is labelled 'C'"):
        chosen(only=("C",))


def test_labels_are_held_against_the_models_classes(dataset):
    clips = find_clips(dataset)
    assert names(usable(clips, ["A", "X"]))[2] == ("B", "b.MP4", "its label 'B' is not one of the model's 2 classes")
    with pytest.raises(InputError, match=r"none of the 3 clips can be certified\. Its classes are X, Y"):
        usable(clips, ["X", "Y"])
