"""A round costs what it plans, not what a job has: of many clips, it loads those that it gives tasks."""

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.store.tables import Video
from scheduler.planning import _PAGE
from tests.rows import Desk


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


def test_a_round_loads_the_clips_that_it_plans(desk, engine):
    desk.submit(*(f"/videos/{number:03}.avi" for number in range(300)))
    desk.round()
    assert desk.rows("SELECT kind, count(*), count(announced_at) FROM tasks GROUP BY kind") == [("prepare", 300, 200)]
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE tasks SET state = 'merged', finished_at = now()"))
        connection.execute(
            sa.text(
                "UPDATE videos SET status = 'exploring', clip_digest = 'c', prepared_at = now(), radius_cost = 8,"
                " margin = 1, predicted = label, points_total = 133, points_needed = 133,"
                " region_sizes = '[[[2, 1]], [[3, 1]]]'"
            )
        )
        connection.execute(sa.text("INSERT INTO bounds (video_id, lower) SELECT id, 0 FROM videos"))
    loaded = []

    def note(video, _context):
        loaded.append(video)

    sa.event.listen(Video, "load", note)
    try:
        desk.round()
    finally:
        sa.event.remove(Video, "load", note)
    ((tasks,),) = desk.rows("SELECT count(*) FROM tasks WHERE state = 'ready'")
    # They are read by the page, so that the last page may have some that get nothing.
    assert 0 < len(loaded) < tasks + _PAGE < 300
