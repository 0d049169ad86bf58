"""No view reads a big table whole when a job has 13,320 clips and a million subtrees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.views import CLIPS, SUBTREES, fill, question, views
from common.store.engine import open_engine
from scheduler.embedded import EmbeddedStack
from tests.conftest import TEMPLATE, _administer, _create, _url

#: Tables with a row for each task; those with one for each clip are read whole where all clips of a job are asked for.
BIG = {"tasks", "subtrees", "results", "attempts"}


@pytest.fixture(scope="module")
def scale(stack: EmbeddedStack) -> Iterator[sa.Engine]:
    """A database with the benchmark's job."""
    name = "test_views_at_scale"
    _create(stack, name, TEMPLATE)
    engine = open_engine(_url(stack, name))
    fill(engine)
    yield engine
    engine.dispose()
    _administer(stack, f'DROP DATABASE "{name}" WITH (FORCE)')


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def read(engine: sa.Engine, query: str) -> dict[str, tuple[float, set[str]]]:
    """Rows that a query reads of each big table, those it passes over included, and how it reaches them."""
    with engine.connect() as connection:
        explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {query}").scalar_one()
    found: dict[str, tuple[float, set[str]]] = {}
    for node in nodes(explained[0]["Plan"]):
        table = node.get("Relation Name")
        if table in BIG:
            rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            before, ways = found.get(table, (0.0, set()))
            found[table] = (before + rows, ways | {node["Node Type"]})
    return found


def test_the_job_is_as_large_as_it_is_said_to_be(scale: sa.Engine) -> None:
    with scale.connect() as connection:
        for table in ("subtrees", "tasks", "results", "attempts"):
            assert connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one() >= SUBTREES
        assert connection.execute(sa.text("SELECT count(*) FROM videos")).scalar_one() == CLIPS


def test_reading_a_big_table_would_be_noticed(scale: sa.Engine) -> None:
    ((rows, ways),) = read(scale, "SELECT count(*) FROM results WHERE seconds < 0").values()
    assert rows >= SUBTREES
    assert any("Seq Scan" in way for way in ways)


@pytest.mark.parametrize("view", views())
def test_a_view_reads_few_rows_of_big_tables(scale: sa.Engine, view: str) -> None:
    for table, (rows, ways) in read(scale, question(view)).items():
        assert rows < SUBTREES / 20, (table, rows)
        assert not any("Seq Scan" in way for way in ways), (table, ways)
