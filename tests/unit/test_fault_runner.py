"""When a fault is tried again."""

from __future__ import annotations

from typing import Any, cast

import pytest
from tests.faults import runner
from tests.faults.record import Account, Bar, Row

MISSED = Bar("Redis answers within 1 s", False, "2.0 s", fails=True, own=True)


def rows(monkeypatch: pytest.MonkeyPatch, *made: Row) -> Row:
    """The row that counts if the tries give these."""
    left = list(made)
    monkeypatch.setattr(runner, "_run_once", lambda *_: (left.pop(0), Account()))
    nothing = cast(Any, None)
    row, _ = runner.run_fault(nothing, nothing, Account())
    assert not left
    return row


def test_a_missed_bar_is_tried_once_more_and_the_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    row = rows(monkeypatch, Row("g", "n", bars=[MISSED]), Row("g", "n"))
    assert not row.fails()
    assert row.notes == [f"the second try; the first missed: {MISSED.text()}"]
    assert rows(monkeypatch, Row("g", "n", bars=[MISSED]), Row("g", "n", bars=[MISSED])).fails()


def test_a_bar_that_only_shows_and_a_lost_frame_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Bar("memory as before", False, "", fails=False)
    assert not rows(monkeypatch, Row("g", "n", bars=[shown])).fails()
    lost = Row("g", "n", account=Account(pushed=1), bars=[Bar("every frame accounted for", False, "1 are not")])
    assert rows(monkeypatch, lost).fails()
