"""Grafana's dashboards: what is provisioned is there, and every query asks views, as a dashboard may, and is answered.

Grafana itself is not run; its macros and variables are expanded here as its PostgreSQL data source expands them.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboards.conftest import Seen
from tests.dashboards.test_views import VIEWS

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(GRAFANA.glob("dashboards/*.json"))
}
PANELS = [
    pytest.param(board, panel, id=f"{name}: {panel['title']} ({panel['id']})")
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
]
BOARDS = [pytest.param(board, id=name) for name, board in DASHBOARDS.items()]
#: Kinds of panels that Grafana 11 and 12 have themselves.
KINDS = {"stat", "timeseries", "table", "bargauge"}
#: Units of Grafana's list: counts, counts a second, seconds, shares, text, and numbers whose unit the title says.
UNITS = {"short", "cps", "s", "percentunit", "string", "none", "dateTimeFromNow", "dateTimeAsIso"}
#: Panels that may have nothing to show: no time is left of a job that is done, and nothing has failed of some.
MAY_BE_EMPTY = {"Time left", "Points a second"}
INTERVAL_SECONDS = 60


def expand(sql: str, values: dict[str, str]) -> str:
    """Expand macros and variables; one that is left is none that Grafana knows."""
    until = datetime.now(UTC) + timedelta(minutes=1)
    times = [f"'{time.isoformat().replace('+00:00', 'Z')}'" for time in (until - timedelta(days=1), until)]
    for name, value in values.items():
        quoted = "'" + value.replace("'", "''") + "'"
        sql = sql.replace(f"${{{name}:sqlstring}}", quoted)
    sql = sql.replace("$__interval_ms", str(INTERVAL_SECONDS * 1000)).replace(
        "$__interval", f"{INTERVAL_SECONDS // 60}m"
    )
    sql = re.sub(
        r"\$__timeGroupAlias\((\w+), 1m\)",
        rf'floor(extract(epoch from \1)/{INTERVAL_SECONDS})*{INTERVAL_SECONDS} AS "time"',
        sql,
    )
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {times[0]} AND {times[1]}", sql)
    assert "$" not in sql.replace("$'", ""), sql
    return sql


def queries(board: dict[str, Any]) -> list[str]:
    """All SQL of a dashboard: of its panels and its variables."""
    found = [target["rawSql"] for panel in board["panels"] for target in panel["targets"]]
    return found + [variable["query"] for variable in board["templating"]["list"]]


def variables(seen: Seen, board: dict[str, Any], **chosen: str) -> dict[str, str]:
    """Values of a dashboard's variables: what is chosen, else the first that each one's query offers."""
    values: dict[str, str] = {}
    for variable in board["templating"]["list"]:
        rows = seen.ask(expand(variable["query"], values))
        assert all(row["__text"] for row in rows)
        offered = [str(row["__value"]) for row in rows]
        values[variable["name"]] = chosen.get(variable["name"], offered[0])
        assert values[variable["name"]] in offered
    return values


def test_there_are_two_and_they_are_provisioned_where_compose_mounts_them() -> None:
    assert list(DASHBOARDS) == ["cluster", "job"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/flowcert.yaml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    mounted = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert mounted["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)


@pytest.mark.parametrize("board", BOARDS)
def test_a_dashboard_is_one_that_grafana_loads(board: dict[str, Any]) -> None:
    assert board["uid"] in {"flowcert-cluster", "flowcert-job"}
    assert board["title"]
    assert 36 <= board["schemaVersion"] <= 41
    assert len({other["uid"] for other in DASHBOARDS.values()}) == len(DASHBOARDS)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    uids = {f"/d/{other['uid']}" for other in DASHBOARDS.values()}
    assert {link["url"] for link in board["links"]} == uids - {f"/d/{board['uid']}"}
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + row) for column in range(place["w"]) for row in range(place["h"])
        }  # fmt: skip
        assert not cells & taken
        assert all(0 <= x < 24 for x, _ in cells)
        taken |= cells


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_a_panel_says_what_it_shows(board: dict[str, Any], panel: dict[str, Any]) -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/flowcert.yaml").read_text())["datasources"]
    provisioned = {"type": source["type"], "uid": source["uid"]}
    assert panel["type"] in KINDS
    assert panel["title"]
    assert re.fullmatch(r"[A-Z].+\.", panel["description"])
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    (target,) = panel["targets"]
    assert panel["datasource"] == target["datasource"] == provisioned
    assert target["format"] == ("time_series" if panel["type"] == "timeseries" else "table")
    # A minute is the least that throughput tells apart.
    assert ("$__interval" in target["rawSql"]) == (panel.get("interval") == "1m")
    for override in panel["fieldConfig"]["overrides"]:
        assert re.search(rf"\b{re.escape(override['matcher']['options'])}\b", target["rawSql"])
        assert {entry["value"] for entry in override["properties"]} <= UNITS
    assert all(variable["datasource"] == provisioned for variable in board["templating"]["list"])


@pytest.mark.parametrize("board", BOARDS)
def test_queries_ask_views_only_and_cast_what_is_chosen(board: dict[str, Any]) -> None:
    for sql in queries(board):
        assert set(re.findall(r"\b(?:FROM|JOIN)\s+(\S+)", sql, re.IGNORECASE)) <= set(VIEWS), sql
        assert sql.upper().startswith("SELECT ")
        assert ";" not in sql
        # Grafana doubles the quotes of what it puts in; what is no number then fails instead of being executed.
        assert sql.count("${") == len(re.findall(r"\$\{\w+:sqlstring\}::bigint", sql))


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_a_panel_is_answered(seen: Seen, board: dict[str, Any], panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    values = variables(seen, board, job=str(seen.first)) if board["templating"]["list"] else {}
    rows = seen.ask(expand(target["rawSql"], values))
    assert rows
    if panel["type"] == "timeseries":
        assert all(row["time"] is not None for row in rows)
        numbers = [value for row in rows for name, value in row.items() if name not in ("time", "metric")]
        assert any(number is not None for number in numbers)
    elif panel["type"] != "table" and panel["title"] not in MAY_BE_EMPTY:
        assert all(value is not None for row in rows for value in row.values())


def test_what_is_no_number_is_not_executed(seen: Seen) -> None:
    board = DASHBOARDS["job"]
    sql = board["panels"][0]["targets"][0]["rawSql"]
    for chosen in ("1 OR true", "1'; SELECT 1; --", "1' OR '1' = '1"):
        with pytest.raises(Exception, match="invalid input syntax for type bigint"):
            seen.ask(expand(sql, {"job": chosen}))
