"""When a fault is tried again."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from tests.faults import runner
from tests.faults.record import Account, Bar, Row
from tests.support.manifests import PROJECT

from elastic_inference.commands.manifests.settings import SETTINGS

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


def test_a_late_consequence_misses_its_bar_and_fails_at_three_times_of_it() -> None:
    seen = runner.Seen(cast(Any, None))
    seen.within("it is gone", lambda: True, 0.0)
    seen.within("it is gone", lambda: False, 0.0)
    assert [(bar.met, bar.fails) for bar in seen.bars] == [(False, False), (False, True)]


@pytest.mark.parametrize(("took_s", "worked_s", "held_up"), [(0.9, 0.0, False), (2.4, 2.3, False), (2.4, 0.1, True)])
def test_only_a_redis_that_works_is_late_by_its_own_fault(took_s: float, worked_s: float, held_up: bool) -> None:
    answers = runner.Answers(1.0)
    answers.note(took_s, worked_s)
    answers.note(0.1, 0.0)
    assert answers.held_up is held_up


@pytest.mark.parametrize(
    ("after", "missed"),
    [
        ({"pod-1": (210.0, 20)}, []),
        ({"pod-1": (237.0, 20)}, ["memory as before: pod-1 200 to 237 MB"]),
        ({"pod-1": (200.0, 33)}, ["descriptors as before: pod-1 20 to 33"]),
        (
            {"pod-1": (200.0, 20), "housekeeping": (140.0, 9)},
            ["memory below half of the limit: housekeeping 140 of 268 MB"],
        ),
    ],
)
def test_memory_and_descriptors_that_stay_taken_fail_a_fault(
    after: dict[str, tuple[float, int]], missed: list[str]
) -> None:
    row = Row("g", "n", back_s=0.1)
    row.bars = runner._bars(row, {"pod-1": (200.0, 20)}, after)
    assert [bar.text() for bar in row.missed()] == missed
    assert row.fails() == bool(missed)


def test_the_limits_of_memory_are_those_of_the_manifests() -> None:
    parts = {"pod": "inference", "video": "camera"}
    for name, limit_mb in runner.LIMITS_MB.items():
        text = (PROJECT / "kubernetes" / "parts" / f"{parts.get(name, name)}.yaml.j2").read_text()
        (given,) = re.findall(r"limits:\s+cpu: .+\s+memory: \"?([\w {}]+)\"?", text)
        size = re.fullmatch(r"(\d+)([MG])i", SETTINGS["INFER_MEMORY_LIMIT"] if "{{" in given else given)
        assert size is not None, given
        assert limit_mb == int(size[1]) * (1 << {"M": 20, "G": 30}[size[2]]) // 10**6
