"""The commands, on real servers: what goes where, strict JSON, and one line for everything that is wrong."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from common.store.tables import Bound, Job, Video, Worker
from scheduler.cli.servers import check_broker

WEIGHTS = Path(__file__).parents[2] / "worker" / "demo" / "weights.safetensors"
KEYS = [
    "video",
    "label",
    "predicted",
    "verdict",
    "norm",
    "tau",
    "features",
    "radius",
    "fmsr_lower",
    "fmsr_lower_guarantee",
    "fmsr_upper",
    "msr_lower",
    "msr_lower_guarantee",
    "msr_upper",
    "points_explored",
    "points_total",
    "seconds",
    "reason",
]
SPEC = {
    "dataset": "/d", "features": "grid:2x2", "norm": "L2", "tau": "2", "radius": "40",
    "model": {"name": "cnn_lstm", "sha256": "0" * 64}, "flow": {"method": "farneback"},
}  # fmt: skip


def refused(outcome, line):
    status, output, problem = outcome
    assert (status, output) == (2, "")
    assert problem.startswith(f"error: {line}")
    assert problem.count("\n") == 1


@pytest.fixture
def job(engine):
    """A job with a solved clip, a robust one, an open one, a misclassified one and a failed one."""
    finished = {"finished_at": sa.func.now()}
    game = {
        "prepared_at": sa.func.now(), "clip_digest": "f" * 64, "region_sizes": [[[16, 4]]], "radius_cost": 400,
        "points_total": 10**30, "points_needed": 9, "margin": 0.5, "predicted": "A",
    }  # fmt: skip
    rows = [
        ({"status": "done", "verdict": "solved", **game, **finished}, (100, 100)),
        ({"status": "done", "verdict": "robust", **game, **finished}, (401, None)),
        ({"status": "exploring", "verdict": "open", "floor": 4, "threshold": 9, **game}, (4, None)),
        ({"status": "done", "verdict": "misclassified", **game, **finished, "predicted": "B"}, None),
        ({"status": "failed", "verdict": "failed", "reason": "is [bold]empty", **finished}, None),
    ]
    with Session(engine) as session, session.begin():
        added = Job(digest="d", spec=SPEC, budget_points=10)
        session.add(added)
        session.flush()
        for number, (fields, bounds) in enumerate(rows, start=1):
            video = Video(job_id=added.id, path=f"/d/A/{number}.avi", label="A", **fields)
            session.add(video)
            session.flush()
            if bounds is not None:
                session.add(Bound(video_id=video.id, lower=bounds[0], upper=bounds[1]))
        info = {"host": "h", "pid": 3, "device": "cpu", "versions": {}}
        session.add(Worker(id="h-3", info=info))
        return added.id


def strict(text):
    def never(word):
        pytest.fail(f"{word} is no JSON")

    return json.loads(text, parse_constant=never)


def test_results_are_strict_json(flowcert, job):
    status, output, _ = flowcert("results", "--json")
    rows = strict(output)
    assert status == 0
    assert all(key in row for row in rows for key in KEYS)
    shown = [(row["verdict"], row["fmsr_lower"], row["fmsr_upper"], row["msr_upper"]) for row in rows]
    assert shown == [
        ("solved", 20.0, 20.0, 20.0),
        ("robust", 40.0, "inf", None),
        ("open", 4.0, None, None),
        ("misclassified", None, None, None),
        ("failed", None, None, None),
    ]
    assert rows[0]["points_total"] == 10**30
    assert (rows[0]["fmsr_lower_guarantee"], rows[0]["msr_lower_guarantee"]) == ("grid", None)
    assert rows[4]["reason"] == "is [bold]empty"


def test_results_as_table_and_files(flowcert, job, tmp_path):
    status, output, _ = flowcert("results", job)
    assert status == 0
    lines = {line.split()[0]: line for line in output.splitlines() if line}
    assert "= 20 " in lines["A/1.avi"]
    assert "40 .. ∞" in lines["A/2.avi"]
    assert "4 .. ?" in lines["A/3.avi"]
    assert "is [bold]empty" in lines["A/5.avi:"]

    table, columns, picture = tmp_path / "r.csv", tmp_path / "r.parquet", tmp_path / "r.png"
    for file in (table, columns):
        assert flowcert("results", "--out", file) == (0, "", f"written: {file}\n")
    assert flowcert("results", "--plot", picture) == (0, "", f"written: {picture}\n")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["fmsr_upper"] for row in rows] == ["20.0", "inf", "", "", ""]
    rows = pq.read_table(columns).to_pylist()
    assert [row["fmsr_upper"] for row in rows] == [20.0, math.inf, None, None, None]
    assert rows[0]["points_total"] == str(10**30)
    assert picture.read_bytes().startswith(b"\x89PNG")
    refused(flowcert("results", "--out", tmp_path / "none" / "r.csv"), "--out: ")
    refused(flowcert("results", "--out", tmp_path / "none" / "r.parquet"), "--out: ")


def test_every_list_is_printed(flowcert, job):
    rows = strict(flowcert("status", "--json")[1])
    assert [(row["job_id"], row["status"], row["clips"], row["clips_finished"]) for row in rows] == [
        (job, "running", 5, 4)
    ]
    assert strict(flowcert("status", job, "--json")[1])[0]["job_id"] == job
    moves = strict(flowcert("trace", "--json")[1])
    assert {(move["fmsr_lower"], move["fmsr_upper"]) for move in moves} == {
        (20.0, 20.0), (2 * math.sqrt(401), None), (4.0, None),
    }  # fmt: skip
    assert [row["worker"] for row in strict(flowcert("workers", "--json")[1])] == ["h-3"]
    for command in ("status", "trace", "workers"):
        status, output, _ = flowcert(command)
        assert status == 0
        assert output.count("\n") >= 2


def test_a_cancelled_job_is_watched_to_its_end(flowcert, job):
    assert flowcert("cancel", job) == (0, "", f"job {job} is cancelled; 1 clips were not finished\n")
    refused(flowcert("cancel", job), f"job {job}: is not running but cancelled")
    status, _, notes = flowcert("watch")
    assert status == 0
    assert f"job {job} is cancelled" in notes


def test_unknown_jobs_and_options(flowcert):
    refused(flowcert("results"), "JOB: there is no job yet")
    for name in ("7", "-", "٣", "1" * 30, "x"):
        refused(flowcert("status", name), f"JOB: there is no job {name!r}")
    refused(flowcert("status", "--nope"), "flowcert status: No such option: --nope")
    refused(flowcert("run", "--limit", "x"), "--limit: ")
    refused(flowcert("fly"), "flowcert: No such command 'fly'.")
    status, output, _ = flowcert()
    assert status == 0
    assert "submit" in output


def test_servers_that_are_half_named_or_wrong(flowcert, monkeypatch, broker_url, database_url):
    monkeypatch.setenv("FLOWCERT_BROKER_URL", "redis+socket:///nowhere.sock")
    refused(flowcert("status"), "broker: cannot connect to ")
    monkeypatch.setenv("FLOWCERT_BROKER_URL", "amqp://localhost")
    refused(flowcert("status"), "FLOWCERT_BROKER_URL: must be a Redis-protocol URL")
    monkeypatch.delenv("FLOWCERT_BROKER_URL")
    refused(flowcert("status"), "FLOWCERT_BROKER_URL: must be set as well")
    monkeypatch.setenv("FLOWCERT_BROKER_URL", broker_url)
    monkeypatch.setenv("FLOWCERT_DATABASE_URL", "sqlite:///x")
    refused(flowcert("status"), "FLOWCERT_DATABASE_URL: must be a PostgreSQL URL")
    monkeypatch.setenv("FLOWCERT_DATABASE_URL", database_url + "x")
    monkeypatch.setenv("FLOWCERT_WINDOW", "0")
    refused(flowcert("status"), "FLOWCERT_WINDOW: ")


def test_a_database_without_schema_is_upgraded_only_when_asked(flowcert, stack, monkeypatch):
    url = sa.make_url(stack.urls.database_url)
    with sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text("DROP DATABASE IF EXISTS bare"))
        connection.execute(sa.text("CREATE DATABASE bare"))
    monkeypatch.setenv("FLOWCERT_DATABASE_URL", url.set(database="bare").render_as_string(hide_password=False))
    refused(flowcert("status"), "database: the database has no Flowcert schema; run: flowcert db upgrade")
    assert flowcert("db", "upgrade") == (0, "", "the database is at head\n")
    assert flowcert("status", "--json") == (0, "[]\n", "")


def test_a_broker_that_evicts_is_refused(broker_url, flowcert):
    import redis

    path = broker_url.removeprefix("redis+socket://").partition("?")[0]
    with redis.Redis(unix_socket_path=path) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            refused(flowcert("status"), "broker: its maxmemory-policy is allkeys-lru")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    check_broker(broker_url, pytest.fail, must_answer=True)


@pytest.fixture
def dataset(tmp_path):
    for name in ("MoveUp/a.avi", "MoveUp/b.avi", "Other/c.avi"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")
    return tmp_path / "data"


def test_submit_prints_the_job_and_resumes(flowcert, dataset, tmp_path, engine):
    config = tmp_path / "job.yaml"
    config.write_text(f"model: cnn_lstm\nweights: {WEIGHTS}\nfeatures: global\nnorm: L2\ntau: 1\nradius: 60\n")
    status, output, notes = flowcert("submit", dataset, "--config", config, "--per-class", 1)
    assert (status, output) == (0, "1\n")
    assert "job 1: new, 2 clips added" in notes
    assert f"not certified: {dataset}/Other/c.avi: its label 'Other' is not one of the model's 4 classes" in notes
    status, output, notes = flowcert("submit", dataset, "--config", config)
    assert (status, output) == (0, "1\n")
    assert "job 1: resumed, 1 clips added" in notes
    with engine.connect() as connection:
        spec = connection.execute(sa.text("SELECT spec FROM jobs")).scalar_one()
    assert spec["dataset"] == str(dataset)
    assert spec["tau"] == "1"
    assert spec["sampling"] == {"frames": 8, "stride": None, "height": 32, "width": 32}
    assert len(spec["model"]["classes"]) == 4
    status, output, notes = flowcert("submit", dataset, "--config", config, "--every", "0.50")
    assert (status, output) == (0, "2\n")
    with engine.connect() as connection:
        spec = connection.execute(sa.text("SELECT spec FROM jobs WHERE id = 2")).scalar_one()
    assert spec["sampling"]["every"] == "0.5"
    refused(flowcert("submit", dataset, "--config", config, "--every", 1, "--stride", 2), "--every: cannot be given")


def test_an_official_list_selects_clips_of_a_submit(flowcert, dataset, tmp_path):
    config = tmp_path / "job.yaml"
    game = f"model: cnn_lstm\nweights: {WEIGHTS}\nfeatures: global\nnorm: L2\ntau: 1\nradius: 60\n"
    config.write_text(f"{game}split: testlist01\nsplits: lists\n")
    refused(
        flowcert("submit", dataset, "--config", config), f"{config}: split: there is no testlist01.txt in {tmp_path}"
    )
    refused(
        flowcert("submit", dataset, "--config", config, "--split", "testlist02"),
        f"--split: there is no testlist02.txt in {tmp_path}",
    )
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "testlist01.txt").write_text("MoveUp/b.avi\r\nMoveUp/d.avi\r\nMoveLeft/e.avi\r\n")
    status, output, notes = flowcert("submit", dataset, "--config", config)
    assert (status, output) == (0, "1\n")
    assert f"testlist01: 2 of its clips are not in {dataset} and are skipped" in notes
    assert "job 1: new, 1 clips added" in notes
    config.write_text(f"{game}splits: lists\n")
    refused(flowcert("submit", dataset, "--config", config), f"{config}: splits: says where a list is looked up")


def test_problems_the_model_check_finds_name_their_option(flowcert, dataset, tmp_path):
    game = ("--features", "global", "--norm", "L2", "--tau", "1", "--radius", "60")
    gone = tmp_path / "gone.safetensors"
    config = tmp_path / "job.yaml"
    config.write_text("weights: gone.safetensors\n")
    command = ("submit", dataset, "--config", config, "--model", "cnn_lstm", *game)
    refused(flowcert(*command), f"{config}: weights: {gone}: cannot be read")


def test_the_command_is_installed():
    done = subprocess.run(
        [sys.executable, "-m", "scheduler.cli.main", "status", "--nope"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: flowcert status: No such option: --nope\n"
