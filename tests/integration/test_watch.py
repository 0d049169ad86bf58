"""What ``flowcert watch`` shows while a job runs: drawn on a real terminal, told in lines elsewhere."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from common.celery_app import make_app
from common.settings import Settings
from common.store.engine import open_worker_engine
from common.wire import WorkerInfo
from scheduler.intake import FoundClip, cancel, pause, resume, submit
from scheduler.report import live
from scheduler.report.live import Watcher
from scheduler.report.live_picture import Axis, clip_lines, picture
from tests.rows import Desk, attacked, make_spec, prepared, witness_at
from worker.store import WorkerStore

ROOT = Path(__file__).parents[2]
INFO = WorkerInfo(host="test", pid=1, device="cpu", versions={})
#: What a terminal is told besides text: moves of the cursor, styles, erased lines.
CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def desk(engine, database_url, broker_url):
    made = Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))
    made.settings = Settings(window=3)
    return made


def hand_in(desk, *names, folder="/v", **changes):
    clips = [FoundClip("walk", f"{folder}/{name}.avi") for name in names]
    job = submit(desk.engine, make_spec(**changes), clips, 1_000_000).job_id
    desk.pace.sizes[job] = desk.task_points
    return job


@pytest.fixture
def job(desk):
    """A job of five clips: one solved, one misclassified, two robust, and one that is being prepared."""
    made = hand_in(desk, "decided", "wrong", "safe", "sure")
    desk.serve(
        decided={"attack": attacked(witness_at(((0, 1),)))}, wrong={"prepare": prepared(predicted="run")},
    )  # fmt: skip
    assert hand_in(desk, "decided", "wrong", "safe", "sure", "busy") == made
    desk.round()
    desk.claim()
    return made


def drawn(engine, job, width, height):
    """Lines of a look at a job on a terminal of this size."""
    console = Console(width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(picture(Watcher(engine, job, 120.0).look(clip_lines(height, 2)), console, 60.0))
    return captured.get().splitlines()


def test_a_look_has_the_job_its_workers_and_its_clips(desk, job):
    lines = drawn(desk.engine, job, 160, 40)
    assert lines[0].startswith(f"job {job} running  cnn_lstm, global, L1, tau 1 px, radius 8 px")
    assert "4 of 5 clips finished: 1 solved, 2 robust, 1 open, 1 misclassified" in lines[1]
    text = "\n".join(lines)
    assert re.search(r"^ann cpu, seen \d+ s ago: prepare v/busy.avi \(task \d+\)$", text, re.MULTILINE)
    assert re.search(r"^bob cpu, seen \d+ s ago: idle$", text, re.MULTILINE)
    clips = {line.split()[0]: line for line in lines if line.startswith("v/")}
    # The clip that is worked on comes first.
    assert list(clips) == ["v/busy.avi", "v/sure.avi", "v/safe.avi", "v/decided.avi", "v/wrong.avi"]
    assert re.fullmatch(r"v/safe.avi +robust +━+ +8 .. ∞ +\? +133 of 133 *", clips["v/safe.avi"])
    assert re.fullmatch(r"v/decided.avi +solved +━+┃╳+ += 2 +≤ 2 +1 of 1 *", clips["v/decided.avi"])
    assert re.fullmatch(r"v/wrong.avi +misclassified *", clips["v/wrong.avi"])


@pytest.mark.parametrize(("width", "height"), [(200, 60), (120, 30), (80, 24), (60, 16), (40, 12)])
def test_a_look_fits_the_terminal(desk, job, width, height):
    hand_in(
        desk,
        *(f"a_clip_of_a_long_name_{number:05}" for number in range(70)),
        "decided",
        "wrong",
        "safe",
        "sure",
        "busy",
    )
    for number in range(30):
        WorkerStore(open_worker_engine(desk.engine.url), f"worker-{number}", 60.0).beat(INFO, None, None)
    lines = drawn(desk.engine, job, width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    assert "more workers; 1 of 32 have a task" in "\n".join(lines)
    shown = sum("…" in line or line.startswith("v/") for line in lines[5:])
    assert shown >= (height - 16) // 2


def test_clips_that_moved_last_come_first_whatever_other_jobs_do(desk, job):
    watcher = Watcher(desk.engine, job, 120.0)

    def order():
        return [row["video"][3:-4] for row in watcher.look(3).clips]

    assert order() == ["busy", "sure", "safe"]
    other = hand_in(desk, "x", "y", dataset="/other", folder="/other")
    desk.serve()
    assert desk.rows(f"SELECT count(*) FROM bound_trace WHERE job_id = {other}")[0][0] > 0
    assert order() == ["busy", "sure", "safe"]
    with desk.engine.begin() as connection:
        move = "INSERT INTO bound_events (video_id, lower) SELECT id, 1 FROM videos WHERE path = '/v/decided.avi'"
        connection.execute(sa.text(move))
    assert order() == ["busy", "decided", "sure"]


def test_a_paused_job_says_how_it_goes_on(desk, job):
    pause(desk.engine, job)
    assert drawn(desk.engine, job, 120, 30)[0].startswith(f"job {job} paused; flowcert resume {job} goes on")


def test_no_look_scans_the_tasks(desk):
    job = hand_in(desk, *(f"{number:04}" for number in range(3_000)))
    with desk.engine.begin() as connection:
        for statement in (
            """UPDATE videos SET status = 'exploring', prepared_at = now(), clip_digest = repeat('a', 64),
                predicted = 'walk'""",
            "INSERT INTO bounds (video_id, lower) SELECT id, 1 FROM videos",
            """INSERT INTO subtrees (video_id, prefix, first, last, floor, threshold, lower)
                SELECT v.id, '[]', g, g + 1, 0, 9, 0 FROM videos v CROSS JOIN generate_series(1, 10) g""",
            """INSERT INTO tasks (video_id, kind, subtree_id, state, finished_at)
                SELECT video_id, 'explore', id, 'merged', now() FROM subtrees""",
        ):
            connection.execute(sa.text(statement))
    with desk.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))
        given = {
            "job": job, "silent": 120.0, "since": 0, "latest": 10, "moves": 10, "videos": [5, 6, 7], "count": 10,
        }  # fmt: skip
        for query in (live._CREW, live._LATEST_MOVE, live._MOVED, live._CLIPS):
            plan = "\n".join(connection.execute(sa.text(f"EXPLAIN {query.text}"), given).scalars())
            assert "Scan" in plan
            for table in ("tasks", "videos", "bounds", "bound_events"):
                assert f"Seq Scan on {table} " not in plan, plan


@given(
    st.floats(1e-3, 10), st.floats(1, 1e4), st.floats(0, 2), st.floats(0, 2), st.integers(4, 80), st.booleans()
)  # fmt: skip
def test_no_column_of_a_bar_claims_too_much(tau, factor, one, other, width, unknown):
    axis = Axis(tau, tau * factor)
    lower, upper = sorted((min(one, 1) * axis.radius, min(other, 1) * axis.radius))
    row = {"verdict": "open", "fmsr_lower": lower, "fmsr_upper": None if unknown else upper}
    bar = axis.bar(row, width).plain
    assert len(bar) == width
    safe, beyond = bar.count("━"), bar.count("╳")
    assert safe <= axis.column(lower, width) + 1e-6
    assert width - beyond >= axis.column(upper, width) - 1e-6 or unknown
    assert beyond == 0 or not unknown
    assert len(axis.ruler(width)) == width


def watching(desk, broker_url, tmp_path, job, **streams):
    """The command as a process of its own."""
    environment = {
        **os.environ, "FLOWCERT_DATABASE_URL": desk.engine.url.render_as_string(hide_password=False),
        "FLOWCERT_BROKER_URL": broker_url, "FLOWCERT_DATA_DIR": str(tmp_path), "TERM": "xterm-256color",
        "FORCE_COLOR": "1", "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    command = [sys.executable, "-m", "scheduler.cli.main", "watch", str(job)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True, **streams)


class Screen:
    """A terminal of 100 columns and 30 lines with a command on it, and all it was told."""

    def __init__(self, start):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = start(stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=self._control)
        os.close(theirs)
        self.told = b""

    @staticmethod
    def _control():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def read(self):
        """Take what there is; nothing more comes from a command that has ended."""
        with contextlib.suppress(OSError):
            self.told += os.read(self._ours, 65536)

    def wait(self, words):
        """Read until the words are there, without what moves the cursor and sets styles."""
        limit = time.monotonic() + 120
        while words not in CONTROL.sub(b"", self.told).decode(errors="replace"):
            assert time.monotonic() < limit, self.told
            self.read()

    def press(self, key):
        os.write(self._ours, key)

    def close(self):
        while self.process.poll() is None:
            self.read()
        self.read()
        os.close(self._ours)


def test_a_terminal_is_drawn_on_until_the_job_ends(desk, job, broker_url, tmp_path):
    screen = Screen(lambda **streams: watching(desk, broker_url, tmp_path, job, **streams))
    screen.wait(f"job {job} running")
    screen.wait("prepare v/busy.avi")
    pause(desk.engine, job)
    screen.wait(f"job {job} paused; flowcert resume {job} goes on")
    resume(desk.engine, job)
    cancel(desk.engine, job)
    screen.wait(f"job {job} is cancelled; flowcert results {job} shows its bounds")
    screen.close()
    assert screen.process.returncode == 0
    assert b"\x1b[" in screen.told
    assert "━" in screen.told.decode(errors="replace")


def test_ctrl_c_ends_the_showing_and_leaves_the_job(desk, job, broker_url, tmp_path):
    screen = Screen(lambda **streams: watching(desk, broker_url, tmp_path, job, **streams))
    screen.wait("prepare v/busy.avi")
    screen.press(b"\x03")
    screen.wait(f"job {job} is left as it is; flowcert watch {job} shows it again")
    screen.close()
    assert screen.process.returncode == 130
    # The cursor is shown again.
    assert screen.told.rfind(b"\x1b[?25h") > screen.told.rfind(b"\x1b[?25l")
    assert desk.rows("SELECT status FROM jobs") == [("running",)]
    assert desk.rows("SELECT count(*) FROM tasks WHERE state = 'leased'") == [(1,)]


def test_a_pipe_gets_lines_without_control_characters(desk, job, broker_url, tmp_path):
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = watching(desk, broker_url, tmp_path, job, **streams)
    lines = [process.stderr.readline()]
    pause(desk.engine, job)
    lines.append(process.stderr.readline())
    cancel(desk.engine, job)
    output, rest = process.communicate(timeout=120)
    told = b"".join([*lines, rest]).decode()
    assert (process.returncode, output) == (0, b"")
    assert all(sign == "\n" or sign.isprintable() for sign in told), told
    first, second, third, last = told.splitlines()
    assert first.startswith(f"job {job}: 4 of 5 clips finished, 4 attacked and bounded, 267 of ")
    assert second.startswith(f"job {job}: paused, 4 of 5 clips finished")
    assert third.startswith(f"job {job}: cancelled, 5 of 5 clips finished")
    assert last == f"job {job} is cancelled; flowcert results {job} shows its bounds"
