"""A real worker reads no file outside its data roots and imports no factory it was not told of; jobs say why."""

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from common.broker import checked_url
from common.celery_app import make_app
from common.settings import Settings
from scheduler.cli.servers import open_servers
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from scheduler.loop import tick
from tests.crew import Crew
from tests.programs import Programs
from tests.rows import Desk, make_spec
from worker.demo.render import render_dataset
from worker.models import inspect_weights
from worker.permission import refusal

WEIGHTS = Path(__file__).parents[2] / "worker" / "demo" / "weights.safetensors"
FUNCTIONS = Path(__file__).parents[2] / "migrations" / "functions"
CLASSES = ("MoveDown", "MoveLeft", "MoveRight", "MoveUp")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with weights and a clip, and a link to what lies outside."""
    root = tmp_path_factory.mktemp("data") / "root"
    render_dataset(root, per_class=1, seed=0)
    (root / "w.safetensors").write_bytes(WEIGHTS.read_bytes())
    (root.parent / "outside.avi").write_bytes((root / "MoveUp" / "v_MoveUp_g01_c01.avi").read_bytes())
    (root / "MoveUp" / "link.avi").symlink_to(root.parent / "outside.avi")
    (root / "link.safetensors").symlink_to(WEIGHTS)
    return root


def spec_of(root: Path, **model: Any) -> Any:
    spec = make_spec(sampling={"frames": 8, "height": 32, "width": 32}, norm="L2", radius="33")
    fields = {"name": "cnn_lstm", "weights": str(root / "w.safetensors"), "classes": CLASSES, **model}
    return spec.model_copy(update={"model": spec.model.model_copy(update=fields), "dataset": str(root)})


def demo_spec(root: Path) -> Any:
    """A job that can be worked on: what the weights say of themselves."""
    info = inspect_weights("cnn_lstm", root / "w.safetensors", {}, None)
    spec = spec_of(root, args=info.args, classes=info.classes, sha256=info.sha256)
    sampling = spec.sampling.model_copy(update={"frames": info.frames, "height": info.height, "width": info.width})
    return spec.model_copy(update={"sampling": sampling})


def test_a_worker_gives_up_what_it_may_not_do_and_says_why(
    engine: sa.Engine, database_url: str, broker_url: str, tmp_path: Path, programs: Programs, root: Path
) -> None:
    clip, factory = "MoveUp/v_MoveUp_g01_c01.avi", "tests.whole_model:WholeCnnLstm"
    outside = "lies outside the data roots (FLOWCERT_DATA_ROOTS)"
    refusals = [
        (spec_of(root), "../outside.avi", outside),
        (spec_of(root), "MoveUp/link.avi", outside),
        (spec_of(root, weights=str(root / "link.safetensors")), clip, outside),
        (spec_of(root, weights="/etc/shadow"), clip, outside),
        (spec_of(root, name=factory), clip,
         f"model: {factory} may not be imported here; FLOWCERT_MODEL_FACTORIES lists what may"),
    ]  # fmt: skip
    jobs = [submit(engine, spec, [FoundClip("MoveUp", str(root / video))], 1000).job_id for spec, video, _ in refusals]
    stricter = (FUNCTIONS / "worker_append.sql").read_text(encoding="utf-8").replace("67108864", "10")
    with engine.begin() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql(stricter)
    # This one is done, and what is found is more than the database now takes.
    jobs.append(submit(engine, demo_spec(root), [FoundClip("MoveUp", str(root / clip))], 1000).job_id)
    urls = {"database_url": database_url, "broker_url": checked_url(broker_url)}
    allowed = {"data_roots": f"/nowhere:{root}", "model_factories": "tests.whole_model:Other,tests:*"}
    with Crew(engine, urls, tmp_path, programs, max_attempts=2, **allowed) as crew:
        crew.start("scheduler")
        worker = crew.start("worker")
        crew.wait_until_done()
        assert worker.poll() is None
    ends = crew.rows("SELECT v.job_id, v.reason, t.attempt FROM videos v JOIN tasks t ON t.video_id = v.id ORDER BY 1")
    assert [end.job_id for end in ends] == jobs
    for end, (_, _, reason) in zip(ends, refusals, strict=False):
        assert end.reason.endswith(reason)
    assert re.fullmatch(
        r"the database refuses the result: the result of task \d+ has \d+ bytes, 10 are allowed", ends[-1].reason
    )
    # Another worker may be allowed what this one is not: it is tried as often as any task.
    assert [end.attempt for end in ends] == [2, 2, 2, 2, 2, 1]


def test_no_factory_is_allowed_unless_settings_say_so(root: Path) -> None:
    model = spec_of(root, name="tests.whole_model:WholeCnnLstm").model
    for factories in ("", "tests.whole_model:Other,tests:*"):
        reason = refusal(model, str(root / "MoveUp" / "v_MoveUp_g01_c01.avi"), Settings(model_factories=factories))
        assert reason is not None
        assert "WholeCnnLstm may not be imported here" in reason


def test_the_database_itself_refuses_a_result_and_a_beat_that_are_too_large(
    engine: sa.Engine, database_url: str, broker_url: str
) -> None:
    desk = Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))
    desk.submit()
    tick(engine, desk.app, desk.settings, desk.pace)
    claim = desk.claim()
    large = "jsonb_build_object('x', repeat('x', {}))"
    statements = {
        f"SELECT worker_append({claim.task}, 1, 'ann', {large.format(2**26)}, 1, NULL, false)": "67108864 are allowed",
        f"SELECT worker_beat('w', {large.format(2**14)}, NULL, NULL, 60)": "16384 are allowed",
        "SELECT worker_beat(repeat('w', 1001), '{}', NULL, NULL, 60)": "16384 are allowed",
    }
    for statement, problem in statements.items():
        with engine.begin() as connection, pytest.raises(sa.exc.IntegrityError, match=problem):
            connection.execute(sa.text(statement))
    desk.ann.give_up(claim, "x" * 10_000, final=True)
    assert desk.rows("SELECT length(reason), state FROM tasks") == [(4000, "failed")]
    assert desk.rows("SELECT count(*) FROM results") == [(0,)]


def test_the_command_line_refuses_both_when_a_job_is_submitted(flowcert: Any, monkeypatch: Any, root: Path) -> None:
    video = root / "MoveUp" / "v_MoveUp_g01_c01.avi"
    game = ("--features=global", "--norm=L2", "--tau=1", "--radius=33")

    def submitted(dataset: Path, weights: Path, model: str = "cnn_lstm", command: str = "submit") -> str:
        status, _, said = flowcert(command, dataset, f"--weights={weights}", f"--model={model}", *game)
        assert status == 2
        return said

    monkeypatch.setenv("FLOWCERT_DATA_ROOTS", str(root))
    said = submitted(root.parent / "outside.avi", root / "w.safetensors")
    assert said == f"error: {root.parent / 'outside.avi'}: lies outside the data roots (FLOWCERT_DATA_ROOTS)\n"
    said = submitted(root, root / "w.safetensors")
    assert said == f"error: {root}/MoveUp/link.avi: lies outside the data roots (FLOWCERT_DATA_ROOTS)\n"
    said = submitted(video, root / "link.safetensors")
    assert said.startswith(f"error: --weights: {root}/link.safetensors: lies outside")
    said = submitted(video, root / "w.safetensors", "tests.whole_model:WholeCnnLstm")
    assert said.startswith("error: --model: tests.whole_model:WholeCnnLstm is not in FLOWCERT_MODEL_FACTORIES")
    monkeypatch.setenv("FLOWCERT_MODEL_FACTORIES", "tests.whole_model:*")
    # Now it is imported, and found to be another model than the weights were saved for.
    said = submitted(video, root / "w.safetensors", "tests.whole_model:WholeCnnLstm")
    assert "was saved for the model 'cnn_lstm'" in said


def test_commands_lend_their_own_workers_what_was_typed(database_url: str, broker_url: str, tmp_path: Path) -> None:
    given = Settings(database_url=database_url, broker_url=broker_url, model_factories="a:b")
    with open_servers(given) as servers:
        assert servers.environment("mine:make")["FLOWCERT_MODEL_FACTORIES"] == "a:b,mine:make"
        assert servers.environment("cnn_lstm")["FLOWCERT_MODEL_FACTORIES"] == "a:b"
    with open_servers(Settings(data_dir=tmp_path)) as servers:
        assert servers.environment()["FLOWCERT_MODEL_FACTORIES"] == "*"
