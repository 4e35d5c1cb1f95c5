"""Which camera has crashed a process, and what that leads to."""

from __future__ import annotations

import signal

import pytest

from elastic_inference.flows.produce.pool.blame import (
    FIRST_PAUSE_S,
    FORGIVEN_AFTER_S,
    LONGEST_PAUSE_S,
    Records,
    guilty,
)

# As Python writes it: `tests/unit/base/test_crash_mark.py` has a real one.
REPORT = """Fatal Python error: Segmentation fault

Stack (most recent call first):
  File "decoder.py", line 54 in decode
  File "<mark: source of gate>", line 18 in _call
  File "threading.py", line 975 in run
"""


@pytest.mark.parametrize(
    ("code", "report", "expected"),
    [
        (-signal.SIGSEGV, REPORT, ("gate",)),
        (-signal.SIGABRT, REPORT.replace("gate", "hall"), ("hall",)),
        (-signal.SIGSEGV, REPORT.replace("<mark: source of gate>", "child.py"), ("yard",)),
        (-signal.SIGSEGV, REPORT.replace("source of gate", "push"), ("yard",)),
        (-signal.SIGSEGV, "", ("yard",)),
        (-signal.SIGKILL, "", ()),
        (1, REPORT, ()),
        (0, "", ()),
    ],
)
def test_the_thread_that_crashed_is_guilty_else_who_was_being_opened(
    code: int, report: str, expected: tuple[str, ...]
) -> None:
    assert guilty(code, report, ["yard"]) == expected


def test_quarantine_after_the_second_crash_with_pauses_that_grow() -> None:
    records = Records()
    records.crashed("gate", 100.0)
    assert records.suspect("gate")
    assert not records.quarantined("gate")
    assert records.may_run("gate", 100.0)
    records.crashed("gate", 110.0)
    assert records.quarantined("gate")
    assert not records.may_run("gate", 110.0 + FIRST_PAUSE_S - 0.1)
    assert records.may_run("gate", 110.0 + FIRST_PAUSE_S)
    assert "crashed 2 processes: tried again in 5 s" in (records.sentence("gate", 110.0) or "")
    for _ in range(20):
        records.crashed("gate", 200.0)
    assert not records.may_run("gate", 200.0 + LONGEST_PAUSE_S - 1)
    assert records.may_run("gate", 200.0 + LONGEST_PAUSE_S)
    assert records.sentence("hall", 200.0) is None


def test_a_camera_that_runs_long_enough_is_trusted_again() -> None:
    records = Records()
    records.crashed("once", 0.0)
    records.crashed("gate", 0.0)
    records.crashed("gate", 1.0)
    assert records.forgive(FORGIVEN_AFTER_S - 1) == []
    assert records.forgive(FORGIVEN_AFTER_S + 100) == ["gate"]
    assert not records.suspect("gate")
    assert not records.suspect("once")


def test_of_several_suspects_none_is_blamed_until_it_is_opened_alone() -> None:
    records = Records()
    records.doubt(["gate", "hall"])
    assert records.doubted("gate")
    assert not records.suspect("gate")
    records.opened("gate")
    records.forget("hall")
    assert not records.doubted("gate")
    assert not records.doubted("hall")


def test_a_quarantine_moves_with_the_camera() -> None:
    records = Records()
    records.inherit("gate", 500.0)
    assert records.quarantined("gate")
    assert records.quarantines(100.0)["gate"] >= 500.0
    records.forget("gate")
    assert records.quarantines(100.0) == {}
