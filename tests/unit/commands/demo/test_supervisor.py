"""The supervisor with real children."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.waiting import wait_for

from elastic_inference.commands.demo.supervisor import ServiceProcess, Supervisor, preload


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run(supervisor: Supervisor, until: "object", limit_s: float = 20) -> int:
    """Runs it in this (main) thread until `until()` is true."""
    deadline = time.monotonic() + limit_s

    def tick() -> None:
        if until() or time.monotonic() > deadline:  # type: ignore[operator]
            supervisor.stop()

    return supervisor.run(tick)


def test_lines_carry_the_name_of_their_child() -> None:
    out = io.StringIO()
    supervisor = Supervisor(
        [ServiceProcess("one", python("print('hello'); input()")), ServiceProcess("second", python("print('there')"))],
        out,
    )
    run(supervisor, lambda: "there" in out.getvalue() and "hello" in out.getvalue())
    assert "one    | hello\n" in out.getvalue()
    assert "second | there\n" in out.getvalue()


def test_a_crashed_child_starts_again() -> None:
    out = io.StringIO()
    child = ServiceProcess("crash", python("import os; os._exit(4)"))
    supervisor = Supervisor([child], out)
    assert run(supervisor, lambda: child.starts >= 3) == 0
    assert child.starts >= 3
    assert "ended with code 4; restart in" in out.getvalue()


@pytest.mark.parametrize("code", [2, 3])
def test_a_child_that_cannot_work_ends_all(code: int) -> None:
    other = ServiceProcess("other", python("import time; time.sleep(60)"))
    supervisor = Supervisor(
        [other, ServiceProcess("wrong", python(f"import sys; print('error: the port is wrong'); sys.exit({code})"))],
        io.StringIO(),
    )
    assert run(supervisor, lambda: False) == 1
    assert supervisor.failure == "wrong cannot start: the port is wrong"
    assert not other.running


def test_children_that_ignore_the_signal_are_ended_within_five_seconds() -> None:
    out = io.StringIO()
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    children = [ServiceProcess("a", python(stubborn), group=0), ServiceProcess("b", python(stubborn), group=3)]
    supervisor = Supervisor(children, out)
    began: list[float] = []

    def both_up() -> bool:
        if out.getvalue().count("up") == 2:
            began.append(time.monotonic())
            return True
        return False

    run(supervisor, both_up)
    assert time.monotonic() - began[0] < 5
    assert not any(child.running for child in children)


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    preload()
    code = (
        "import sys\n"
        "from elastic_inference.commands.demo.supervisor import ServiceProcess, Supervisor, preload\n"
        "preload()\n"
        "code = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "child = ServiceProcess('c', (sys.executable, '-c', code))\n"
        "Supervisor([child]).run()\n"
    )
    parent = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().partition("|")[2])
        assert is_alive(pid)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()  # type: ignore[union-attr]
    wait_for(lambda: not is_alive(pid), 5, "the child to end with its parent")
