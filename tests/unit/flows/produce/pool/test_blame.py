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

REPORT = """Fatal Python error: Segmentation fault

Current thread 0x00007f5b2a7fc640 (most recent call first):
  File "decoder.py", line 54 in decode
"""
THREADS = {0x7F5B2A7FC640: "gate", 0x7F5B2A7FC641: "hall"}


@pytest.mark.parametrize(
    ("code", "report", "expected"),
    [
        (-signal.SIGSEGV, REPORT, ("gate",)),
        (-signal.SIGABRT, REPORT.replace("2a7fc640", "2a7fc641"), ("hall",)),
        (-signal.SIGSEGV, REPORT.replace("2a7fc640", "11111111"), ("yard",)),
        (-signal.SIGSEGV, "", ("yard",)),
        (-signal.SIGKILL, "", ()),
        (1, REPORT, ()),
        (0, "", ()),
    ],
)
def test_the_thread_that_crashed_is_guilty_else_who_was_being_opened(
    code: int, report: str, expected: tuple[str, ...]
) -> None:
    assert guilty(code, report, THREADS, ["yard"]) == expected


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


def test_a_quarantine_moves_with_the_camera() -> None:
    records = Records()
    records.inherit("gate", 500.0)
    assert records.quarantined("gate")
    assert records.quarantines(100.0)["gate"] >= 500.0
    records.forget("gate")
    assert records.quarantines(100.0) == {}
