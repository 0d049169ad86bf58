"""Hostile input is refused by name or taken for what it is; nothing crashes, hangs, or acts on whoever reads of it.

The first few hundred inputs of each kind, always the same ones; ``make fuzz`` draws on for as long as it is given.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import sqlalchemy as sa

from tests.fuzz.job_files import JobFiles
from tests.fuzz.lists import Lists
from tests.fuzz.messages import Messages
from tests.fuzz.names import Names
from tests.fuzz.results import Results
from tests.fuzz.target import Target, Tried, try_case
from tests.fuzz.videos import Videos
from tests.fuzz.weights import Weights

SEED = 0


def fuzz(opened: AbstractContextManager[Target], cases: int, *, least_accepted: int = 1) -> None:
    """Try the first cases of a target; both ends must be met, or what is drawn tests nothing."""
    tried = Tried()
    with opened as target:
        for case in range(cases):
            try_case(target, SEED, case, tried)
    assert tried.findings == []
    assert tried.attempts >= cases
    assert tried.outcomes["refused"] > 0 or least_accepted == cases
    assert tried.outcomes["accepted"] >= least_accepted


def test_videos() -> None:
    fuzz(Videos(), 120)


def test_lists_and_folders() -> None:
    fuzz(Lists(), 250)


def test_job_files() -> None:
    fuzz(JobFiles(), 200)


def test_weights() -> None:
    fuzz(Weights(), 300)


def test_names() -> None:
    fuzz(Names(), 400, least_accepted=400)


def test_messages(broker_url: str) -> None:
    fuzz(Messages(broker_url), 300)


def test_results(engine: sa.Engine, database_url: str, broker_url: str) -> None:
    fuzz(Results(engine, database_url, broker_url), 5)
