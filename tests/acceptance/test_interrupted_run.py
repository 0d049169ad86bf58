"""A run that is killed, and then told to stop, ends with the bounds of one that nobody disturbed."""

import time
from pathlib import Path

import pytest

from scheduler.embedded import start_stack
from tests.acceptance.conftest import SMALL_GAME, options

pytestmark = pytest.mark.acceptance
#: A clip with an adversarial point within the radius, and one without: some three thousand points.
COMMAND = ["--class=MoveLeft", "--class=MoveUp", *options({**SMALL_GAME, "radius": 56})]
#: Slow workers with short tasks, so that something is proved before each interruption and more is left.
SETTINGS = {"batch_points": 16, "task_seconds": 0.5, "beat_seconds": 0.5, "lease_seconds": 5}
FINAL = ("video", "verdict", "lower_cost", "upper_cost", "fmsr_lower", "fmsr_upper", "points_explored", "clip_digest")


def processes() -> dict[int, tuple[int, str]]:
    """Parent and start time of every process; number and start time together name one for ever."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may hold anything.
            state, parent, *more = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found[int(stat.parent.name)] = (int(parent), more[17])
    return found


def descendants(pid: int) -> dict[int, str]:
    everyone = processes()
    found: dict[int, str] = {}
    level = {pid}
    while level:
        level = {child for child, (parent, _) in everyone.items() if parent in level}
        found.update((child, everyone[child][1]) for child in level)
    return found


def alive(family: dict[int, str]) -> set[int]:
    everyone = processes()
    return {pid for pid, started in family.items() if pid in everyone and everyone[pid][1] == started}


def wait_until(condition, process):
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@pytest.fixture
def begin(new_home, clips, tmp_path):
    """Return a home, and a function that starts the run there and waits until it has explored ``least`` points."""
    home = new_home()
    notes = tmp_path / "notes"

    def start(least: int):
        with notes.open("w") as file:
            process = home.start("run", clips, "--workers=2", *COMMAND, notes=file, **SETTINGS)
        # Only then do the servers belong to the run for certain; asking them earlier could start them here.
        wait_until(lambda: "their logs are in" in notes.read_text(), process)
        with start_stack(home.folder) as stack:
            assert not stack.owner
            explored = wait_until(lambda: (now := points(home)) >= least and now, process)
        return process, explored

    return home, start, notes


def points(home) -> int:
    return int(home.query("SELECT sum(points_explored) AS explored FROM videos")[0]["explored"])


def test_killed_then_stopped_then_resumed(new_home, clips, begin):
    home, start, notes = begin

    process, explored = start(1)
    family = descendants(process.pid)
    # Two servers, a scheduler, and two workers with a child each.
    assert len(family) >= 7
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while alive(family):
        assert time.monotonic() < deadline, f"left behind: {alive(family)}"
        time.sleep(0.1)

    process, explored = start(explored + 1)
    family = descendants(process.pid)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    said = notes.read_text()
    assert "job 1: resumed, 0 clips added" in said
    assert said.endswith("stopping; what is proved of job 1 is kept: give the same command again to go on\n")
    assert "Traceback" not in said
    assert not alive(family)

    undisturbed = new_home()
    for each in (home, undisturbed):
        done = each.flowcert("run", clips, "--workers=1", *COMMAND, **SETTINGS)
        assert done.returncode == 0, done.stderr
    resumed, expected = home.rows("results"), undisturbed.rows("results")
    assert [[row[key] for key in FINAL] for row in resumed] == [[row[key] for key in FINAL] for row in expected]
    assert {row["verdict"] for row in resumed} == {"solved", "robust"}
    assert explored < sum(row["points_explored"] for row in resumed)
