"""Fuzzes what a worker's login may write: results, times, errors, refusals and beats, among an honest worker's."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from common.celery_app import make_app
from common.store.engine import open_worker_engine
from common.wire import Claim
from scheduler.report.rows import clip_rows, job_worker_rows
from scheduler.report.tables import results_table
from tests.fuzz.mutate import harm, odd_text
from tests.rows import REGION_SIZES, Desk, attacked, honest, prepared, real_witness, witness_at

_APPEND = sa.text("SELECT worker_append(:task, :attempt, 'ann', CAST(:payload AS jsonb), :seconds, :error, :final)")
_REFUSE = sa.text("SELECT worker_refuse(:task, :attempt, 'ann', :reason)")
_BEAT = sa.text("SELECT worker_beat(:worker, CAST(:info AS jsonb), :task, :attempt, :lease)")
_INFO = {"host": "h", "pid": 1, "device": "cpu", "versions": {"torch": "2", "matmul_tf32": False}, "program": "x"}
_SECONDS = (0.5, 0.5, 0.5, 0.0, -1.0, 1e9, 1e308, float("nan"), float("inf"), None)
#: Rounds after which a job of small clips has ended, whatever was said of them.
_ROUNDS = 40
#: What is known of a clip's game before it is prepared, and after an honest worker prepared it.
_GAMES = (None, [[list(run) for run in flow] for flow in REGION_SIZES])
#: Clips of a job whose worker is hostile, once each.
_HOSTILE = 8


class Results:
    """Jobs on a real database, of a clip that an honest worker answers for, and some that a hostile one does."""

    name = "results"

    def __init__(self, engine: sa.Engine, database_url: str, broker_url: str) -> None:
        self.engine, self._urls = engine, (database_url, broker_url)

    def __enter__(self) -> Self:
        self.desk = Desk(self.engine, self._urls[0], make_app(self._urls[1], task_seconds=1.0), task_points=20)
        self._worker = open_worker_engine(self._urls[0])
        self._number = 0
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.dispose()

    def attempt(self, rng: Random) -> list[tuple[str, str]]:
        """Work one job off; the honest clip's bounds are right, and the others' are, or they failed and say why."""
        self._number += 1
        good, *bad = (f"/videos/{self._number}-{clip}.avi" for clip in range(1 + _HOSTILE))
        heuristic = {"lipschitz": "1", "heuristic": True} if rng.random() < 0.2 else {}
        job = self.desk.submit(good, *bad, radius="4", **heuristic)
        #: At which kind of task each clip's worker says something else.
        due = {clip: rng.choice(("prepare", "attack", "explore")) for clip in bad}
        kinds = dict(due)
        for _ in range(_ROUNDS):
            self.desk.round()
            tasks = self.desk.ready()
            for task in tasks:
                claim = self.desk.claim(task)
                if due.get(claim.video) == claim.kind and self._harm(claim, rng):
                    del due[claim.video]
                elif kinds.get(claim.video) == "prepare" and self.desk.video(claim.video).region_sizes not in _GAMES:
                    # Another game than the clip's is accepted, for only workers see the clip; nobody can answer for it.
                    self.desk.ann.give_up(claim, "another game", final=True)
                else:
                    self.desk.ann.append(claim, _honest(claim), 0.5)
            if not tasks:
                break
        else:
            raise AssertionError(f"not done after {_ROUNDS} rounds")
        ends = self._judge(job, good)
        return [(kinds[clip], ends[clip]) for clip in bad]

    def _harm(self, claim: Claim, rng: Random) -> bool:
        """Have the hostile worker say something; whether it got through and ended the attempt."""
        document: Any = json.loads(_honest(claim, rich=True).model_dump_json())
        for _ in range(rng.randint(1, 3)):
            document = harm(document, rng)
        given = {
            "task": claim.task, "attempt": claim.attempt, "payload": json.dumps(document),
            "seconds": rng.choice(_SECONDS), "error": None, "final": False,
        }  # fmt: skip
        statement = _APPEND
        way = rng.randrange(10)
        if way == 0:
            given |= {"payload": None, "error": odd_text(rng, "e"), "final": True}
        elif way == 1:
            statement, given = _BEAT, {
                "worker": odd_text(rng, "w"), "info": json.dumps(harm(_INFO, rng)), "task": claim.task,
                "attempt": claim.attempt, "lease": rng.choice((60.0, 1e300, float("nan"), -1.0)),
            }  # fmt: skip
        try:
            with self._worker.begin() as connection:
                connection.execute(statement, given)
        except (InterfaceError, OperationalError):
            raise
        except (DBAPIError, UnicodeEncodeError, ValueError):
            return False  # The database or its driver refused it: nothing has been said.
        return statement is _APPEND

    def _judge(self, job: int, good: str) -> dict[str, str]:
        """What became of each clip; every view can still be read."""
        rows = clip_rows(self.engine, job)
        for view in ("worker_activity", "attempt_devices", "failures"):
            self.desk.rows(f"SELECT * FROM {view}")
        job_worker_rows(self.engine, job)
        results_table(rows)
        ends = {}
        for row in rows:
            assert row["video"] != good or row["verdict"] == "robust", f"the honest clip: {row['reason']}"
            failed = row["verdict"] == "failed"
            assert not failed or row["reason"]
            ends[row["video"]] = "refused" if failed else "accepted"
        return ends


def _honest(claim: Claim, *, rich: bool = False) -> Any:
    """What an honest worker answers; ``rich`` with every part that a result may have, to be harmed."""
    if claim.kind == "prepare":
        return prepared(video_sha256="b" * 64) if rich else prepared()
    if claim.kind == "attack":
        point = ((0, 1),)
        return attacked(witness_at(point), real_witness((0, 0.9)), point) if rich else attacked()
    return honest(claim)
