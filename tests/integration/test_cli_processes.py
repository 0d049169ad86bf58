"""Child processes are restarted, stopped in order, and never outlive their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.errors import ServerError
from scheduler import processes
from scheduler.processes import Family, launch, stop_all

IGNORES_SIGTERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
SLEEPS = ("-c", "import time; time.sleep(60)")


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, seconds: float = 20.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def family(tmp_path, said):
    members = Family(dict(os.environ), tmp_path / "logs", said.append)
    yield members
    members.stop()


def pid_in(log: Path):
    return int(text) if (text := log.read_text().strip().rpartition("\n")[2]) else None


def test_a_killed_process_starts_again(family, said, tmp_path):
    family.start("one", ("-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"))
    log = tmp_path / "logs" / "one.log"
    first = wait_for(lambda: pid_in(log))
    os.kill(first, signal.SIGKILL)

    def tended():
        family.tend()
        return pid_in(log) != first

    wait_for(tended)
    assert said == [f"one was killed by SIGKILL; starting it again in 0.5 s (1 of 10); see {log}"]


def test_a_process_that_refuses_to_start_is_not_started_again(family, tmp_path):
    family.start("one", ("-c", "print('no schema'); raise SystemExit(2)"))
    with pytest.raises(ServerError, match="one refused to start: no schema; see"):
        wait_for(family.tend)


def test_restarts_end_after_a_while(family, said, monkeypatch):
    monkeypatch.setattr(processes, "MAX_RESTARTS", 1)
    family.start("one", ("-c", "raise SystemExit('broken')"))
    with pytest.raises(ServerError, match="one ended with status 1 after 1 restarts: broken; see"):
        wait_for(family.tend)
    assert len(said) == 1


def test_restarts_of_long_ago_do_not_count(family, said, monkeypatch):
    monkeypatch.setattr(processes, "MAX_RESTARTS", 1)
    monkeypatch.setattr(processes, "FORGOTTEN_SECONDS", 0.0)
    family.start("one", ("-c", "raise SystemExit('broken')"))
    wait_for(lambda: family.tend() or len(said) == 3)
    assert {line.partition("; see")[0] for line in said} == {
        "one ended with status 1; starting it again in 0.5 s (1 of 1)"
    }


def test_a_process_keeps_its_own_environment_when_it_starts_again(said, capfd):
    members = Family({**os.environ, "WHO": "all"}, None, said.append)
    members.start("one", ("-c", "import os; print(os.environ['WHO'], flush=True); raise SystemExit(1)"), {"WHO": "one"})
    seen = []

    def twice():
        members.tend()
        seen.extend(capfd.readouterr().out.split())
        return len(seen) == 2

    wait_for(twice)
    members.stop()
    assert seen == ["one", "one"]
    # Without a log of its own it writes where its parent writes.
    assert said[0] == "one ended with status 1; starting it again in 0.5 s (1 of 10)"


def test_workers_stop_before_the_scheduler(tmp_path):
    """Each stand-in writes when it is asked to stop; a worker takes its time over it."""
    order = tmp_path / "order"
    package = tmp_path / "programs"
    for name, pause in (("worker", 0.5), ("scheduler", 0.0)):
        (package / name).mkdir(parents=True)
        # A folder without it gives way to a package of the same name that comes later on the path.
        (package / name / "__init__.py").touch()
        (package / name / "__main__.py").write_text(
            "import signal, sys, time\n"
            "def stop(*_):\n"
            f"    time.sleep({pause})\n"
            f"    open({str(order)!r}, 'a').write({name!r} + ' ')\n"
            "    sys.exit(0)\n"
            "signal.signal(signal.SIGTERM, stop)\n"
            "print('up', flush=True)\n"
            "time.sleep(60)\n"
        )
    members = Family({**os.environ, "PYTHONPATH": str(package)}, tmp_path / "logs", lambda _: None)
    members.start("scheduler", processes.SCHEDULER)
    members.start("worker-1", processes.WORKER)
    for name in ("scheduler", "worker-1"):
        wait_for(lambda log=tmp_path / "logs" / f"{name}.log": "up" in log.read_text())
    members.stop()
    assert order.read_text() == "worker scheduler "


def test_what_does_not_stop_is_killed_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    log = tmp_path / "log"
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        + IGNORES_SIGTERM
        + "print(child.pid, flush=True); time.sleep(60)"
    )
    process = launch(("-c", code), dict(os.environ), log)
    child = wait_for(lambda: len(log.read_text().split()) == 2 and pid_in(log))
    stop_all([process])
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: not alive(child))


def test_children_die_with_a_parent_that_is_killed(tmp_path):
    program = (
        "import os, signal, sys, time; from pathlib import Path; from scheduler.processes import launch\n"
        f"child = launch({SLEEPS!r}, dict(os.environ), Path(sys.argv[1]))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not alive(child))
