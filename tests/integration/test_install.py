"""What `make install` and `make demo` install, also after an interruption. Only venv and pip are stand-ins."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.support.waiting import wait_for

PINNED = re.compile(r"^[a-z].*==\S+", re.MULTILINE)
# As the real ones: an environment without pip, or with a package that is half installed, makes pip end in a traceback.
# Pauses without another program before `sleep`: a shell that gets SIGINT beside one that ends by itself goes on.
PYTHON = """#!/usr/bin/env bash
folder="$(cd "$(dirname "$0")/.." && pwd)"
pause() { [[ ! -e "$PAUSE_AT/$1" ]] || { : >"$PAUSE_AT/reached"; sleep 60; }; }
case "$1 $2" in
"-c "*) ;;
"-m venv")
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && pause venv && touch "$3/bin/has-pip"
    ;;
"-m pip")
    [[ -e "$folder/bin/has-pip" && ! -e "$folder/half" ]] || { echo "Traceback (most recent call last):" >&2; exit 2; }
    [[ ! -e "$PAUSE_AT/offline" ]] || exit 1
    touch "$folder/half" && pause pip && rm "$folder/half"
    echo "pip ${*: -1}" >>"$folder/installed-by-pip"
    ;;
esac
"""


class Project:
    """A copy of what `make install` needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.pause_at = folder / "pause"
        self.pause_at.mkdir()
        (self.folder / "tools").mkdir(parents=True)
        shutil.copytree(REPOSITORY / "tools" / "lib", self.folder / "tools" / "lib")
        for name in ("Makefile", "setup.py", "container/locks/dev.txt", "container/locks/demo.txt"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, self.folder / name)
        self.python = folder / "python"
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)
        self.stamp = self.folder / ".venv" / ".installed"

    def start(self, target: str = "install") -> subprocess.Popen[str]:
        """`make install` in a process group of its own."""
        return subprocess.Popen(
            ["make", "--no-print-directory", target, f"PYTHON={self.python}"],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PAUSE_AT": str(self.pause_at)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def break_off(self, at: str, number: signal.Signals) -> None:
        """An installation that gets a signal at this moment."""
        (self.pause_at / at).touch()
        with self.start() as process:
            wait_for((self.pause_at / "reached").exists, 20, "the installation to get there")
            os.killpg(process.pid, number)
            process.wait(30)
        for file in self.pause_at.iterdir():
            file.unlink()

    def install(self, target: str = "install") -> tuple[int, str]:
        """The exit code and what was said."""
        with self.start(target) as process:
            said = process.communicate(timeout=60)[0]
        return process.returncode, said


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
@pytest.mark.parametrize("at", ["venv", "pip"])
def test_an_interrupted_first_installation_is_repaired(project: Project, at: str, number: signal.Signals) -> None:
    project.break_off(at, number)
    assert not project.stamp.exists()
    code, said = project.install()
    assert code == 0, said
    assert "was interrupted: starting again" in said
    assert project.stamp.exists()
    assert project.install() == (0, "make: Nothing to be done for 'install'.\n")


def test_an_interrupted_update_is_repaired(project: Project) -> None:
    assert project.install()[0] == 0
    os.utime(project.stamp, (0, 0))
    project.break_off("pip", signal.SIGKILL)
    code, said = project.install()
    assert code == 0, said
    assert "was interrupted" in said


def test_an_update_that_fails_cleanly_keeps_the_environment(project: Project) -> None:
    assert project.install()[0] == 0
    kept = project.folder / ".venv" / "kept"
    kept.touch()
    os.utime(project.stamp, (0, 0))
    (project.pause_at / "offline").touch()
    assert project.install()[0] == 2
    (project.pause_at / "offline").unlink()
    assert project.install()[0] == 0
    assert kept.exists()


def test_the_demo_installs_less_and_what_the_tests_need_is_added(project: Project) -> None:
    by_pip = project.folder / ".venv" / "installed-by-pip"
    assert project.install("install-demo")[0] == 0
    assert not project.stamp.exists()
    assert "pip container/locks/demo.txt" in by_pip.read_text()
    assert "dev.txt" not in by_pip.read_text()
    assert project.install("install-demo") == (0, "make: Nothing to be done for 'install-demo'.\n")
    assert project.install()[0] == 0
    assert "pip container/locks/dev.txt" in by_pip.read_text(), "added, not started again"
    assert project.stamp.exists()
    assert project.install("install-demo")[1] == "make: Nothing to be done for 'install-demo'.\n"


def test_the_demo_runs_what_the_tests_have_tested() -> None:
    locks = REPOSITORY / "container" / "locks"
    demo, tests = ((locks / name).read_text() for name in ("demo.txt", "dev.txt"))
    assert set(PINNED.findall(demo)) <= set(PINNED.findall(tests))
