"""Cameras that are lost and come back: once each, whatever happens to pods, workers and Redis."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from elastic_inference.domain.events.camera_watch import CameraReport, CameraWatch, Sight
from elastic_inference.domain.events.event import Event, event_json, parse_event

BEGAN_MS = 1_790_000_000_000.0


class World:
    """A camera `gate`, one second at a time."""

    def __init__(self) -> None:
        self.watch = CameraWatch(10.0, 0.0)
        self.now_s = 0.0
        self.seen: dict[str, float] = {}
        self.standing: bool | None = None
        self.sight = Sight(CameraReport.MISSING, pods=True)

    def run(self, seconds: int, results: bool = False) -> list[str]:
        """What was said meanwhile: `<revision> <state> <second in which it began>`."""
        return [said(each) for each in self.events(seconds, results)]

    def events(self, seconds: int, results: bool = False) -> Iterable[Event]:
        for _ in range(seconds):
            self.now_s += 1
            now_ms = BEGAN_MS + self.now_s * 1000
            if results:
                self.seen["gate"] = now_ms
            sights = dict.fromkeys(self.watch.quiet(self.seen, now_ms), self.sight)
            yield from self.watch.look(self.seen, sights, lambda _: self.standing, now_ms, self.now_s)

    def take_over(self) -> None:
        """Another worker continues."""
        self.watch = CameraWatch(10.0, self.now_s, self.watch.state())


def said(event: Event) -> str:
    assert parse_event(event_json(event)) == event
    return f"{event.rev} {event.state} {(event.began_ms - BEGAN_MS) / 1000:.0f}"


@pytest.mark.parametrize("report", [CameraReport.SILENT, CameraReport.MISSING])
def test_a_camera_is_lost_after_the_bound_once_and_back_once(report: CameraReport) -> None:
    world = World()
    world.sight = Sight(report, pods=True)
    assert world.run(20, results=True) == []
    assert world.run(9) == []
    (lost,) = world.events(30)
    assert said(lost) == "1 lost 20"
    assert (lost.at_ms - lost.began_ms, lost.duration_s) == (10_000, 10)
    (back,) = world.events(20, results=True)
    assert said(back) == "2 back 20"
    assert (back.id, back.ended_ms, back.duration_s) == (lost.id, BEGAN_MS + 60_000, 40)
    assert world.run(10) + world.run(1) == ["1 lost 79"]


def test_a_pool_without_pods_has_no_lost_cameras() -> None:
    world = World()
    world.run(20, results=True)
    world.sight = Sight(CameraReport.LIVE, pods=False)
    assert world.run(3600) == []
    world.sight = Sight(CameraReport.SILENT, pods=False)
    assert world.run(30) == ["1 lost 3620"]
    world.sight = Sight(CameraReport.LIVE, pods=False)
    assert world.run(30) == ["2 back 3620"]


def test_without_a_producers_report_missing_results_of_all_are_the_pods() -> None:
    world = World()
    world.run(20, results=True)
    world.sight = Sight(CameraReport.MISSING, pods=False)
    assert world.run(60) == []
    world.sight = Sight(CameraReport.UNKNOWN, pods=True)
    assert world.run(60) == []


def test_a_pool_camera_without_any_producer_is_lost_without_pods_too() -> None:
    world = World()
    world.standing = True
    world.run(20, results=True)
    world.sight = Sight(CameraReport.MISSING, pods=False)
    assert world.run(60) == ["1 lost 20"]


@pytest.mark.parametrize("standing", [False, None])
def test_a_camera_that_is_paused_or_removed_is_not_lost(standing: bool | None) -> None:
    world = World()
    world.standing = True
    world.run(20, results=True)
    world.take_over()
    world.standing = standing
    assert world.run(120) == []
    # It is known again once it gives results.
    world.standing = True
    world.run(5, results=True)
    assert world.run(60) == ["1 lost 145"]
    world.standing = standing
    assert world.run(60) == ["2 None 145"]


def test_a_takeover_says_nothing_twice_and_judges_after_the_bound() -> None:
    world = World()
    world.run(20, results=True)
    world.run(5)
    world.take_over()
    assert world.run(9) == []
    assert world.run(60) == ["1 lost 20"]
    world.take_over()
    assert world.run(60) == []
    assert world.run(5, results=True) == ["2 back 20"]
    world.take_over()
    assert world.run(5, results=True) == []


def test_after_redis_was_unavailable_the_bound_begins_anew() -> None:
    world = World()
    world.run(20, results=True)
    world.now_s += 300
    world.watch.restart(world.now_s)
    assert world.run(8) == []
    assert world.run(60, results=True) == []
    world.now_s += 300
    world.watch.restart(world.now_s)
    assert world.run(20) == ["1 lost 388"]


def test_streams_of_a_time_before_the_watch_are_no_cameras() -> None:
    world = World()
    world.seen["gate"] = BEGAN_MS - 60_000
    assert world.run(60) == []


@pytest.mark.parametrize("saved", [b"", b"\x00", b"\xc1", b"\x92\x02\x80", b"\x92\x01\x81\xa4gate\x92\xc3\xc3"])
def test_a_state_that_cannot_be_read_begins_anew(saved: bytes) -> None:
    assert not CameraWatch(10.0, 0.0, saved).names
