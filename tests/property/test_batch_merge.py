"""Results merged in batches leave the rows that merging one by one leaves, whatever they say and however they come."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from common.celery_app import make_app
from common.game import Game
from common.store.tables import SubtreeRow, Task
from common.vocab import Norm, StopReason, TaskState
from common.wire import Explored, SafePoint
from scheduler import merge
from scheduler.frontier import subtree_of
from scheduler.pace import Pace
from tests.enumeration import points
from tests.rows import SIZES, Desk, witness_at

GAME, RADIUS = Game(SIZES, Norm.L1), 8
CLIPS = 3
#: What a task may say: most results say nothing but that their subtree is safe; the last ones are lies.
TRUE = ("plain", "plain", "plain", "closest", "undecided", "cut short", "witness", "unconfirmed witness")
FALSE = ("too few", "nonsense", "closest outside the game", "not an object", "a level not reached")

#: Everything that merging writes; ids of rows that it creates and times are left out, for no two merges share those.
ROWS = """SELECT json_build_array(
    (SELECT json_agg((t.id, t.state, t.finished_at IS NULL, t.reason) ORDER BY t.id) FROM tasks t),
    (SELECT json_agg((b.*) ORDER BY video_id) FROM bounds b),
    (SELECT json_agg((s.video_id, s.prefix, s.first, s.last, s.floor, s.threshold, s.lower, s.undecided, s.split)
        ORDER BY s.video_id, s.prefix, s.first, s.last, s.split) FROM subtrees s),
    (SELECT json_agg((v.id, v.status, v.verdict, v.reason, v.seconds, v.points_explored, v.points_needed,
        v.closest_point, v.closest_margin, v.finished_at IS NULL) ORDER BY v.id) FROM videos v),
    (SELECT json_agg((w.video_id, w.task_id, w.point, w.cost, w.replayed) ORDER BY w.task_id)
        FROM witnesses w),
    -- A batch is summed up before it is added: the last digits of seconds may differ.
    (SELECT json_agg((w.job_id, w.worker_id, w.kind, w.tasks, w.points, round(w.seconds::numeric, 6))
        ORDER BY w.job_id, w.worker_id, w.kind) FROM work_totals w),
    (SELECT json_build_array(sum(m.tasks), sum(m.points), round(sum(m.seconds)::numeric, 6))
        FROM work_minutes m))::text"""
EVENTS = "SELECT json_agg((e.video_id, e.lower, e.upper) ORDER BY e.id)::text FROM bound_events e"


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    """Three clips of which every task is claimed."""
    made = Desk(engine, database_url, make_app(broker_url, task_seconds=1.0), task_points=5)
    made.submit(*(f"/videos/{number}.avi" for number in range(CLIPS)))
    made.to_explore()
    assert len(made.ready()) >= 5 * CLIPS
    for task in made.ready():
        made.claim(task)
    return made


def document(said: str, row: SubtreeRow, rank: int) -> object:
    """What a task's worker says; ``rank`` tells the tasks' margins apart."""
    listed = [point for point, _ in points(GAME, subtree_of(row), row.floor, lambda: row.threshold)]
    result = Explored(
        stop=StopReason.EXHAUSTED, position=None, explored=len(listed), reached=row.threshold, undecided=None,
        witness=None,
    )  # fmt: skip
    change: dict[str, object] = {}
    found = next(((point, GAME.cost(point)) for point in listed if GAME.cost(point) > row.floor), None)
    match said:
        case "closest" if listed:
            change = {"closest": SafePoint(point=listed[-1], margin=1 + (rank * 7 % 5) + rank / 64)}
        case "closest outside the game":
            change = {"closest": {"point": [[77, 1]], "margin": rank / 1024 + 1e-9}}
        case "undecided":
            change = {"undecided": row.threshold - 1}
        case "cut short" if len(listed) > 1:
            change = {"position": listed[0], "explored": 1, "stop": StopReason.POINTS}
        case "witness" | "unconfirmed witness" if found is not None:
            point, cost = found
            cheaper = sum(GAME.cost(other) < cost for other in listed)
            change = {
                "witness": witness_at(point, replayed=said == "witness"),
                "reached": cost,
                "explored": cheaper + 1,
            }
        case "too few":
            change = {"explored": len(listed) - 1} if listed else {"explored": 1}
        case "nonsense":
            change = {"stop": "nonsense"}
        case "a level not reached":
            change = {"reached": 100}
        case "not an object":
            return [1, 2]
    return {
        **result.model_dump(mode="json"),
        **json.loads(json.dumps(change, default=lambda model: model.model_dump())),
    }


def hand_in(session: Session, said: dict[int, str]) -> None:
    """Append what these tasks say."""
    for rank, (task_id, word) in enumerate(sorted(said.items())):
        task = session.get_one(Task, task_id)
        row = session.get_one(SubtreeRow, task.subtree_id)
        session.execute(
            sa.text(
                "INSERT INTO results (task_id, attempt, worker_id, payload, seconds) VALUES (:t, 1, 'ann', :p, :s)"
            ),
            {"t": task_id, "p": json.dumps(document(word, row, rank)), "s": 0.1 + rank / 8},
        )
    session.expire_all()


def returned(session: Session, tasks: list[int]) -> None:
    session.execute(
        sa.text("UPDATE tasks SET state = 'returned', lease_until = NULL WHERE id = ANY (:ids) AND state = 'leased'"),
        {"ids": tasks},
    )


def merged(desk: Desk, said: dict[int, str], batch: int, order: list[list[int]]) -> tuple[str, str, dict]:
    """Rows, bound events and pace after these results were merged so many at once; nothing of it stays."""
    pace = Pace(10.0)
    merge_batch, merge.BATCH = merge.BATCH, batch
    try:
        with Session(desk.engine, autoflush=False) as session, session.begin() as transaction:
            hand_in(session, said)
            for tasks in order:
                returned(session, tasks)
                while merge.merge_returned(session, pace)[1]:
                    pass
            session.flush()
            rows, events = session.scalar(sa.text(ROWS)), session.scalar(sa.text(EVENTS))
            transaction.rollback()
    finally:
        merge.BATCH = merge_batch
    return rows, events, dict(pace._totals)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_batch_leaves_what_one_by_one_leaves(desk: Desk, data: st.DataObject) -> None:
    tasks = leased(desk)
    liars = data.draw(st.integers(0, 3))
    words = data.draw(st.lists(st.sampled_from(TRUE), min_size=len(tasks), max_size=len(tasks)))
    for at in data.draw(st.lists(st.integers(0, len(tasks) - 1), min_size=liars, max_size=liars)):
        words[at] = data.draw(st.sampled_from(FALSE))
    said = dict(zip(tasks, words, strict=True))
    alone = merged(desk, said, 1, [tasks])
    assert merged(desk, said, 1000, [tasks]) == alone
    assert merged(desk, said, data.draw(st.integers(2, 9)), [tasks]) == alone


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_true_results_leave_the_same_in_any_order(desk: Desk, data: st.DataObject) -> None:
    tasks = leased(desk)
    said = {task: data.draw(st.sampled_from(TRUE)) for task in tasks}
    order = data.draw(st.permutations(tasks))
    alone, _, _ = merged(desk, said, 1, [[task] for task in order])
    together, _, _ = merged(desk, said, 1000, [tasks])
    # The order of a sum shows in its last digits only; by which steps a bound fell may differ, but not how far.
    assert rounded(together) == rounded(alone)


def rounded(rows: str) -> object:
    return json.loads(rows, parse_float=lambda text: round(float(text), 9))


def leased(desk: Desk) -> list[int]:
    with Session(desk.engine) as session:
        return list(session.scalars(sa.select(Task.id).where(Task.state == TaskState.LEASED).order_by(Task.id)))


def test_every_kind_of_result_does_what_it_is_here_for(desk: Desk) -> None:
    tasks = leased(desk)
    assert len(tasks) >= len(TRUE) + len(FALSE)
    with Session(desk.engine) as session:
        of_clip = {task: session.get_one(Task, task).video_id for task in tasks}
    for word in FALSE:
        rows = json.loads(merged(desk, {tasks[0]: word}, 1000, [tasks[:1]])[0])
        assert [video["f2"] for video in rows[3]].count("failed") == 1, word
        assert {state["f2"] for state in rows[0] if of_clip.get(state["f1"]) == of_clip[tasks[0]]} <= {
            "merged",
            "cancelled",
        }
    plain = json.loads(merged(desk, dict.fromkeys(tasks, "plain"), 1000, [tasks])[0])
    assert {state["f2"] for state in plain[0]} == {"merged"}
    assert all(video["f6"] > 0 for video in plain[3])
