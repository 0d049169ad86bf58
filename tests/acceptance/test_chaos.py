"""A short campaign of mixed faults on real servers and processes: every bound holds all along and ends at the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos import make_plan, run_campaign
from benchmarks.chaos_faults import KINDS

pytestmark = pytest.mark.acceptance


def test_a_campaign_loses_doubles_and_spoils_nothing(tmp_path: Path) -> None:
    report = run_campaign(tmp_path / "campaign", make_plan(11, 22, 0.3), lease_seconds=3.0, workers=2)
    assert (report["problems"], report["lost"], report["duplicated"], report["wrong"]) == ([], 0, 0, 0)
    assert (report["faults"], report["kinds"]) == (22, len(KINDS))
    assert report["attempts_returned"] > 10


def test_a_seed_fixes_the_plan() -> None:
    assert make_plan(5, 200, 1.5) == make_plan(5, 200, 1.5)
    assert make_plan(5, 200, 1.5) != make_plan(6, 200, 1.5)
