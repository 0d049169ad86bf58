"""The evaluation is written from what the commands say of its jobs, without a number left open."""

import json
import re
from pathlib import Path

from benchmarks.evaluation import JOBS, Outcome, figures_of, shown
from common.celery_app import make_app
from tests.rows import Desk

TEMPLATE = Path(__file__).parents[2] / "benchmarks" / "evaluation.md"


def test_every_number_of_the_document_comes_from_the_jobs(flowcert, engine, database_url, broker_url):
    desk = Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))
    desk.submit(*(f"/videos/v_Walk_{name}.avi" for name in ("g01_c01", "g01_c02", "g02_c01")), norm="L2")
    desk.to_explore()
    desk.work_off()
    said = {word: json.loads(flowcert(word, "--json")[1]) for word in ("summary", "results", "trace")}
    done = dict.fromkeys(JOBS, Outcome(**said, minutes=1.5))
    written = TEMPLATE.read_text(encoding="utf-8").format(**shown(done, figures_of(done)))
    assert "right on 3 of 3 clips" in written
    assert "| FMSR | grid | 8 | 8 to 8 | 8 | 8 to 8 |" in written
    assert "over the clips' 2 groups" in written
    assert len(re.findall(r"^\| v_Walk_g02_c01 \| robust \|", written, re.MULTILINE)) == 4
