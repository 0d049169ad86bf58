"""Who may work on what: workers of another version on nothing, hosts without a job's files on none of its tasks."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.errors import SchemaError
from common.program import program_digest
from common.store.engine import open_worker_engine
from common.vocab import Verdict, VideoStatus
from common.wire import WorkerInfo
from migrations.schema import require_program, upgrade
from scheduler.announce import choose
from scheduler.reap import reap
from tests.rows import Desk, attacked, prepared
from worker.store import WorkerStore

WRONG = "weights: /none.pt: has SHA-256 beef, but the job was submitted with cafe"
HERE = WorkerInfo(host="test", pid=1, device="cpu", versions={})
OLDER = HERE.model_copy(update={"program": "0" * 64})


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    """A scheduler and two workers, Ann and Bob, on a fresh database."""
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


def test_a_worker_of_another_version_is_given_nothing_and_told_so(desk: Desk) -> None:
    desk.submit()
    desk.round()
    (task,) = desk.ready()
    old = WorkerStore(desk.engine, "old", 60.0)
    assert not old.beat(OLDER, None, None).current
    assert old.claim(task) is None
    assert desk.bob.beat(HERE, None, None).current
    assert desk.bob.claim(task) is not None


def test_a_worker_at_work_during_an_upgrade_may_append_and_then_claims_no_more(desk: Desk) -> None:
    desk.submit()
    desk.round()
    claim = desk.claim()
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_objects SET program = 'newer'"))
    assert not desk.ann.beat(HERE, claim.task, claim.attempt).current
    # What it computed is as true as what it appended a second before.
    assert desk.ann.append(claim, prepared(), 0.5) == "accepted"
    desk.round()
    assert desk.ann.claim(desk.ready()[0]) is None


def test_another_version_is_refused_at_the_start_until_an_upgrade_changes_over(engine: sa.Engine) -> None:
    require_program(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_objects SET program = repeat('e', 64)"))
    told = (
        rf"is set up for version e{{12}} of the program, and this is {program_digest()[:12]}.*run: flowcert db upgrade"
    )
    with pytest.raises(SchemaError, match=told):
        require_program(engine)
    # A command that looks at servers which another process owns stops nobody at work there.
    upgrade(engine, program=False)
    with pytest.raises(SchemaError, match=told):
        require_program(engine)
    upgrade(engine)
    require_program(engine)


def test_the_version_follows_the_sources(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "worker"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Another worker."""\n')
    monkeypatch.setattr("common.program._PACKAGES", ("elsewhere",))
    (tmp_path / "elsewhere").mkdir()
    source = tmp_path / "elsewhere" / "__init__.py"
    source.write_text("raise RuntimeError('imported')\n")
    before = program_digest()
    assert before == program_digest()
    source.write_text("raise RuntimeError('imported!')\n")
    changed = program_digest()
    (tmp_path / "elsewhere" / "more.py").write_text("")
    assert len({before, changed, program_digest()}) == 3


def test_a_host_without_the_jobs_files_hands_its_task_to_others_and_gets_none_of_that_job(desk: Desk) -> None:
    bad = desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.submit("/videos/c.avi", dataset="/other")
    desk.round()
    claim = desk.claim()
    desk.ann.refuse(claim, WRONG)
    desk.ann.refuse(claim, WRONG)
    assert desk.rows("SELECT outcome, reason FROM attempts") == [("refused", WRONG)]
    assert desk.rows(f"SELECT state, announced_at FROM tasks WHERE id = {claim.task}") == [("ready", None)]
    desk.round()
    other = desk.ann.claim(claim.task)
    assert other.spec.dataset == "/other"
    assert desk.ann.claim(claim.task) is None
    for _ in range(2):
        taken = desk.bob.claim(claim.task)
        assert desk.rows(
            f"SELECT v.job_id FROM videos v JOIN tasks t ON t.video_id = v.id WHERE t.id = {taken.task}"
        ) == [(bad,)]
        assert desk.bob.append(taken, prepared(), 0.1) == "accepted"


def test_a_result_that_comes_after_all_is_taken(desk: Desk) -> None:
    desk.submit()
    desk.round()
    first = desk.claim(store=desk.doomed)
    desk.round()
    second = desk.claim(store=desk.bob)
    desk.ann.refuse(first, WRONG)
    assert desk.rows(f"SELECT state, worker_id FROM tasks WHERE id = {second.task}") == [("leased", "bob")]
    assert desk.bob.append(second, prepared(), 0.1) == "accepted"


def test_a_job_that_no_live_worker_can_do_fails_with_the_reason_and_another_goes_on(desk: Desk) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.submit("/videos/c.avi", dataset="/other")
    desk.round()
    desk.ann.refuse(desk.claim(), WRONG)
    desk.round()
    assert desk.video("/videos/a.avi").status == VideoStatus.PENDING
    desk.bob.refuse(desk.claim(store=desk.bob), WRONG)
    desk.round()
    for path in ("/videos/a.avi", "/videos/b.avi"):
        video = desk.video(path)
        assert video.verdict == Verdict.FAILED
        assert video.reason == (
            f"no live worker can do it; the last said: {WRONG}; put the job's file there, and start that worker again"
        )
    (task,) = desk.ready()
    assert desk.ann.append(desk.claim(task), prepared(), 0.1) == "accepted"
    desk.round()
    assert desk.claim().kind == "attack"


def test_the_only_worker_that_refuses_fails_the_job_at_once(desk: Desk) -> None:
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE workers SET seen_at = now() - interval '1 h' WHERE id = 'bob'"))
    desk.submit()
    desk.round()
    desk.ann.refuse(desk.claim(), WRONG)
    desk.round()
    assert desk.video().verdict == Verdict.FAILED
    assert WRONG in desk.video().reason


def test_as_many_refusals_as_attempts_are_allowed_fail_the_clip(desk: Desk, database_url: str) -> None:
    stores = [WorkerStore(open_worker_engine(database_url), f"worker{n}", 600.0) for n in range(4)]
    for store in stores:
        store.beat(HERE, None, None)
    desk.submit()
    desk.round()
    # A fault of the clip's own does not count with those of hosts.
    desk.ann.give_up(desk.claim(), "RuntimeError: unlucky", final=False)
    for store in stores[:2]:
        desk.round()
        store.refuse(desk.claim(store=store), WRONG)
    desk.round()
    assert desk.video().status == VideoStatus.PENDING
    stores[2].refuse(desk.claim(store=stores[2]), WRONG)
    desk.round()
    assert desk.video().reason == f"gave up after 4 attempts; the last: {WRONG}"


def test_an_idle_worker_is_told_of_a_task_whose_message_nobody_answered(desk: Desk) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.round()
    first, second = desk.ready()
    assert desk.ann.beat(HERE, None, None).waiting is None
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE tasks SET announced_at = now() - interval '11 s'"))
    assert desk.ann.beat(HERE, None, None).waiting == first
    claim = desk.claim(first)
    assert desk.ann.beat(HERE, claim.task, claim.attempt).waiting is None
    assert desk.bob.beat(HERE, None, None).waiting == second


def test_what_a_dead_worker_leaves_is_announced_though_the_window_is_full(desk: Desk) -> None:
    desk.submit(*(f"/videos/{n}.avi" for n in range(8)))
    with sa.orm.Session(desk.engine) as session, session.begin():
        ids = choose(session, 2, 3, desk.pace.shares)
    assert len(ids) == 6
    desk.claim(ids[0], desk.ann)
    lost = desk.claim(ids[1], desk.doomed).task
    with sa.orm.Session(desk.engine) as session, session.begin():
        reap(session, 3, 60.0)
        # One worker of two is gone, and its window with it.
        assert choose(session, 1, 3, desk.pace.shares) == [lost]
        assert choose(session, 1, 3, desk.pace.shares) == []


@pytest.mark.parametrize("foreign", ["another clip's", "another job's", "one that is over", "one that never was"])
def test_a_result_for_a_task_that_the_worker_never_claimed_is_refused(desk: Desk, foreign: str) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.submit("/videos/c.avi", dataset="/other")
    desk.round()
    mine, same_job, other_job = desk.ready()
    claim = desk.claim(mine)
    over = desk.claim(same_job, desk.bob)
    desk.bob.append(over, prepared(), 0.1)
    task = {"another clip's": over.task, "another job's": other_job, "one that is over": over.task}.get(foreign, 10**6)
    if foreign == "one that is over":
        desk.round()
    before = desk.rows("SELECT id, state FROM tasks ORDER BY id")
    for end in (
        lambda: desk.ann.append(claim.model_copy(update={"task": task}), attacked(), 0.1),
        lambda: desk.ann.give_up(claim.model_copy(update={"task": task}), "broken", final=True),
        lambda: desk.ann.refuse(claim.model_copy(update={"task": task}), "wrong"),
    ):
        with pytest.raises(sa.exc.DBAPIError, match=f"task {task} has no attempt 1 by worker ann"):
            end()
    assert desk.rows("SELECT id, state FROM tasks ORDER BY id") == before
    assert desk.ann.append(claim, prepared(), 0.1) == "accepted"
