"""Gives the tests of dashboards a real database: two finished jobs, with tasks of all kinds, and one at work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from common.errors import FlowcertError
from common.store.engine import open_engine
from scheduler.embedded import EmbeddedStack
from scheduler.intake.config import read_request
from scheduler.intake.dataset import FoundClip
from scheduler.intake.spec import build_spec
from scheduler.intake.submit import submit
from scheduler.loop import tick
from tests.conftest import TEMPLATE, _administer, _create, _url
from tests.harness import BUDGET, INFO, Service
from worker.demo.render import render_dataset

WEIGHTS = Path(__file__).parents[2] / "worker" / "demo" / "weights.safetensors"
#: At most two moves of a whole 64x64 frame: a game that a few tasks explore.
GAME = {
    "model": "cnn_lstm", "weights": str(WEIGHTS), "features": "global", "norm": "L2", "tau": 1, "radius": 91,
    "gradients": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """A database to look at: ``first`` and ``second`` are finished jobs of the same clips, ``running`` is at work."""

    engine: sa.Engine
    first: int
    second: int
    running: int

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Rows of a query, with the rights that a dashboard has."""
        with self.engine.connect() as connection:
            connection.execute(sa.text("SET TRANSACTION READ ONLY"))
            connection.execute(sa.text("SET LOCAL ROLE flowcert_dashboard"))
            connection.execution_options(no_parameters=True)
            return [dict(row) for row in connection.exec_driver_sql(query).mappings()]


@pytest.fixture(scope="session")
def seen(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Certify rendered clips, one of them mislabelled and one no video, through the real scheduler and worker code."""
    name, folder = "test_seen", tmp_path_factory.mktemp("seen")
    _create(stack, name, TEMPLATE)
    engine = open_engine(_url(stack, name))
    (right, other, *_) = [
        FoundClip(label, str(path)) for path, label in render_dataset(folder / "clips", per_class=1, seed=0)
    ]
    # The same file under another name and label is another clip, of which the model is not convinced.
    wrong = Path(right.path).with_name("again.avi")
    wrong.symlink_to(right.path)
    broken = FoundClip(right.label, str(Path(right.path).with_name("broken.avi")))
    Path(broken.path).write_bytes(b"no video")
    clips = [right, other, FoundClip(other.label, str(wrong))]
    service = Service(engine, _url(stack, name), stack.urls.broker_url, folder, Random(8))

    def hand_in(chosen: list[FoundClip], **changes: object) -> int:
        spec = build_spec(read_request({"dataset": str(folder / "clips"), **GAME, **changes}, None))
        job = submit(engine, spec, chosen, BUDGET).job_id
        service.pace.sizes[job] = 400
        return job

    first = hand_in([broken, *clips], continuous=True, lipschitz="estimated")
    _give_up_the_broken_one(service)
    second = hand_in(clips, tau=2, radius=182)
    service.run()
    running = hand_in([other], tau=3, radius=273)
    tick(engine, service.app, service.settings, service.pace)
    assert service.workers[0].store.claim(_first_ready(engine)) is not None
    for worker in service.workers:
        worker.store.beat(INFO, None, None)
    yield Seen(engine, first, second, running)
    engine.dispose()
    _administer(stack, f'DROP DATABASE "{name}" WITH (FORCE)')


def _first_ready(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT min(id) FROM tasks WHERE state = 'ready'")).scalar_one()


def _give_up_the_broken_one(service: Service) -> None:
    """Let the first task fail as a worker's child lets it fail, and leave another one for its lease to run out."""
    tick(service.engine, service.app, service.settings, service.pace)
    worker = service.workers[0]
    claim = worker.store.claim(_first_ready(service.engine))
    assert claim is not None
    assert claim.video.endswith("broken.avi")
    with pytest.raises(FlowcertError) as problem:
        worker.work(claim, None)
    worker.store.give_up(claim, str(problem.value), final=True)
    assert worker.doomed.claim(_first_ready(service.engine)) is not None
