"""What a source worker writes about its cameras, and when."""

from __future__ import annotations

from typing import Any, cast

from elastic_inference.domain.camera import CameraState
from elastic_inference.flows.produce.pool.children import Children
from elastic_inference.flows.produce.pool.statuses import WRITE_EVERY_S, Statuses

OPENS: dict[str, Any] = {
    "state": "reconnecting",
    "reason": "no frame from the source yet",
    "frame_ms": None,
    "failures": 0,
}


class _Children:
    """One camera, and what its process reports."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.reported = report
        self.cost: float | None = None
        self.costs = self.records = self

    def names(self) -> set[str]:
        return {"gate"}

    def report(self, name: str) -> dict[str, Any]:
        return self.reported

    def measured(self, name: str) -> float | None:
        return self.cost

    def sentence(self, name: str, now: float) -> str | None:
        return None


def _statuses(report: dict[str, Any]) -> tuple[Statuses, _Children]:
    children = _Children(report)
    return Statuses("new", cast("Children", children)), children


def test_a_camera_that_only_opens_is_left_to_the_worker_that_hands_it_over() -> None:
    statuses, children = _statuses(OPENS)
    statuses.update(100.0)
    assert statuses.take() == {}
    children.reported = {**OPENS, "state": "live", "frame_ms": 1}
    statuses.update(101.0)
    assert statuses.take()["gate"].state is CameraState.LIVE


def test_a_failure_is_written_at_once_and_silence_soon() -> None:
    statuses, _ = _statuses({**OPENS, "failures": 1, "reason": "It refuses the connection."})
    statuses.update(100.0)
    assert statuses.take()["gate"].reason == "It refuses the connection."
    statuses, _ = _statuses(OPENS)
    statuses.update(100.0)
    statuses.update(100.0 + WRITE_EVERY_S)
    assert statuses.take()["gate"].state is CameraState.RECONNECTING


def test_a_live_camera_says_what_is_not_as_it_should_be() -> None:
    statuses, children = _statuses({**OPENS, "state": "live", "frame_ms": 1, "note": None})
    statuses.update(100.0)
    assert statuses.take()["gate"].reason is None
    children.reported = {**children.reported, "note": "The substream can't be used."}
    statuses.update(100.5)
    assert statuses.take()["gate"].reason == "The substream can't be used."


def test_rate_and_cost_are_written_as_soon_as_they_are_known() -> None:
    statuses, children = _statuses({**OPENS, "state": "live", "frame_ms": 1, "fps": 0.0})
    statuses.update(100.0)
    assert statuses.take()["gate"].fps == 0
    children.reported = {**children.reported, "fps": 15.0}
    statuses.update(100.5)
    found = statuses.take()["gate"]
    assert (found.fps, found.cost) == (15, 0), "a guess would count as measured"
    children.cost = 0.04
    statuses.update(100.8)
    assert statuses.take()["gate"].cost == 0.04
    children.reported = {**children.reported, "fps": 14.0}
    statuses.update(101.0)
    assert statuses.take() == {}
