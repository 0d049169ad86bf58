"""``flowcert run`` on rendered clips: true bounds, every promised key, and nothing done twice."""

import csv
import json
import math
import re
from collections import Counter
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from common.store.engine import open_engine
from scheduler.embedded import start_stack
from tests.acceptance.conftest import SMALL_GAME, options

pytestmark = pytest.mark.acceptance
VERDICTS = {"open", "solved", "robust", "misclassified", "failed"}
NUMBER = (int, float)


@pytest.fixture(scope="module")
def command(clips):
    return ["run", clips, "--workers=2", "--continuous", "--lipschitz=estimated", *options(SMALL_GAME)]


@pytest.fixture(scope="module")
def certified(home, command):
    """The run, which starts and stops its own servers; afterwards they are up for the commands that ask about it."""
    done = home.flowcert(*command)
    with start_stack(home.folder):
        yield done


@pytest.fixture(scope="module")
def results(home, certified):
    return home.rows("results")


def test_the_run_ends_well_and_prints_a_table(certified, clips):
    assert certified.returncode == 0, certified.stderr
    assert "job 1: new, 4 clips added" in certified.stderr
    assert "Traceback" not in certified.stderr
    for path in clips.glob("*/*.avi"):
        assert str(path.relative_to(clips)) in certified.stdout


def test_every_promised_key_has_its_type(results, clips):
    assert [row["video"] for row in results] == sorted(str(path) for path in clips.glob("*/*.avi"))
    for row in results:
        assert row["label"] in row["video"]
        assert isinstance(row["predicted"], str)
        assert row["verdict"] in VERDICTS
        assert (row["norm"], row["tau"], row["features"], row["radius"]) == ("L2", 1.0, "global", 46.0)
        assert isinstance(row["fmsr_lower"], NUMBER)
        assert isinstance(row["fmsr_upper"], NUMBER) or row["fmsr_upper"] in ("inf", None)
        assert row["fmsr_lower_guarantee"] == "grid"
        assert row["msr_lower_guarantee"] == "continuous"
        assert isinstance(row["msr_upper"], NUMBER) or row["msr_upper"] is None
        assert 0 < row["msr_lower"] <= (row["msr_upper"] or 46)
        assert isinstance(row["points_explored"], int)
        assert 0 < row["points_explored"] <= row["points_total"]
        assert row["seconds"] > 0


def test_bounds_are_decided(results):
    verdicts = {row["verdict"] for row in results}
    assert verdicts == {"solved", "robust"}
    for row in results:
        # Seven flows of two coordinates, each moved up or down: nothing, one of them, or two.
        assert row["points_total"] == 1 + 14 * 2 + math.comb(14, 2) * 2 * 2
        if row["verdict"] == "solved":
            assert 0 < row["fmsr_lower"] == row["fmsr_upper"] <= 46
        else:
            assert (row["fmsr_lower"], row["fmsr_upper"]) == (46.0, "inf")
            # No grid point within the radius, but perhaps a real change between them.
            assert row["msr_upper"] is None or 0 < row["msr_upper"] <= 46
            assert row["points_explored"] == row["points_total"]


def test_upper_bounds_are_replayed_witnesses(home, results):
    join = "JOIN videos v ON v.id = w.video_id WHERE w.replayed"
    witnesses = home.query(f"SELECT v.path, w.cost FROM witnesses w {join}")
    real = home.query(f"SELECT v.path, w.distance FROM real_witnesses w {join}")
    for row in results:
        costs = [witness["cost"] for witness in witnesses if witness["path"] == row["video"]]
        distances = [witness["distance"] for witness in real if witness["path"] == row["video"]]
        assert row["fmsr_upper"] == (math.sqrt(min(costs)) if costs else "inf")
        assert row["msr_upper"] == min([*distances, *(math.sqrt(cost) for cost in costs)], default=None)
        # A grid point is a real change too, and real changes are seldom worse.
        assert row["msr_upper"] is None or row["msr_upper"] <= float(row["fmsr_upper"])
    assert len({row["path"] for row in real}) >= 2


def test_every_route_to_a_lower_bound_has_its_label_and_is_no_lower_than_another_s_claim(home, results):
    routes = home.rows("guarantees")
    for row in results:
        own = {route["route"]: route for route in routes if route["video"] == row["video"]}
        assert own.keys() == {"exploration", "certified radius", "margin / constant", "error bound"}
        labels = {name: route["guarantee"] for name, route in own.items()}
        assert labels["exploration"] == "grid"
        assert labels["certified radius"] == "continuous"
        assert labels["margin / constant"] == "lipschitz:estimated"
        assert own["certified radius"]["lower"] == row["msr_lower"]
        # An estimate of the steepest slope cannot be steeper than what was proved over a ball.
        assert own["margin / constant"]["lower"] > row["msr_lower"]
        assert "premise" in own["error bound"]["remark"]


def test_the_trace_is_monotone_and_ends_at_the_results(home, results):
    moves = home.rows("trace")
    for row in results:
        own = [move for move in moves if move["video"] == row["video"]]
        for one, other in pairwise(own):
            assert one["at"] <= other["at"]
            assert one["fmsr_lower"] <= other["fmsr_lower"]
            assert one["fmsr_upper"] is None or one["fmsr_upper"] >= other["fmsr_upper"]
            assert (one["lower_cost"], one["upper_cost"]) != (other["lower_cost"], other["upper_cost"])
        assert len(own) >= 2
        assert (own[-1]["lower_cost"], own[-1]["upper_cost"]) == (row["lower_cost"], row["upper_cost"])


def test_files_hold_what_the_listing_shows(home, results, tmp_path):
    table, columns, picture = tmp_path / "r.csv", tmp_path / "r.parquet", tmp_path / "r.png"
    for option, file in (("--out", table), ("--out", columns), ("--plot", picture)):
        done = home.flowcert("results", option, file)
        assert done.returncode == 0, done.stderr
    shown = [(row["video"], float(row["fmsr_lower"]), float(row["fmsr_upper"])) for row in results]
    for rows in (csv.DictReader(table.read_text().splitlines()), pq.read_table(columns).to_pylist()):
        assert [(row["video"], float(row["fmsr_lower"]), float(row["fmsr_upper"])) for row in rows] == shown
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")


def test_status_watch_and_workers(home, results):
    (job,) = home.rows("status")
    assert (job["job_id"], job["status"], job["clips"], job["clips_finished"]) == (1, "done", 4, 4)
    assert job["points_explored"] == job["points_needed"] == sum(row["points_explored"] for row in results)
    watched = home.flowcert("watch", 1)
    assert watched.returncode == 0
    assert "job 1 is done" in watched.stderr
    workers = home.rows("workers")
    # The second one may have come too late to show itself.
    assert len(workers) in (1, 2)
    # One prepare, attack, estimate, bound and at least one exploration a clip, each done once.
    assert sum(worker["returned"] for worker in workers) >= 20
    assert all(worker["attempts"] == worker["returned"] for worker in workers)


def test_the_same_command_again_schedules_nothing(home, command, certified, results):
    everything = "SELECT (SELECT count(*) FROM tasks) AS tasks, (SELECT count(*) FROM bound_events) AS moves"
    before = home.query(everything)
    again = home.flowcert(*command)
    assert again.returncode == 0
    assert again.stderr == "job 1: resumed, 0 clips added\n"
    assert again.stdout == certified.stdout
    assert home.query(everything) == before
    assert home.rows("results") == results


def test_every_witness_is_replayed_again_from_its_video(home, certified):
    done = home.flowcert("replay", "--json")
    assert done.returncode == 0, done.stderr
    replayed = json.loads(done.stdout)
    count = "(SELECT count(*) FROM witnesses WHERE replayed) + (SELECT count(*) FROM real_witnesses WHERE replayed)"
    witnesses = [row for row in replayed if row["kind"] in ("grid", "real")]
    assert len(witnesses) == home.query(f"SELECT {count} AS n")[0]["n"]
    assert Counter(row["kind"] for row in replayed) >= Counter(certificate=4, exploration=4, grid=1, real=1)
    for row in replayed:
        assert row["problem"] is None
        if row["margin"] is not None:
            assert row["margin_again"] == pytest.approx(row["margin"], abs=1e-9)
        else:
            # An exploration has no margin of its own; there are points, and the least of them is safe.
            assert row["kind"] == "exploration"
            assert row["points"] > 0
            assert row["margin_again"] > 0


#: The first replayed witness again, found by another task of its clip, with one thing changed.
COPY = """INSERT INTO witnesses (id, video_id, task_id, point, cost, replayed, margin, predicted)
    SELECT {id}, w.video_id, (SELECT max(t.id) - {nth} FROM tasks t WHERE t.video_id = w.video_id),
        {point}, w.cost, true, w.margin, {predicted} FROM witnesses w JOIN videos v ON v.id = w.video_id
    WHERE w.replayed ORDER BY w.id LIMIT 1"""
#: What is told to be wrong, why, and how the database is made to say it and not to say it any more.
WRONG = {
    ("certificate", 1): (
        "the margin is not bounded above zero",
        "UPDATE certificates SET radius = radius * 4 WHERE id = 1",
        "UPDATE certificates SET radius = radius / 4 WHERE id = 1",
    ),
    ("real", 1): (
        "is .* px away, not ",
        "UPDATE real_witnesses SET distance = distance / 2 WHERE id = 1",
        "UPDATE real_witnesses SET distance = distance * 2 WHERE id = 1",
    ),
    ("grid", 1001): (
        "margin .* is not below zero",
        COPY.format(id=1001, nth=0, point="'[[0, 1]]'", predicted="w.predicted"),
        "DELETE FROM witnesses WHERE id = 1001",
    ),
    ("grid", 1002): (
        "predicted as .*, not ",
        COPY.format(id=1002, nth=1, point="w.point", predicted="v.label"),
        "DELETE FROM witnesses WHERE id = 1002",
    ),
}


def test_what_does_not_hold_again_is_named_and_fails_the_command(home, certified):
    refuted = changed_replay(home, *((change, restore) for _, change, restore in WRONG.values()))
    assert {(row["kind"], row["id"]) for row in refuted} == WRONG.keys()
    for row in refuted:
        assert re.search(WRONG[row["kind"], row["id"]][0], row["problem"])


def test_an_exploration_that_passed_over_an_adversarial_point_fails_the_command(home, certified):
    # Results cannot be changed, but the label that they are about can: now the clip itself is adversarial.
    swap = "UPDATE videos SET label = CASE label {} END WHERE path LIKE '%MoveDown%'"
    change, restore = (
        swap.format(f"WHEN '{one}' THEN '{other}' ELSE label")
        for one, other in (("MoveDown", "MoveUp"), ("MoveUp", "MoveDown"))
    )
    refuted = changed_replay(home, (change, restore))
    assert "exploration" in {row["kind"] for row in refuted}
    assert {row["video"] for row in refuted} == {row["video"] for row in refuted if "MoveDown" in row["video"]}
    explorations = [row["problem"] for row in refuted if row["kind"] == "exploration"]
    assert all(re.search(r"is adversarial, at cost \d+$", problem) for problem in explorations)


def changed_replay(home, *changes):
    """What a replay refutes while the database says something else; ``changes`` are made and then undone."""
    with start_stack(home.folder) as stack:
        engine = open_engine(stack.urls.database_url)

        def execute(statements):
            with engine.begin() as connection:
                for statement in statements:
                    assert connection.execute(sa.text(statement)).rowcount >= 1

        execute(change for change, _ in changes)
        try:
            done = home.flowcert("replay", "--subtrees=100", "--json")
        finally:
            execute(restore for _, restore in changes)
            engine.dispose()
    assert done.returncode == 1
    return [row for row in json.loads(done.stdout) if row["problem"] is not None]
