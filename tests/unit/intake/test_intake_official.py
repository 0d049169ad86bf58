"""Official lists are found next to the clips, and the two of a number share a group only when clips are shuffled."""

import os
from pathlib import Path

import pytest

from common.errors import InputError
from scheduler.intake.config import read_request
from scheduler.intake.findings import count_lists
from scheduler.intake.official import find_list, groups_of, other_half
from scheduler.intake.selection import Selection, folder_of, select

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
UCF101 = Path(os.environ.get("FLOWCERT_UCF101", SHARED / "ucf101"))

TRAIN = "Archery/v_Archery_g02_c01.avi 1\r\nDiving/v_Diving_g02_c01.avi 2\r\n"
TEST = "Archery/v_Archery_g01_c01.avi\r\nArchery/v_Archery_g01_c02.avi\r\nDiving/v_Diving_g01_c01.avi\r\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder beside its lists; of Archery one test clip is missing, of Diving there is no folder."""
    for name in ("v_Archery_g01_c01.avi", "v_Archery_g02_c01.avi"):
        path = tmp_path / "clips" / "Archery" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_bytes(TRAIN.encode())
    (lists / "testlist01.txt").write_bytes(TEST.encode())
    (lists / "classInd.txt").write_bytes(b"1 Archery\r\n2 Diving\r\n")
    return tmp_path


def names(selected):
    return [(Path(clip.path).name, clip.problem) for clip in selected.clips]


@pytest.mark.parametrize("place", ["clips", "clips/ucfTrainTestlist", "clips/ucfTrainTestList", "ucfTrainTestList"])
def test_lists_are_found_in_or_beside_the_dataset(home, place):
    (home / place).mkdir(exist_ok=True)
    for file in (home / "ucfTrainTestlist").iterdir():
        file.rename(home / place / file.name)
    assert find_list("testlist01", home / "clips", None).file == home / place / "testlist01.txt"
    with pytest.raises(InputError, match=r"^--split: there is no testlist02.txt in .*--splits says where"):
        find_list("testlist02", home / "clips", None)


def test_a_folder_given_for_the_lists_is_the_only_one_looked_at(home, tmp_path):
    given = tmp_path / "mine"
    given.mkdir()
    with pytest.raises(InputError, match=r"there is no testlist01\.txt in .*mine"):
        find_list("testlist01", home / "clips", given)
    (given / "testlist01.txt").write_text(TEST)
    assert len(find_list("testlist01", home / "clips", given).entries) == 3


@pytest.mark.parametrize("line", ["² Archery", "1" * 5000 + " Archery", "-1 Archery", "٣ Archery"])
def test_numbers_of_classes_are_plain_ones(home, line):
    (home / "ucfTrainTestlist" / "classInd.txt").write_text(f"1 Archery\n2 Diving\n{line}\n", encoding="utf-8")
    assert len(find_list("trainlist01", home / "clips", None).entries) == 2


def test_a_list_of_classes_that_is_no_text_is_named(home):
    (home / "ucfTrainTestlist" / "classInd.txt").write_bytes(b"1 \xff\n")
    with pytest.raises(InputError, match=r"classInd\.txt: is not UTF-8 text"):
        find_list("trainlist01", home / "clips", None)


def test_a_missing_clip_is_found_missing_and_one_without_class_folder_is_skipped(home):
    found = select(home / "clips", Selection(split="testlist01"))
    assert names(found) == [
        ("v_Archery_g01_c01.avi", None),
        ("v_Archery_g01_c02.avi", "does not exist or is not an ordinary file"),
    ]
    assert found.skipped == ["Diving/v_Diving_g01_c01.avi"]
    assert names(select(home / "clips", Selection(split="trainlist01"))) == [("v_Archery_g02_c01.avi", None)]


def test_a_job_takes_what_is_there(home):
    found = select(home / "clips", Selection(split="testlist01", per_class=2, missing=False))
    assert names(found) == [("v_Archery_g01_c01.avi", None)]
    assert found.skipped == ["Archery/v_Archery_g01_c02.avi", "Diving/v_Diving_g01_c01.avi"]


def test_only_clips_of_the_wanted_classes_are_skipped(home):
    found = select(home / "clips", Selection(split="testlist01", only=("Archery",), missing=False))
    assert found.skipped == ["Archery/v_Archery_g01_c02.avi"]


def test_an_empty_class_folder_is_no_absent_one(home):
    (home / "clips" / "Diving").mkdir()
    found = select(home / "clips", Selection(split="testlist01", only=("Diving",)))
    assert (len(found.clips), found.skipped) == (1, [])
    assert found.clips[0].problem is not None


def test_a_manifest_lacks_nothing_that_it_does_not_name(home):
    manifest = home / "clips" / "mine.csv"
    manifest.write_text(
        "label,path,fps\nShooting,Archery/v_Archery_g01_c01.avi,25\nArchery,Archery/v_Archery_g02_c01.avi,25\n"
    )
    found = select(manifest, Selection(split="testlist01"))
    assert [(clip.label, Path(clip.path).name) for clip in found.clips] == [("Shooting", "v_Archery_g01_c01.avi")]
    assert len(found.skipped) == 2


def test_splits_that_select_nothing_or_are_of_no_use(home):
    lists = home / "ucfTrainTestlist"
    (lists / "testlist02.txt").write_text("Diving/v_Diving_g01_c01.avi\n")
    with pytest.raises(InputError, match=r"--split: none of the 1 clips of .*testlist02\.txt is in"):
        select(home / "clips", Selection(split="testlist02"))
    with pytest.raises(InputError, match="--split: is only for a dataset that is a folder or a list"):
        select(home / "clips" / "Archery" / "v_Archery_g01_c01.avi", Selection(split="testlist01"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("Archery/x.avi 2", "line 2: Archery has number 2, which classInd.txt calls Diving"),
        ("Archery/x.avi 9", "line 2: Archery has number 9, which classInd.txt does not have"),
        ("../x.avi 1", "line 2: '../x.avi' has '..' in it"),
    ],
)
def test_a_wrong_line_of_a_train_list_is_named(home, line, problem):
    (home / "ucfTrainTestlist" / "trainlist01.txt").write_text(f"Archery/v_Archery_g02_c01.avi 1\n{line}\n")
    with pytest.raises(InputError) as refused:
        select(home / "clips", Selection(split="trainlist01"))
    assert problem in str(refused.value)


@pytest.mark.parametrize("given", ["../testlist01", "a/b", "", "test list"])
def test_a_split_is_a_name(given):
    fields = {"dataset": "d", "model": "m", "weights": "w", "features": "global", "norm": "L2", "tau": 1, "radius": 2}
    with pytest.raises(InputError, match=r"^--split: .* is no name of an official list"):
        read_request({**fields, "split": given}, None)
    assert read_request({**fields, "split": "testlist01.txt"}, None).config.split == "testlist01"


def test_groups_are_those_of_a_class():
    clips = ["/d/A/v_A_g01_c01.avi", "A/v_A_g01_c02.avi", "B/v_B_g01_c01.avi", "B/holiday.avi"]
    assert groups_of(clips) == {("A", "g1"), ("B", "g1")}


def test_clips_shuffled_across_lists_leak_groups(home):
    clips = select(home / "clips", Selection()).clips
    assert [(count.name, count.other, count.shared) for count in count_lists(clips, home / "clips", None, None)] == [
        ("trainlist01", "testlist01", ()),
        ("testlist01", "trainlist01", ()),
    ]
    lists = home / "ucfTrainTestlist"
    (lists / "trainlist01.txt").write_text("Archery/v_Archery_g01_c02.avi\nDiving/v_Diving_g01_c01.avi\n")
    (lists / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\n")
    (count,) = count_lists(clips, home / "clips", "testlist01", None)
    assert (count.entries, count.clips, count.groups, count.shared) == (1, 1, 1, ("Archery g1",))


@pytest.mark.skipif(not UCF101.is_dir(), reason=f"{UCF101} is not there; set FLOWCERT_UCF101")
def test_the_published_lists_share_no_group():
    base = folder_of(UCF101, None)
    for number, entries in ((1, (9537, 3783)), (2, (9586, 3734)), (3, (9624, 3696))):
        train = find_list(f"trainlist0{number}", base, None)
        test = other_half(train)
        assert (len(train.entries), len(test.entries)) == entries
        assert not train.groups & test.groups
        assert len(train.groups | test.groups) == 101 * 25
