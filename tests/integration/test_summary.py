"""What a job says as a whole, on clips of every verdict: each number is worked out by hand."""

from __future__ import annotations

import csv
import json
from math import inf, sqrt
from pathlib import Path

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.vocab import TaskKind
from common.wire import Attacked, Bounded, Claim, Explored, Prepared
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from scheduler.report.rows import share_rows
from tests.rows import Desk, attacked, bounded, honest, make_spec, prepared, real_witness, witness_at

#: Of frames 3, height 8 and width 8: two flows of 64 pixels and two axes, 256 entries. Displacements of 0.25, 0.5, 1
#: and 2 px are 64, 128, 256 and 512 px in L1, and 4, 8, 16 and 32 px in L2.
LABELS = {"a": "walk", "b": "walk", "c": "walk", "d": "run", "e": "run", "f": "run", "g": "run"}
#: What the constant 1/5 gives for a margin of 1, rounded down as the view does.
WITHIN = 5 * (1 - 1e-9)


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


def hand_in(desk: Desk, names: str, **changes: str | bool) -> int:
    """Submit clips of these names with their labels."""
    clips = [FoundClip(LABELS[name], f"/videos/{name}.avi") for name in names]
    job = submit(desk.engine, make_spec(**changes), clips, 1_000_000).job_id
    desk.pace.sizes[job] = desk.task_points
    return job


def found(claim: Claim, norm: str) -> Prepared | Attacked | Bounded | Explored | None:
    """What becomes of each clip: a solved, b robust, c misclassified, d and e open, f failed, g not begun."""
    name = Path(claim.video).stem
    if claim.kind == TaskKind.PREPARE:
        predicted = {"a": "walk", "b": "walk", "c": "run", "d": "run", "e": "run"}.get(name)
        return None if predicted is None else prepared(predicted=predicted, clip_digest=name * 64)
    if claim.kind == TaskKind.ATTACK:
        grid = {"a": ((2, 2),), "d": ((0, 5),)}.get(name)
        real = real_witness((0, 5.0), norm=norm) if name == "e" else None
        return attacked(None if grid is None else witness_at(grid, norm=norm), real)
    if claim.kind == TaskKind.BOUND:
        return bounded({"a": 1.5, "b": 4.0, "d": 0.0, "e": 0.5}[name])
    if name == "e" and claim.floor <= 16 < claim.threshold:  # A point of cost 16 is too close to call.
        return honest(claim).model_copy(update={"undecided": 16})
    return honest(claim, lambda point: name == "a" and point == ((2, 2),)) if name in "abe" else None


def work(desk: Desk, norm: str) -> None:
    """Answer every task that has an answer; each answer takes a worker half a second."""
    answered = True
    while answered:
        answered = False
        desk.round()
        for task in desk.ready():
            claim = desk.claim(task)
            result = found(claim, norm)
            if result is not None:
                desk.ann.append(claim, result, 0.5)
                answered = True
            elif "/f." in claim.video:
                desk.ann.give_up(claim, f"{claim.video}: is empty", final=True)
                answered = True


def shares(desk: Desk, job: int) -> dict[tuple[str, str], list[tuple]]:
    """Certified, below and unknown clips at each displacement."""
    listed: dict[tuple[str, str], list[tuple]] = {}
    for row in share_rows(desk.engine, job):
        counts = (row["certified"], row["below"], row["unknown"])
        assert sum(counts) == row["evaluated"]
        assert row["share"] == row["certified"] / row["evaluated"]
        listed.setdefault((row["measure"], row["guarantee"]), []).append(counts)
    return listed


@pytest.fixture
def job(desk: Desk) -> int:
    """A job in L2 of all seven clips, which asks for every guarantee."""
    made = hand_in(desk, "abcdefg", norm="L2", radius="8", continuous=True, lipschitz="0.2")
    work(desk, "L2")
    return made


@pytest.fixture
def shown(flowcert):
    """Run a command that must succeed; returns standard output."""

    def run(*arguments):
        status, said, notes = flowcert(*arguments)
        assert status == 0, notes
        return said

    return run


def test_the_clips_are_what_the_tests_below_take_them_for(desk: Desk, job: int) -> None:
    known = desk.rows(
        "SELECT verdict, fmsr_lower, fmsr_upper, certified_radius, constant_lower, constant_refuted, msr_upper"
        " FROM video_bounds ORDER BY video"
    )
    assert known == [
        ("solved", sqrt(12), sqrt(12), 1.5, None, True, sqrt(12)),
        ("robust", 8, inf, 4, pytest.approx(WITHIN), None, None),
        ("misclassified", None, None, None, None, None, None),
        ("open", 0, sqrt(50), None, pytest.approx(WITHIN), False, sqrt(50)),
        ("open", 4, None, 0.5, pytest.approx(WITHIN), False, pytest.approx(sqrt(50))),
        ("failed", None, None, None, None, None, None),
        ("open", None, None, None, None, None, None),
    ]


def test_certified_shares_count_misclassified_clips_and_nothing_beyond_the_radius(desk: Desk, job: int) -> None:
    rows = share_rows(desk.engine, job)
    assert [(row["displacement"], row["distance"], row["beyond_radius"]) for row in rows[:4]] == [
        (0.25, 4, False), (0.5, 8, False), (1, 16, True), (2, 32, True),
    ]  # fmt: skip
    assert shares(desk, job) == {
        # Lower bounds 3.46, 8, 0 and 4; c is misclassified; a and d have witnesses 3.46 and 7.07 px away.
        ("FMSR", "grid"): [(2, 2, 1), (1, 3, 1), (0, 3, 2), (0, 3, 2)],
        # 1.5, 4, none and 0.5; e has a real witness 7.07 px away.
        ("MSR", "continuous"): [(1, 2, 2), (0, 4, 1), (0, 4, 1), (0, 4, 1)],
        # 5 each, but for a, whose witness refutes the constant.
        ("MSR", "lipschitz:assumed"): [(3, 2, 0), (0, 4, 1), (0, 4, 1), (0, 4, 1)],
    }


def test_a_displacement_is_mean_absolute_in_l1(desk: Desk) -> None:
    job = hand_in(desk, "abc", norm="L1", tau="8", radius="130")
    work(desk, "L1")
    # One step of a is 3 entries by 8 px, two are 48 px; b is robust within 130 px, and 256 px are beyond.
    assert desk.rows("SELECT verdict, fmsr_lower FROM video_bounds ORDER BY video") == [
        ("solved", 48), ("robust", 130), ("misclassified", None),
    ]  # fmt: skip
    assert shares(desk, job) == {("FMSR", "grid"): [(1, 2, 0), (1, 2, 0), (0, 2, 1), (0, 2, 1)]}
    assert [row["distance"] for row in share_rows(desk.engine, job)] == [64, 128, 256, 512]


def test_a_displacement_is_the_greatest_in_linf(desk: Desk) -> None:
    job = hand_in(desk, "abc", norm="Linf", tau="0.25", radius="1")
    work(desk, "Linf")
    # Two steps of a are 0.5 px: as far as the bound that it reaches.
    assert desk.rows("SELECT verdict, fmsr_lower FROM video_bounds ORDER BY video") == [
        ("solved", 0.5), ("robust", 1), ("misclassified", None),
    ]  # fmt: skip
    assert shares(desk, job) == {("FMSR", "grid"): [(2, 1, 0), (2, 1, 0), (1, 2, 0), (0, 2, 1)]}
    assert [row["distance"] for row in share_rows(desk.engine, job)] == [0.25, 0.5, 1, 2]


def test_a_guided_search_has_its_own_label(desk: Desk) -> None:
    hand_in(desk, "g", lipschitz="estimated", heuristic=True)
    labels = desk.rows("SELECT DISTINCT measure, guarantee FROM certified_share ORDER BY 1")
    assert labels == [("FMSR", "lipschitz:estimated"), ("MSR", "lipschitz:estimated")]
    assert desk.rows("SELECT DISTINCT evaluated, certified, share FROM certified_share") == [(0, 0, None)]


def test_medians_of_classes_and_of_all_clips(desk: Desk, job: int) -> None:
    counts = "clips, evaluated, correct, solved, robust, open, misclassified, failed, not_evaluated"
    query = f"SELECT label, {counts} FROM class_robustness ORDER BY label NULLS FIRST"
    assert desk.rows(query) == [
        (None, 7, 5, 4, 1, 1, 2, 1, 1, 1),
        ("run", 4, 2, 2, 0, 0, 2, 0, 1, 1),
        ("walk", 3, 3, 2, 1, 1, 0, 1, 0, 0),
    ]
    medians = "fmsr_lower, fmsr_upper, certified_radius, constant_lower, msr_upper, ratio"
    named = ", ".join(f"{name}_median" for name in medians.split(", "))
    query = f"SELECT {named}, ratio_clips FROM class_robustness ORDER BY label NULLS FIRST"
    assert desk.rows(query) == [
        pytest.approx(row)
        for row in [
            # Of 0, 3.46, 4, 8; of 3.46, 7.07 and twice infinity; of 0, 0.5, 1.5, 4; of 0 and three times 5; of 3.46,
            # 7.07, 7.07 and infinity. Only a has two bounds, which are equal.
            ((sqrt(12) + 4) / 2, inf, 1.0, WITHIN, sqrt(50), 1, 1),
            (2, inf, 0.25, WITHIN, sqrt(50), None, 0),
            ((sqrt(12) + 8) / 2, inf, 2.75, WITHIN / 2, inf, 1, 1),
        ]
    ]
    # Half a second for each task: of a prepare, attack, bound and one exploration or more.
    seconds = dict(desk.rows("SELECT path, seconds FROM videos WHERE path < '/videos/f'"))
    listed = sorted(seconds.values())
    assert listed[0] == 0.5
    (known,) = desk.rows("SELECT seconds_mean, seconds_median FROM class_robustness WHERE label IS NULL")
    assert known == (sum(listed) / 5, listed[2])


def test_the_summary_as_json(shown, job):
    read = json.loads(shown("summary", job, "--json"), parse_constant=pytest.fail)
    assert (read["job_id"], read["norm"], read["radius"], read["entries"]) == (job, "L2", 8, 256)
    assert (read["clips"], read["evaluated"], read["correct"], read["accuracy"]) == (7, 5, 4, 0.8)
    assert (read["solved_share"], read["robust_share"], read["misclassified_share"]) == (0.2, 0.2, 0.2)
    assert (read["failed"], read["not_evaluated"]) == (1, 1)
    assert read["failed_clips"] == [{"video": "/videos/f.avi", "reason": "/videos/f.avi: is empty"}]
    assert (read["ratio_median"], read["ratio_clips"], read["ratio_left_out"]) == (1, 1, 3)
    assert read["displacements_beyond_radius"] == 2
    assert read["fmsr_upper_median"] == "inf"
    assert [row["label"] for row in read["classes"]] == ["run", "walk"]
    assert len(read["certified_share"]) == 12
    assert read["bootstrap"] == {"groups": 5, "resamples": 10_000, "seed": 20_200, "confidence": 0.95}
    means = [(row["measure"], row["guarantee"], row["lower"]["mean"], row["upper"]["mean"]) for row in read["expected"]]
    upper = (sqrt(12) + 8 + 2 * sqrt(50)) / 5
    assert means == [
        ("FMSR", "grid", pytest.approx((sqrt(12) + 8 + 0 + 4) / 5), pytest.approx((sqrt(12) + 8 + sqrt(50) + 8) / 5)),
        ("MSR", "continuous", pytest.approx((1.5 + 4 + 0 + 0.5) / 5), pytest.approx(upper)),
        ("MSR", "lipschitz:assumed", pytest.approx(3 * WITHIN / 5), pytest.approx(upper)),
    ]
    for row in read["expected"]:
        for side in ("lower", "upper"):
            assert 0 <= row[side]["low"] < row[side]["mean"] < row[side]["high"] <= 8


def test_the_summary_as_tables_and_as_a_file(shown, job, tmp_path):
    output = shown("summary")
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "correct (accuracy) 4 of 5 (80.0 %)" in lines
    assert "robust 1 of 5 (20.0 %)" in lines
    assert "failed, counted apart 1" in lines
    assert "failed: videos/f.avi: is empty" in lines
    assert "FMSR grid 2 of 5 (40.0 %) 1 of 5 (20.0 %) 0 of 5 (0.0 %) 0 of 5 (0.0 %)" in lines
    assert "2 of 4 displacements lie beyond the radius" in output
    assert "all classes 7 1 4 1 1 3.732 .. ∞ 1 4.999 7.072 1 (1) 4.0" in lines
    assert "leaves out 3 of 4 clips" in output
    assert "percentile bootstrap over their 5 groups, 10,000 resamples, seed 20200" in " ".join(output.split())

    table = tmp_path / "summary.csv"
    assert shown("summary", "--csv", table) == ""
    rows = list(csv.DictReader(table.read_text().splitlines()))
    kept = [
        (row["class"], row["measure"], row["displacement"], row["value"], row["count"], row["of"])
        for row in rows
        if row["quantity"] in ("accuracy", "certified share") and row["displacement"] in ("", "0.25")
    ]
    assert kept == [
        ("", "", "", "0.8", "4", "5"), ("run", "", "", "1.0", "2", "2"), ("walk", "", "", str(2 / 3), "2", "3"),
        ("", "FMSR", "0.25", "0.4", "2", "5"), ("", "MSR", "0.25", "0.2", "1", "5"),
        ("", "MSR", "0.25", "0.6", "3", "5"),
    ]  # fmt: skip
    assert {(row["quantity"], row["groups"]) for row in rows if row["low"] or row["groups"]} == {
        ("expected lower", "5"), ("expected upper", "5"),
    }  # fmt: skip


def test_a_job_of_which_nothing_is_known_yet(shown, desk):
    job = hand_in(desk, "g")
    output = shown("summary", job)
    assert "not evaluated yet" in output
    assert "0 of 0" in output
    read = json.loads(shown("summary", job, "--json"))
    assert (read["accuracy"], read["expected"], read["fmsr_lower_median"]) == (None, [], None)


def test_the_median_of_known_values(desk: Desk) -> None:
    def median(values: str) -> float | None:
        return desk.rows(f"SELECT median(ARRAY[{values}]::double precision[])")[0][0]

    assert [median(values) for values in ("3", "1, 5, 2", "4, 1, 2, 8", "2, NULL, 6")] == [3, 2, 3, 4]
    assert (median("1, 'inf'"), median("'inf', 'inf'"), median("1, 2, 'inf'")) == (inf, inf, 2)
    assert median("") is None
    assert median("NULL") is None
