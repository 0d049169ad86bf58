"""Who is served first, who waits, and what is handed in: priorities, shares, pauses, cancels, budgets of time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from common.celery_app import make_app
from common.errors import InputError
from common.settings import Settings
from common.store.tables import Video
from common.vocab import StopReason, Verdict
from common.wire import Claim, Explored, Outcome, WorkerInfo
from scheduler import announce
from scheduler.intake import FoundClip, Terms, cancel, pause, prioritise, resume, submit
from tests.rows import Desk, attacked, honest, make_spec, prepared, witness_at

INFO = WorkerInfo(host="test", pid=1, device="cpu", versions={})


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    """A scheduler and two workers on a fresh database; six tasks are announced or running at once."""
    made = Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))
    made.settings = Settings(window=3)
    return made


def hand_in(desk: Desk, name: str, clips: int = 1, budget: int = 1_000_000, **terms: float) -> int:
    """Submit a job of clips of its own; returns its id."""
    found = [FoundClip("walk", f"/{name}/{number:05}.avi") for number in range(clips)]
    job = submit(desk.engine, make_spec(dataset=f"/{name}"), found, budget, Terms(**terms)).job_id
    desk.pace.sizes[job] = desk.task_points
    return job


def announced(desk: Desk) -> list[int]:
    """Tasks that were announced and not claimed, in the order of their messages."""
    waiting = "SELECT id FROM tasks WHERE state = 'ready' AND announced_at IS NOT NULL ORDER BY announced_at, id"
    return [task for (task,) in desk.rows(waiting)]


def job_of(desk: Desk, task: int) -> int:
    return desk.rows(f"SELECT job_id FROM tasks WHERE id = {task}")[0][0]


def answer(claim: Claim) -> Outcome:
    """The honest result of any task of a game without adversarial points."""
    if claim.kind == "prepare":
        return prepared()
    return attacked() if claim.kind == "attack" else honest(claim)


def messages(broker_url: str) -> int:
    path = broker_url.removeprefix("redis+socket://").partition("?")[0]
    with redis.Redis(unix_socket_path=path) as client:
        return client.llen("flowcert")


def cut(claim: Claim, stop: StopReason = StopReason.RECALLED, points: int = 10) -> Explored:
    """An exploration that ended after some points."""
    from tests.enumeration import points as listed
    from tests.integration.test_merge import GAME

    seen = [point for point, _ in listed(GAME, claim.subtree(), claim.floor, lambda: claim.threshold)][:points]
    return Explored(
        stop=stop, position=seen[-1], explored=len(seen), reached=claim.threshold, undecided=None, witness=None
    )


def test_a_higher_priority_takes_the_places_of_a_lower_one_without_more_messages(desk: Desk, broker_url: str) -> None:
    low = hand_in(desk, "low", 20)
    desk.round()
    before = announced(desk)
    assert len(before) == messages(broker_url) == 6
    high = hand_in(desk, "high", 4, priority=1)
    desk.round()
    assert Counter(job_of(desk, task) for task in announced(desk)) == {high: 4, low: 2}
    assert messages(broker_url) == 6
    # Each message brings its worker to the higher job, whatever task it names.
    assert [job_of(desk, desk.claim(task).task) for task in before] == [high] * 4 + [low] * 2
    assert desk.rows("SELECT DISTINCT job_id FROM tasks WHERE state = 'ready'") == [(low,)]


def test_a_job_that_begins_in_the_midst_of_a_round_is_served_by_the_next(desk: Desk) -> None:
    first = hand_in(desk, "first", 2)
    begun: list[int] = []

    def begin_another(old: Callable[..., Any], *args: object) -> Any:
        begun.append(hand_in(desk, "second", 2))
        return old(*args)

    with pytest.MonkeyPatch.context() as patch:
        # Just after the priorities of running jobs were read.
        patch.setattr(announce, "_waiting", partial(begin_another, announce._waiting))
        desk.round()
    assert {job_of(desk, task) for task in announced(desk)} == {first}
    desk.round()
    assert Counter(job_of(desk, task) for task in announced(desk)) == {first: 2, begun[0]: 2}


def test_a_lower_priority_gets_what_the_higher_one_leaves(desk: Desk) -> None:
    low, high = hand_in(desk, "low", 8), hand_in(desk, "high", 2, priority=3)
    served: list[int] = []
    while desk.rows("SELECT 1 FROM jobs WHERE status = 'running'"):
        desk.round()
        for task in announced(desk):
            claim = desk.ann.claim(task)
            if claim is not None:
                # A task of the lower job is given only when none of the higher one is ready.
                if job_of(desk, claim.task) == low:
                    assert not desk.rows(f"SELECT 1 FROM tasks WHERE state = 'ready' AND job_id = {high}")
                served.append(job_of(desk, claim.task))
                desk.ann.append(claim, answer(claim), 1.0)
    assert set(served) == {low, high}
    assert desk.rows("SELECT DISTINCT verdict FROM videos") == [("robust",)]


def test_a_priority_given_later_counts_from_the_next_round(desk: Desk) -> None:
    first, second = hand_in(desk, "first", 20), hand_in(desk, "second", 20)
    desk.round()
    assert Counter(job_of(desk, task) for task in announced(desk)) == {first: 3, second: 3}
    assert prioritise(desk.engine, second, -2) == 0
    desk.round()
    assert {job_of(desk, task) for task in announced(desk)} == {first}
    # A repeated submit gives another one, or leaves it as it is.
    assert hand_in(desk, "second", 20) == second
    assert desk.rows(f"SELECT priority FROM jobs WHERE id = {second}") == [(-2,)]
    assert hand_in(desk, "second", 20, priority=4) == second
    desk.round()
    assert {job_of(desk, task) for task in announced(desk)} == {second}
    with pytest.raises(InputError, match="job 77: does not exist"):
        prioritise(desk.engine, 77, 1)


def work(desk: Desk, seconds: Callable[[Claim], float], until: Callable[[], object]) -> Counter[int]:
    """Let two workers answer messages in turn, three a round; returns the worker time each job has had."""
    received: Counter[int] = Counter()
    while not until():
        desk.round()
        for task, store in zip(announced(desk), (desk.ann, desk.bob, desk.ann), strict=False):
            claim = store.claim(task)
            if claim is not None:
                received[job_of(desk, claim.task)] += seconds(claim)
                store.append(claim, answer(claim), seconds(claim))
    return received


def test_one_clip_is_done_while_a_job_of_thousands_submitted_before_it_runs(desk: Desk) -> None:
    large = hand_in(desk, "large", 13_320)
    desk.round()
    small = hand_in(desk, "small", 1)
    done = f"SELECT 1 FROM jobs WHERE id = {small} AND status = 'done'"
    loaded: list[object] = []
    sa.event.listen(Video, "load", lambda video, _: loaded.append(video))
    received = work(desk, lambda _: 1.0, lambda: desk.rows(done))
    # Its tasks come one after the other, and none waits for more than what is announced at once.
    assert received[large] <= 6 * received[small]
    assert desk.rows(f"SELECT verdict FROM videos WHERE job_id = {small}") == [("robust",)]
    assert desk.rows(f"SELECT count(*) FROM videos WHERE job_id = {large} AND prepared_at IS NULL")[0][0] > 13_250
    # Rounds loaded the clips they dealt with, not those that wait.
    assert len(loaded) < 20 * (received[large] + received[small])


def test_equal_jobs_get_equal_worker_time_whatever_their_tasks_take(desk: Desk) -> None:
    desk.task_points = 5
    quick, slow = hand_in(desk, "quick", 60), hand_in(desk, "slow", 60)
    total: Counter[int] = Counter()
    lengths = {quick: 0.2, slow: 2.0}
    seconds = lambda claim: lengths[job_of(desk, claim.task)]  # noqa: E731 - as short as it is plain.
    rounds = iter(range(60))
    total += work(desk, seconds, lambda: next(rounds, None) is None)
    assert desk.rows("SELECT count(*) FROM jobs WHERE status = 'running'") == [(2,)]
    assert total[slow] > 10
    # Two windows of the longest tasks: what is under way at once.
    assert abs(total[quick] - total[slow]) <= 2 * 6 * 2.0


def test_a_paused_job_hands_in_what_it_has_and_gets_nothing(desk: Desk, broker_url: str) -> None:
    job = desk.submit()
    desk.to_explore()
    claim = desk.claim()
    assert not desk.ann.beat(INFO, claim.task, claim.attempt).recalled
    waiting = hand_in(desk, "other", 3)
    pause(desk.engine, waiting)
    desk.round()
    assert pause(desk.engine, job) == 1
    with pytest.raises(InputError, match=f"job {job}: is not running but paused"):
        pause(desk.engine, job)
    reply = desk.ann.beat(INFO, claim.task, claim.attempt)
    assert (reply.wanted, reply.recalled) == (True, True)
    assert desk.ann.append(claim, cut(claim), 0.5) == "accepted"
    desk.round()
    # What was proved counts; nothing new is planned, announced or claimed.
    assert desk.video().points_explored == 10
    assert desk.rows(f"SELECT count(*) FROM tasks WHERE job_id = {job} AND state = 'ready'") == [(0,)]
    assert announced(desk) == []
    assert all(desk.bob.claim(task) is None for task in desk.ready())
    assert desk.rows("SELECT DISTINCT status FROM jobs") == [("paused",)]

    assert resume(desk.engine, job) == 1
    with pytest.raises(InputError, match=f"job {job}: is not paused but running"):
        resume(desk.engine, job)
    desk.round()
    while desk.rows(f"SELECT 1 FROM jobs WHERE id = {job} AND status = 'running'"):
        for task in announced(desk):
            again = desk.claim(task)
            desk.ann.append(again, answer(again), 0.5)
        desk.round()
    assert (desk.video().verdict, desk.video().points_explored) == (Verdict.ROBUST, 133)
    assert desk.rows(f"SELECT status, finished_at FROM jobs WHERE id = {waiting}") == [("paused", None)]
    with pytest.raises(InputError, match="is not paused but done; submit it again to go on with what is missing"):
        resume(desk.engine, job)
    # A repeated submit asks for what is missing, and so resumes; a paused job can be cancelled too.
    assert hand_in(desk, "other", 3) == waiting
    assert desk.rows(f"SELECT status FROM jobs WHERE id = {waiting}") == [("running",)]
    pause(desk.engine, waiting)
    assert cancel(desk.engine, waiting) == 3
    assert desk.rows("SELECT 1 FROM tasks WHERE finished_at IS NULL") == []


def test_results_that_come_in_while_a_job_is_paused_are_merged_and_lead_nowhere_yet(desk: Desk) -> None:
    job = desk.submit()
    desk.round()
    claim = desk.claim()
    pause(desk.engine, job)
    desk.ann.append(claim, prepared(), 0.5)
    desk.round()
    assert desk.rows("SELECT kind, state, announced_at FROM tasks ORDER BY id")[1] == ("attack", "ready", None)
    assert desk.ann.claim(desk.ready()[0]) is None
    resume(desk.engine, job)
    desk.round()
    assert desk.claim().kind == "attack"


@pytest.mark.parametrize("stop", [StopReason.RECALLED, StopReason.SHUTDOWN])
def test_an_attack_that_was_cut_short_counts_and_is_made_once_more(desk: Desk, stop: StopReason) -> None:
    desk.submit()
    desk.round()
    desk.ann.append(desk.claim(), prepared(), 0.5)
    desk.round()
    found = attacked(witness_at(((0, 2), (2, -1)))).model_copy(update={"stop": stop})
    desk.ann.append(desk.claim(), found, 0.5)
    desk.round()
    assert desk.bounds() == (0, 7)
    assert (desk.video().status, desk.rows("SELECT kind, state FROM tasks ORDER BY id")[1:]) == (
        "prepared", [("attack", "merged"), ("attack", "ready")],
    )  # fmt: skip
    desk.ann.append(desk.claim(), attacked(), 0.5)
    desk.round()
    assert desk.video().status == "exploring"


def test_a_cancelled_job_goes_on_with_an_attack_that_was_cut_short(desk: Desk) -> None:
    job = desk.submit()
    desk.round()
    desk.ann.append(desk.claim(), prepared(), 0.5)
    desk.round()
    desk.ann.append(desk.claim(), attacked().model_copy(update={"stop": StopReason.SHUTDOWN}), 0.5)
    desk.round()
    cancel(desk.engine, job)
    assert desk.submit() == job
    assert desk.video().status == "prepared"
    desk.round()
    assert desk.claim().kind == "attack"


def test_a_clip_may_cost_so_much_worker_time_and_more_when_asked(desk: Desk) -> None:
    desk.task_points = 12
    job = hand_in(desk, "clip", 2, clip_seconds=10)
    desk.to_explore()
    clip, other = "/clip/00000.avi", "/clip/00001.avi"
    mine = [t for t in desk.ready() if desk.rows(f"SELECT 1 FROM tasks t JOIN videos v ON v.id = t.video_id"
                                                 f" WHERE t.id = {t} AND v.path = '{clip}'")]  # fmt: skip
    first, second = desk.claim(mine[0]), desk.claim(mine[1])
    assert {first.video, second.video} == {clip}
    assert not desk.ann.beat(INFO, first.task, first.attempt).recalled
    desk.ann.append(second, honest(second), 9.5)
    desk.round()
    # 0.5 + 0.5 + 9.5 s are spent: its worker is asked for what it has, nothing else of it is given.
    assert desk.ann.beat(INFO, first.task, first.attempt).recalled
    assert desk.rows(f"SELECT 1 FROM tasks t JOIN videos v ON v.id = t.video_id WHERE v.path = '{clip}'"
                     " AND t.state = 'ready'") == []  # fmt: skip
    assert desk.video(clip).status == "exploring"
    desk.ann.append(first, honest(first), 0.5)
    desk.round()
    video = desk.video(clip)
    assert (video.status, video.verdict) == ("done", Verdict.OPEN)
    assert video.reason == "11.0 s of worker time are spent; a clip may cost 10 s"
    explored = video.points_explored
    assert explored > 0
    desk.work_off()
    assert desk.video(other).verdict == Verdict.ROBUST
    assert desk.rows("SELECT status FROM jobs") == [("done",)]

    assert hand_in(desk, "clip", 2, clip_seconds=9) == job
    assert desk.rows("SELECT status, budget_clip_seconds FROM jobs") == [("done", 10)]
    hand_in(desk, "clip", 2)
    assert desk.rows("SELECT status, budget_clip_seconds FROM jobs") == [("running", None)]
    desk.round()
    desk.work_off()
    assert (desk.video(clip).verdict, desk.video(clip).points_explored, desk.bounds(clip)) == (
        Verdict.ROBUST, 133, (9, None),
    )  # fmt: skip


def test_a_worker_on_a_clip_counts_before_its_result_does(desk: Desk) -> None:
    hand_in(desk, "clip", clip_seconds=5)
    desk.to_explore()
    claim = desk.claim()
    assert not desk.ann.beat(INFO, claim.task, claim.attempt).recalled
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE attempts SET started_at = now() - interval '4.5 s' WHERE ended_at IS NULL"))
    assert desk.ann.beat(INFO, claim.task, claim.attempt).recalled


def test_a_job_whose_time_is_over_hands_in_and_leaves_its_clips_open(desk: Desk) -> None:
    job = hand_in(desk, "wall", 4, wall_seconds=3600)
    names = [f"/wall/{number:05}.avi" for number in range(4)]
    desk.round()
    assert desk.rows("SELECT clock_since FROM jobs") == [(None,)]
    one, two, three = (desk.claim(task) for task in desk.ready()[:3])
    for claim in (one, two):
        desk.ann.append(claim, prepared(), 1.0)
    desk.round()
    assert desk.rows("SELECT clock_since IS NULL FROM jobs") == [(False,)]
    attack = desk.claim(
        next(t for t in desk.ready() if desk.rows(f"SELECT kind FROM tasks WHERE id = {t}") == [("attack",)])
    )
    desk.ann.append(attack, attacked(), 1.0)
    desk.round()
    explore = next(t for t in desk.ready() if desk.rows(f"SELECT kind FROM tasks WHERE id = {t}") == [("explore",)])
    exploring = desk.claim(explore)
    assert exploring.kind == "explore"
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET clock_since = now() - interval '1 hour'"))
    assert desk.ann.beat(INFO, exploring.task, exploring.attempt).recalled
    desk.round()
    # Two are under way, the others have ended.
    assert Counter(status for (status,) in desk.rows("SELECT status FROM videos")) == {
        "exploring": 1, "pending": 1, "done": 2,
    }  # fmt: skip
    assert announced(desk) == []
    desk.ann.append(three, prepared(), 1.0)
    # It explored its whole level: that stays.
    desk.ann.append(exploring, honest(exploring), 1.0)
    desk.round()
    assert desk.rows("SELECT status, verdict FROM videos") == [("done", "open")] * 4
    for (reason,) in desk.rows("SELECT reason FROM videos"):
        assert re.fullmatch(r"the job has run for 3,6\d\d\.\d s; it may run for 3,600 s", reason)
    assert desk.bounds(exploring.video) == (6, None)
    assert desk.rows("SELECT status FROM jobs") == [("done",)]
    assert desk.rows("SELECT ran_seconds >= 3600, clock_since FROM jobs") == [(True, None)]
    assert desk.rows("SELECT count(*) FROM videos WHERE prepared_at IS NULL") == [(1,)]
    (progress,) = desk.rows("SELECT wall_seconds >= 3600, budget_wall_seconds, eta_seconds FROM job_progress")
    assert progress == (True, 3600, None)

    hand_in(desk, "wall", 4, wall_seconds=3600)
    assert desk.rows("SELECT status FROM jobs") == [("done",)]
    assert hand_in(desk, "wall", 4, wall_seconds=7200) == job
    assert Counter(status for (status,) in desk.rows("SELECT status FROM videos")) == {
        "exploring": 1, "pending": 1, "prepared": 2,
    }  # fmt: skip
    while desk.rows("SELECT 1 FROM jobs WHERE status = 'running'"):
        desk.round()
        for task in desk.ready():
            claim = desk.claim(task)
            desk.ann.append(claim, answer(claim), 1.0)
    assert {desk.video(name).verdict for name in names} == {Verdict.ROBUST}
    assert {desk.video(name).points_explored for name in names} == {133}


def test_the_clock_stands_while_a_job_is_paused(desk: Desk) -> None:
    job = hand_in(desk, "wall", 2, wall_seconds=100)
    desk.round()
    claim = desk.claim()
    desk.round()
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET clock_since = now() - interval '30 s'"))
    pause(desk.engine, job)
    ((ran, since),) = desk.rows("SELECT ran_seconds, clock_since FROM jobs")
    assert ran >= 30
    assert since is None
    resume(desk.engine, job)
    assert desk.rows("SELECT ran_seconds, clock_since FROM jobs") == [(ran, None)]
    desk.ann.append(claim, prepared(), 0.5)
    desk.round()
    assert desk.rows("SELECT wall_seconds > 30, clock_since IS NULL FROM job_progress, jobs") == [(True, False)]


@pytest.mark.parametrize(
    ("clip", "wall", "least", "most"),
    [(20, None, 18.5, 18.5), (None, 100, 90, 100), (20, 100, 18.5, 18.5), (None, None, 200, None)],
)
def test_a_budget_of_time_limits_what_is_foreseen(desk: Desk, clip, wall, least, most) -> None:
    hand_in(desk, "clip", 2, clip_seconds=clip, wall_seconds=wall)
    desk.to_explore()
    claim = desk.claim()
    desk.ann.append(claim, cut(claim, points=1), 1.0)
    desk.round()
    with desk.engine.begin() as connection:
        # One point in a minute, of 266: as if it had begun long ago.
        connection.execute(sa.text("UPDATE work_minutes SET began_at = now() - interval '1 h'"))
    ((eta,),) = desk.rows("SELECT eta_seconds FROM job_progress")
    # Two clips have 18 s and 19 s left, for two workers.
    assert eta >= least
    assert most is None or eta <= most


def test_clips_that_are_not_prepared_yet_are_foreseen_as_average_ones_and_not_counted(desk: Desk) -> None:
    hand_in(desk, "three", 3)
    desk.round()
    assert desk.rows("SELECT points_needed, points_total, eta_seconds FROM job_progress") == [(0, 0, None)]
    for _ in range(2):
        # The first clip is prepared, and then attacked; the other two wait.
        task = desk.rows("SELECT min(id) FROM tasks WHERE state = 'ready' AND video_id = 1")[0][0]
        claim = desk.claim(task)
        desk.ann.append(claim, answer(claim), 0.5)
        desk.round()
    claim = desk.claim(desk.rows("SELECT min(id) FROM tasks WHERE state = 'ready' AND kind = 'explore'")[0][0])
    desk.ann.append(claim, cut(claim, points=3), 0.5)
    desk.round()
    ((explored, needed, total, eta, rate),) = desk.rows(
        "SELECT points_explored, points_needed, points_total, eta_seconds, points_per_second FROM job_progress"
    )
    assert (explored, needed, total) == (3, 133, 133)
    # Two clips are to be prepared and attacked by two workers, and three have 133 points each.
    assert eta == pytest.approx(2 * (0.5 + 0.5) / 2 + (3 * 133 - 3) / rate)
