"""Every query of docs/sql.md is executed, as a dashboard, and answers about a real job."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.conftest import Seen
from tests.dashboards.test_views import VIEWS

TEXT = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
#: Queries by their number and question; what is asked first, of columns, has none.
QUERIES = {title: query for title, query in re.findall(r"### (\d+\. .+?)\n+```sql\n(.+?)```", TEXT, re.DOTALL)}  # noqa: C416
Rows = list[dict[str, Any]]

#: What must hold of an answer beyond that there is one.
TRUE_OF: dict[int, Callable[[Rows], bool]] = {
    1: lambda rows: [row["status"] for row in rows] == ["done", "done", "running"],
    2: lambda rows: [row["kind"] for row in rows] == ["prepare"],
    3: lambda rows: rows == [{"tasks_ready": 0, "tasks_leased": 1, "workers_live": 3, "would_have_work": False}],
    4: lambda rows: sum(row["points"] for row in rows) > 0,
    5: lambda rows: sum(count for name, count in rows[0].items() if name != "clips") == rows[0]["clips"] == 4,
    7: lambda rows: all(row["gap"] is None or row["gap"] >= 0 for row in rows),
    8: lambda rows: rows[0]["seconds"] == max(row["seconds"] for row in rows) > 0,
    9: lambda rows: [row["guarantee"] for row in rows] == ["grid", "continuous", "lipschitz:estimated"],
    10: lambda rows: sum(row["clips"] for row in rows) == 4,
    11: lambda rows: rows[0]["accuracy"] == pytest.approx(2 / 3),
    12: lambda rows: all(row["margin"] < 0 and row["predicted"] != row["label"] for row in rows),
    14: lambda rows: {"grid points up to", "certified radius"} <= {row["evidence"] for row in rows},
    15: lambda rows: [row["outcome"] for row in rows].count("returned") == 1,
    16: lambda rows: len(rows) == 2,
    17: lambda rows: all(row["first_lower_seconds"] > 0 for row in rows),
    18: lambda rows: [row["what"] for row in rows].count("clip") == 1,
    19: lambda rows: len(rows) == 3 and all(row["utilisation"] > 0 for row in rows),
    20: lambda rows: len(rows) == 4 and sum(row["verdict_b"] is None for row in rows) == 1,
}


def values_of(seen: Seen) -> dict[str, str]:
    """What psql would be started with."""
    ((clip,), (task,)) = (
        [row["found"] for row in seen.ask(query)]
        for query in (
            f"SELECT max(video_id) AS found FROM clip_certificates WHERE job_id = {seen.first}",
            f"SELECT max(task) AS found FROM attempt_devices WHERE job_id = {seen.first} AND outcome = 'returned'",
        )
    )
    return {
        ":job": str(seen.first), ":other": str(seen.second), ":video": str(clip), ":task": str(task),
        ":'time'": "'2100-01-01'",
    }  # fmt: skip


def test_there_are_twenty_and_each_is_explained() -> None:
    assert [int(title.partition(".")[0]) for title in QUERIES] == list(range(1, 21))
    for part in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]:
        (after,) = re.findall(r"```sql\n.+?```\n\n(.+)", part, re.DOTALL)
        assert re.match(r"[A-Z`].+\.\s", after, re.DOTALL)


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_answers(seen: Seen, title: str) -> None:
    query = QUERIES[title]
    for variable, value in values_of(seen).items():
        query = re.sub(rf"(?<!:){re.escape(variable)}(?!\w)", value, query)
    rows = seen.ask(query)
    assert rows
    holds = TRUE_OF.get(int(title.partition(".")[0]))
    assert holds is None or holds(rows), rows


def test_the_columns_explain_themselves(seen: Seen) -> None:
    query = re.findall(r"```sql\n(.+?)```", TEXT, re.DOTALL)[0]
    rows = seen.ask(query)
    assert len(rows) > 30
    assert all(row["meaning"] for row in rows)


def test_every_view_is_listed() -> None:
    assert sorted(re.findall(r"^\| `(\w+)` \| ", TEXT, re.MULTILINE)) == VIEWS
