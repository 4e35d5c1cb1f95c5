"""Cameras that are lost and back, told by event workers on a real Valkey, also after one of them was killed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import redis

from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera, spec_value
from elastic_inference.adapters.event_store.event_store import CAMERAS
from elastic_inference.adapters.event_store.source_reports import SourceReports
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.events.camera_watch import CameraReport
from elastic_inference.domain.events.event import Event, EventKind, parse_event
from tests.support.event_workers import WorkerProcess, add
from tests.support.waiting import wait_for

PATIENCE_S = 120.0
POOL = ("pool", "paused", "removed")
CAMERAS_OF_TEST = (*POOL, "plain", "steady", "later")
LOST_S = "3"


class Site:
    """Cameras, their producers' reports and their results, as this test has them."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._order = 0

    def report(self, name: str, state: str) -> None:
        """What its producer says from now on; here it does not expire."""
        self._client.hset(keys.source("people", name), "state", state)

    def no_report(self, name: str) -> None:
        """Its producer has ended."""
        self._client.delete(keys.source("people", name))

    def configure(self, name: str, enabled: bool) -> None:
        """As housekeeping does with a camera of the pool."""
        spec = CameraSpec(name=name, url="rtsp://camera.example/1", types=("people",), enabled=enabled)
        self._client.hset(keys.CAMERA_SPECS, name, spec_value(CompleteCamera(1, spec)))

    def feed_until(self, names: tuple[str, ...], done: Callable[[], Any], what: str) -> None:
        """Writes results of these cameras until a condition holds."""

        def look() -> Any:
            self._order += 1
            for name in names:
                add(self._client, f"{name}:people:inferred", self._order)
            return done()

        wait_for(look, PATIENCE_S, what, every_s=0.2)

    def known(self) -> set[str]:
        """The cameras that event workers follow."""
        found: set[str] = set()
        for partition in range(16):
            saved: Any = self._client.hget(keys.event_states(partition), CAMERAS)
            found.update(msgpack.unpackb(saved)[1] if saved else ())
        return found

    def told(self, name: str) -> list[Event]:
        """The events about a camera itself."""
        rows: Any = self._client.xrange(keys.events(keys.partition_of(name, 16)))
        events = [parse_event(fields[b"json"]) for _, fields in rows]
        return [each for each in events if each.kind is EventKind.CAMERA and each.camera == name]

    def states(self, name: str) -> list[tuple[int, str]]:
        """Revision and state of each of them."""
        return [(each.rev, str(each.state)) for each in self.told(name)]


def test_lost_cameras_are_told_once_and_no_others(server: EmbeddedValkey, broker: redis.Redis) -> None:
    site = Site(broker)
    for name in POOL:
        site.configure(name, True)
    for name in (*POOL, "steady", "later"):
        site.report(name, "live")
    with WorkerProcess(server.port, EVENT_CAMERA_LOST_S=LOST_S) as first:
        site.feed_until(CAMERAS_OF_TEST, lambda: site.known() == {*CAMERAS_OF_TEST}, "all cameras")
        site.configure("paused", False)
        broker.hdel(keys.CAMERA_SPECS, "removed")
        for name in ("paused", "removed"):
            site.no_report(name)
        site.report("pool", "stalled")
        site.feed_until(
            ("steady",),
            lambda: (
                site.states("pool") and site.states("plain") and site.known() == {"pool", "plain", "steady", "later"}
            ),
            "two lost cameras, and two that are no longer followed",
        )
        first.signal(signal.SIGKILL)
        first.process.wait()
    site.report("later", "reconnecting")
    with WorkerProcess(server.port, EVENT_CAMERA_LOST_S=LOST_S) as second:
        # Once there is an event about this camera, the others have been judged again.
        site.feed_until(("steady",), lambda: site.states("later"), "a camera that is lost after the takeover")
        assert site.states("pool") == site.states("plain") == [(1, "lost")]
        site.report("pool", "live")
        site.feed_until(
            ("steady", "plain"), lambda: len(site.told("pool")) == len(site.told("plain")) == 2, "both are back"
        )
        assert second.stop() == 0
    for name in ("pool", "plain"):
        lost, back = site.told(name)
        assert site.states(name) == [(1, "lost"), (2, "back")]
        assert lost.id == back.id
        assert lost.began_ms == back.began_ms <= lost.at_ms <= back.at_ms == back.ended_ms
    assert site.told("steady") == site.told("paused") == site.told("removed") == []


def test_a_redis_that_is_killed_and_comes_back_empty_makes_no_storm_of_lost_cameras(
    server: EmbeddedValkey, broker: redis.Redis
) -> None:
    """Neither cameras whose producers report nor legacy ones are lost; one that really ended is, afterwards."""
    site = Site(broker)
    reporting = tuple(f"reporting-{number}" for number in range(20))
    steady = (*reporting, *(f"legacy-{number}" for number in range(20)))
    with WorkerProcess(server.port, EI_TEST_REAL="1", EVENT_CAMERA_LOST_S=LOST_S) as worker:
        for name in (*reporting, "ended"):
            site.report(name, "live")
        everyone = (*steady, "ended")
        site.feed_until(everyone, lambda: site.known() == {*everyone}, "all cameras")
        server.kill()
        time.sleep(float(LOST_S) + 1)  # longer than the time after which a silent camera is lost
        server.start()
        reports = [keys.source("people", name) for name in (*reporting, "ended")]
        assert not broker.exists(*reports), "it has lost everything; the worker may have come back already"
        # Results come at once, the producers' next reports a little later.
        back_s = time.monotonic()

        def judged() -> bool:
            if time.monotonic() - back_s > 1:
                for name in reporting:
                    site.report(name, "live")
            return bool(site.told("ended"))

        site.feed_until(steady, judged, "the camera that ended with Redis")
        assert site.states("ended") == [(1, "lost")]
        assert [name for name in steady if site.states(name)] == []
        assert worker.stop() == 0


def test_reports_are_read_as_input_from_outside(broker: redis.Redis) -> None:
    site = Site(broker)
    for name, state in (("live", "live"), ("gated", "quiet"), ("dead", "stalled"), ("long", "live" + "x" * 10_000)):
        site.report(name, state)
    broker.set(keys.source("people", "text"), "live")
    found = SourceReports(lambda _: broker).read([("people", each) for each in ("live", "gated", "dead", "none")])
    assert list(found.values()) == [CameraReport.LIVE, CameraReport.LIVE, CameraReport.SILENT, CameraReport.MISSING]
    found = SourceReports(lambda _: broker).read([("people", "long"), ("people", "text")])
    assert list(found.values()) == [CameraReport.MISSING, CameraReport.MISSING]


def test_with_rights_of_an_older_version_or_without_redis_nothing_is_known(
    server: EmbeddedValkey, broker: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    broker.acl_setuser("old", enabled=True, nopass=True, commands=["+ping", "+hget"], keys=["*"], reset=True)
    with redis.Redis(port=server.port, username="old") as old:
        assert SourceReports(lambda _: old).read([("people", "gate")]) == {("people", "gate"): CameraReport.UNKNOWN}
    assert "users.acl is of an older version" in caplog.text
    server.kill()
    assert SourceReports(lambda _: broker).read([("people", "gate")]) == {("people", "gate"): CameraReport.UNKNOWN}
    server.start()
