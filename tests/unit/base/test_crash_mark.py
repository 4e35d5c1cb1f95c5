"""The mark of a thread in the report of a real crash."""

from __future__ import annotations

import subprocess
import sys

import pytest

from elastic_inference.base.crash_mark import mark_in, marked

# Like a camera process: the report has one thread alone. Others run at the same time.
CRASHES = """
import ctypes, faulthandler, sys, threading
from elastic_inference.base.crash_mark import marked
faulthandler.enable(sys.stdout.fileno(), all_threads=False)
for number in range(120):
    threading.Thread(target=marked(f"source of other-{number}", threading.Event().wait), daemon=True).start()
threading.Thread(target=marked(sys.argv[1], ctypes.string_at), args=(0,)).start()
"""


@pytest.mark.parametrize("mark", ["source of gate", "source of gate-1.left_b", "push"])
def test_the_report_of_a_crash_has_the_mark_of_its_thread(mark: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASHES, mark], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode < 0
    assert mark_in(done.stdout) == mark


def test_a_marked_function_gets_its_arguments() -> None:
    got: list[object] = []
    marked("any", lambda *given: got.extend(given))(1, 2)
    assert got == [1, 2]


def test_a_report_without_a_mark_has_none() -> None:
    assert (
        mark_in('Fatal Python error: Aborted\n\nStack (most recent call first):\n  File "x.py", line 1 in f\n') is None
    )
