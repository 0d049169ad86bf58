"""``flowcert dataset check`` needs no server, gives strict JSON, and its status says whether something is wrong."""

import json
import sys

import pytest

from scheduler.cli import main as program
from worker.demo.render import render_dataset


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    render_dataset(folder, per_class=2, seed=0)
    return folder


@pytest.fixture
def clips(rendered, tmp_path):
    """Rendered clips in a folder of its own, and lists that divide them by group."""
    lists = {"g01": [], "g02": []}
    for path in sorted(rendered.rglob("*.avi")):
        target = tmp_path / "clips" / path.relative_to(rendered)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(path)
        lists[path.stem.rsplit("_", 2)[-2]].append(f"{target.parent.name}/{target.name}\r\n")
    (tmp_path / "clips" / "testlist01.txt").write_text("".join(lists["g01"]))
    (tmp_path / "clips" / "trainlist01.txt").write_text("".join(lists["g02"]) + "Absent/v_Absent_g02_c01.avi\r\n")
    return tmp_path / "clips"


@pytest.fixture
def check(monkeypatch, capfd, tmp_path):
    """Run the check in this process; returns status, standard output and standard error."""
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    monkeypatch.setenv("FLOWCERT_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["flowcert", "dataset", "check", *map(str, arguments)])
        capfd.readouterr()
        status = program.main()
        return status, *capfd.readouterr()

    return run


def test_nothing_is_found_in_a_dataset_in_order(check, clips, tmp_path):
    status, output, notes = check(clips, "--frames", 8)
    assert (status, notes) == (0, "8 of 8 clips read\n8 clips checked: none is faulty\n")
    assert "MoveUp" in output
    assert not (tmp_path / "data").exists()
    status, output, notes = check(clips, "--frames", 8, "--split", "trainlist01", "--json")
    found = json.loads(output)
    assert (status, found["fine"], found["problems"], found["skipped"]) == (0, True, [], 1)
    assert f"trainlist01: 1 of its clips are skipped; there is no folder of their classes ({clips})" in notes
    assert found["clips"] == len(found["classes"]) == 4
    assert found["lists"] == [
        {
            "list": "trainlist01", "entries": 5, "clips": 4, "groups": 5, "other": "testlist01",
            "shared_groups": 0, "shared": [],
        }
    ]  # fmt: skip


def test_a_dataset_for_jobs_whose_frames_are_a_pause_apart(check, clips):
    # Rendered clips last two seconds.
    assert check(clips, "--frames", 2, "--every", 1)[0] == 0
    status, output, notes = check(clips, "--frames", 3, "--every", "1.0", "--limit", 1, "--json")
    found = json.loads(output)
    (problem,) = found["problems"]
    assert (status, found["frames"], found["every"]) == (1, 3, "1")
    assert (problem["fault"], problem["problem"]) == ("short", "has 2 frames at --every 1, 3 are needed")


def test_faults_are_listed_and_counted(check, clips):
    up = sorted((clips / "MoveUp").iterdir())
    (clips / "MoveDown" / "v_MoveDown_g09_c01.avi").hardlink_to(up[0])
    (clips / "MoveUp" / "broken.avi").write_bytes(up[0].read_bytes()[:4000])
    up[1].unlink()
    status, output, notes = check(clips, "--frames", 8, "--split", "trainlist01", "--class", "MoveUp", "--json")
    (problem,) = json.loads(output)["problems"]
    assert status == 1
    assert (problem["video"], problem["fault"]) == (str(up[1]), "missing")
    status, output, notes = check(clips, "--frames", 8)
    assert status == 1
    assert "9 clips checked: 2 are faulty" in notes
    assert f"MoveUp/{up[0].name}  duplicated  has the same bytes as MoveDown/v_MoveDown_g09_c01.avi" in output
    assert "MoveUp/broken.avi" in output
    assert "unreadable" in output
    status, _, notes = check(clips, "--frames", 1000, "--limit", 1)
    assert (status, notes) == (1, "1 of 1 clips read\n1 clips checked: 1 are faulty\n")


def test_lists_that_share_groups_are_named(check, clips):
    train, test = ((clips / f"{name}list01.txt") for name in ("train", "test"))
    test.write_text(test.read_text() + "MoveUp/v_MoveUp_g02_c02.avi\n")
    status, output, notes = check(clips, "--frames", 8, "--per-class", 1)
    assert status == 1
    assert "shares 1 groups with testlist01: MoveUp g2" in output
    assert "2 lists share groups" in notes


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--split", "vallist01"), "--split: there is no vallist01.txt in "),
        (("--split", "../x"), "--split: '../x' is no name of an official list"),
        (("--class", "Flying"), "--class: no clip is labelled 'Flying'"),
        (("--limit", "0"), "--limit: "),
        (("--every", "0"), "--every: input should be greater than 0"),
        (("--root", "/"), "--root: is only for a dataset that is a list"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_one_line(check, clips, arguments, line):
    status, output, notes = check(clips, *arguments)
    assert (status, output) == (2, "")
    assert notes.startswith(f"error: {line}")
    assert notes.count("\n") == 1
