"""What a worker's login may write cannot stop the scheduler, nor keep other clips, views or reports from going on."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.store.engine import open_worker_engine
from scheduler.report.rows import job_worker_rows
from tests.rows import Desk, attacked, prepared, witness_at

APPEND = sa.text("SELECT worker_append(:task, :attempt, 'ann', CAST(:payload AS jsonb), :seconds, NULL, false)")
BEAT = sa.text("SELECT worker_beat('bad', CAST(:info AS jsonb), NULL, NULL, 60)")
REFUSE = sa.text("SELECT worker_refuse(:task, :attempt, 'ann', :reason)")
DEEP = "[" * 3000 + "]" * 3000
LONG = "1" * 100_000
PREPARED = prepared().model_dump_json()


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    """Two clips, each with a task that Ann is to prepare."""
    desk = Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.round()
    return desk


@pytest.fixture
def say(database_url: str) -> Any:
    """Execute a statement as a worker's login."""
    engine = open_worker_engine(database_url)

    def said(statement: sa.TextClause, **given: Any) -> None:
        with engine.begin() as connection:
            connection.execute(statement, given)

    yield said
    engine.dispose()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (DEEP, "result: input should be a valid dictionary"),
        (LONG, "result: input should be a valid dictionary"),
        ("null", "result: input should be a valid dictionary"),
        (PREPARED.replace("1.0", LONG), "margin: input should be a finite number"),
        # Python 3.13 reads what is nested this deeply.
        (
            PREPARED.replace("1.0", DEEP),
            ("result: input should be a valid dictionary", "margin: input should be a valid"),
        ),
        (PREPARED.replace("[[2,1]]", f"[[{LONG},1]]"), "region_sizes.0.0.0: input should be"),
        (PREPARED.replace("[[2,1]]", "[[1,1048576]]"), "a worker reports 2 flows of up to 1048576 pixels"),
        (PREPARED.replace('"walk"', '"w\\u001b[31m"'), r"predicted: has unprintable characters (given: 'w\x1b[31m')"),
    ],
    ids=range(8),
)
def test_a_document_that_is_no_result_fails_its_clip_alone(
    desk: Desk, say: Any, payload: str, reason: str | tuple[str, ...]
) -> None:
    assert payload != PREPARED
    bad, good = (desk.claim(task) for task in desk.ready())
    say(APPEND, task=bad.task, attempt=bad.attempt, payload=payload, seconds=0.5)
    desk.ann.append(good, prepared(), 0.5)
    desk.round()
    assert desk.video(bad.video).verdict == "failed"
    assert desk.video(bad.video).reason.startswith(reason)
    assert len(desk.video(bad.video).reason) < 1000
    assert desk.video(good.video).status == "prepared"


def test_times_that_no_sum_has_room_for_are_not_taken(desk: Desk, say: Any) -> None:
    claim = desk.claim()
    with pytest.raises(sa.exc.IntegrityError, match=r"took 1e\+308 seconds"):
        say(APPEND, task=claim.task, attempt=claim.attempt, payload=PREPARED, seconds=1e308)
    desk.ann.append(claim, prepared(), 1e9)
    desk.round()
    assert desk.video(claim.video).seconds == 1e9


def test_a_long_result_is_read_by_itself(desk: Desk, say: Any) -> None:
    for task in desk.ready():
        desk.ann.append(desk.claim(task), prepared(), 0.5)
    desk.round()
    for task in desk.ready():
        desk.ann.append(desk.claim(task), attacked(witness_at(((0, 1),))), 0.5)
    desk.round()
    first, *others = (desk.claim(task) for task in desk.ready())
    spaces = '{"stop": "' + "x" * 70_000 + '"}'
    say(APPEND, task=first.task, attempt=first.attempt, payload=spaces, seconds=0.5)
    desk.round()
    assert desk.video(first.video).reason.startswith("stop: input should be")
    assert {desk.video(claim.video).verdict for claim in others if claim.video != first.video} <= {"open", "solved"}


INFO = '{"host": "h", "pid": 1, "device": "cpu", "versions": {"torch": "2"}}'


@pytest.mark.parametrize(
    "info",
    [
        "[]", DEEP, LONG, "null", INFO.replace("1,", '"x",'), INFO.replace("1,", LONG[:5000] + ","),
        INFO.replace('"h"', "[]"),
        INFO.replace('{"torch": "2"}', '{"matmul_tf32": "perhaps"}'), INFO.replace('{"torch": "2"}', "7"),
        INFO.replace('"2"', "[[[[1]]]]"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_worker_that_says_nonsense_of_itself_is_not_listed(desk: Desk, say: Any, info: str) -> None:
    say(BEAT, info=INFO.replace('"h"', '"\\u001b[31m"'))
    with pytest.raises((sa.exc.IntegrityError, sa.exc.OperationalError)):
        say(BEAT, info=info)
    assert desk.rows("SELECT worker FROM worker_activity WHERE worker = 'bad'") == [("bad",)]
    desk.rows("SELECT * FROM attempt_devices")
    job_worker_rows(desk.engine, 1)


def test_a_reason_is_kept_as_far_as_anybody_reads_it(desk: Desk, say: Any) -> None:
    claim = desk.claim()
    say(REFUSE, task=claim.task, attempt=claim.attempt, reason="x" * 100_000)
    assert desk.rows("SELECT length(t.reason), length(a.reason) FROM tasks t JOIN attempts a ON a.task_id = t.id") == [
        (4000, 4000)
    ]
