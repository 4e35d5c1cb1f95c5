"""The analysis of one stream: its results, in order, become tracks, visits and events.

Called by the event service. Nothing here reads a clock: `at_ms` and `now_ms` are Unix milliseconds of Redis' clock.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, cast

import msgpack
from pydantic import JsonValue

from elastic_inference.domain.events.counts import Counts
from elastic_inference.domain.events.event import Event, EventKind
from elastic_inference.domain.events.event_phases import Life, Moment, Narrator
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.events.stream_clock import StreamClock
from elastic_inference.domain.events.tracker import Seen, Track, Tracker
from elastic_inference.domain.events.zones import Moved, Shapes, Whereabouts
from elastic_inference.domain.result import Detection, Result

log = logging.getLogger(__name__)

STATE_VERSION = 2
MAX_STATE_BYTES = 4 * 1024 * 1024
# An object's event gets another revision when its zones or its label change, or its confidence rises by this much.
_BETTER = 0.1
# The shortest time between two updates of an event, seconds.
_UPDATE_S = 1.0
_MAX_LABEL = 128
_WHOLE_FRAME = (0.0, 0.0, 1.0, 1.0)


class _Subject:
    """A track, where it is, and its open events. It has no events before it is confirmed."""

    __slots__ = ("dwells", "life", "track", "visits", "where")

    def __init__(self, track: Track) -> None:
        self.track = track
        self.where = Whereabouts(track.box)
        self.life: Life | None = None
        self.visits: dict[str, Life] = {}
        self.dwells: dict[str, Life] = {}

    def pack(self) -> list[Any]:
        lives = [[[life.zone, life.pack()] for life in group.values()] for group in (self.visits, self.dwells)]
        return [self.track.pack(), self.where.pack(), self.life and self.life.pack(), *lives]

    @classmethod
    def unpack(cls, packed: list[Any]) -> _Subject:
        track, where, life, visits, dwells = packed
        subject = cls(Track.unpack(track))
        subject.where = Whereabouts.unpack(where)
        subject.life = life and Life.unpack(life)
        subject.visits = {str(zone): Life.unpack(each) for zone, each in visits}
        subject.dwells = {str(zone): Life.unpack(each) for zone, each in dwells}
        return subject


class StreamAnalysis:
    """The analysis of one stream. Not thread-safe.

    `epoch` is the epoch of the partition's lease: ids of new tracks and events contain it, so none is used twice even
    if the state is lost. `state` is what `state()` returned at the last checkpoint; a malformed one is ignored.
    """

    def __init__(self, stream: str, epoch: int, rules: CameraRules, state: bytes | None = None) -> None:
        self.stream = stream
        self.epoch = epoch
        self._moment = Moment(stream, epoch)
        self._tell = Narrator(self._moment)
        self._start()
        if state:
            self._restore(state)
        self._shapes = Shapes(rules)

    def on_result(self, result: Result, at_ms: float) -> tuple[Result, list[Event]]:
        """The result with its tracks and zones as attributes, and the events that follow from it."""
        events: list[Event] = []
        dt, moment = self._clock.advance(at_ms), self._moment
        moment.order, moment.now_s, moment.now_ms = result.order, self._clock.now_s, self._clock.at_ms
        boxed = [n for n, each in enumerate(result.detections) if each.box != _WHOLE_FRAME]
        seen = [_seen(result.detections[n]) for n in boxed]
        frame = self._tracker.update(seen, dt)
        for track in frame.ended:
            self._leave(track, events)
        found = {n: track for n, track in zip(boxed, frame.tracks, strict=True) if track is not None}
        for track in found.values():
            self._see(track, events)
        self._forget_unconfirmed()
        return self._enriched(result, found), events

    def on_time(self, now_ms: float) -> list[Event]:
        """The events that end because no result came for ten seconds. Call it about once a second."""
        return self.on_end(now_ms) if self._clock.is_silent(now_ms) else []

    def on_end(self, now_ms: float) -> list[Event]:
        """Ends all tracks and events, at the end of the stream."""
        events: list[Event] = []
        for track in self._tracker.end():
            self._leave(track, events)
        self._subjects.clear()
        return events

    def set_rules(self, rules: CameraRules, now_ms: float) -> list[Event]:
        """Replaces the zones and lines; ends what was open in zones that no longer exist."""
        self._shapes = Shapes(rules)
        events: list[Event] = []
        for subject in self._subjects.values():
            where = subject.where
            for zone in [name for name in where.presences if name not in self._shapes.zones]:
                self._exit(subject, zone, self._moment.now_s, events)
                where.forget(zone)
            where.crossings = {name: each for name, each in where.crossings.items() if name in self._shapes.lines}
        self._counts.keep(set(self._shapes.zones), set(self._shapes.lines))
        return events

    def state(self) -> bytes:
        """Everything that the next worker needs to continue, compact."""
        packed: bytes = msgpack.packb(
            [
                *(STATE_VERSION, self._clock.pack(), self._tracker.pack()),
                [subject.pack() for subject in self._subjects.values()],
                self._counts.pack(),
            ]
        )
        return packed

    def counts(self) -> Counts:
        """The counters of each zone and line. Not a copy: read them at once."""
        return self._counts

    def _start(self) -> None:
        self._clock = StreamClock()
        self._tracker = Tracker(self.epoch)
        self._subjects: dict[tuple[int, int], _Subject] = {}
        self._counts = Counts()

    def _restore(self, state: bytes) -> None:
        try:
            if len(state) > MAX_STATE_BYTES:
                raise ValueError(f"{len(state)} bytes, expected at most {MAX_STATE_BYTES}")
            version, clock, tracker, subjects, counts = msgpack.unpackb(state)
            if version != STATE_VERSION:
                raise ValueError(f"version {version!r:.40}, expected {STATE_VERSION}")
            self._clock = StreamClock.unpack(clock)
            self._moment.now_s, self._moment.now_ms = self._clock.now_s, self._clock.at_ms
            restored = [_Subject.unpack(each) for each in subjects]
            self._subjects = {(each.track.epoch, each.track.n): each for each in restored}
            self._tracker.unpack(tracker, [each.track for each in restored])
            self._counts = Counts.unpack(counts)
        except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
            log.warning("%s: its state can't be read, its tracks and counts start over: %s", self.stream, error)
            self._start()

    def _see(self, track: Track, events: list[Event]) -> None:
        """Updates a track that was seen in this frame."""
        subject = self._subjects.get((track.epoch, track.n))
        if subject is None:
            subject = self._subjects[track.epoch, track.n] = _Subject(track)
            if not track.confirmed:
                return
        now_s = self._moment.now_s
        if not track.confirmed:
            return
        moved: list[Moved] = []
        if subject.life is None:
            moved += subject.where.see(self._shapes, track.label, subject.where.box, track.began_s)
        moved += subject.where.see(self._shapes, track.label, track.box, now_s)
        if subject.life is None:
            subject.life, event = self._tell.begin(EventKind.OBJECT, None, track, track.began_s, self._zones(subject))
            events.append(event)
        for each in moved:
            self._move(subject, each, events)
        self._dwell(subject, events)
        self._update(subject, events)

    def _move(self, subject: _Subject, moved: Moved, events: list[Event]) -> None:
        track = subject.track
        if moved.line is not None:
            counts = self._counts.line(moved.line, track.label)
            inward = moved.direction > 0
            counts.inward += inward
            counts.outward += not inward
            events.append(self._tell.crossing(moved.line, track, moved.at_s, inward, self._zones(subject)))
        elif moved.zone is not None and moved.direction > 0:
            zone = moved.zone
            life, event = self._tell.begin(EventKind.ZONE, zone, track, moved.at_s, self._zones(subject))
            subject.visits[zone] = life
            self._counts.zone(zone, life.label).enter()
            events.append(event)
        elif moved.zone is not None:
            self._exit(subject, moved.zone, moved.at_s, events)

    def _exit(self, subject: _Subject, zone: str, at_s: float, events: list[Event]) -> None:
        """Ends a visit, and the long stay if there is one."""
        visit, dwell = subject.visits.pop(zone, None), subject.dwells.pop(zone, None)
        left = tuple(name for name in self._zones(subject) if name != zone)
        if dwell is not None:
            events.append(self._tell.end(dwell, subject.track, at_s, left))
        if visit is not None:
            counted = self._counts.zone(zone, visit.label)
            counted.leave()
            counted.stay(at_s - visit.began_s)
            events.append(self._tell.end(visit, subject.track, at_s, left))

    def _dwell(self, subject: _Subject, events: list[Event]) -> None:
        """Looks for visits that have become long."""
        now_s = self._moment.now_s
        if not subject.visits:
            return
        for zone, visit in subject.visits.items():
            limit_s = self._shapes.zones[zone][0].dwell_s if zone in self._shapes.zones else None
            stayed_s = now_s - visit.began_s
            self._counts.zone(zone, visit.label).stay(stayed_s)
            if limit_s is not None and zone not in subject.dwells and stayed_s >= limit_s:
                zones = self._zones(subject)
                life, event = self._tell.begin(EventKind.DWELL, zone, subject.track, visit.began_s, zones)
                subject.dwells[zone] = life
                events.append(event)

    def _update(self, subject: _Subject, events: list[Event]) -> None:
        """A new revision of the object's event, if something has changed."""
        life, track = subject.life, subject.track
        if life is None:
            return
        life.top = max(life.top, track.confidence)
        for each in (*subject.visits.values(), *subject.dwells.values()):
            each.top = max(each.top, track.confidence)
        zones = self._zones(subject)
        told_zones, told_label, told_top = life.told
        is_news = zones != told_zones or track.label != told_label or life.top >= told_top + _BETTER
        if is_news and self._moment.now_s - life.told_s >= _UPDATE_S:
            events.append(self._tell.update(life, track, zones))

    def _leave(self, track: Track, events: list[Event]) -> None:
        """Ends a track's visits and its own event, at the time when it was last seen."""
        subject = self._subjects.pop((track.epoch, track.n), None)
        if subject is None or subject.life is None:
            return
        for moved in subject.where.end():
            self._move(subject, moved, events)
        for zone in list(subject.visits):
            self._exit(subject, zone, track.seen_s, events)
        events.append(self._tell.end(subject.life, track, track.seen_s, ()))

    def _forget_unconfirmed(self) -> None:
        if len(self._subjects) > len(self._tracker.tracks):
            known = {(track.epoch, track.n) for track in self._tracker.tracks}
            self._subjects = {key: each for key, each in self._subjects.items() if key in known}

    @staticmethod
    def _zones(subject: _Subject) -> tuple[str, ...]:
        return subject.where.inside()

    def _enriched(self, result: Result, found: dict[int, Track]) -> Result:
        detections = list(result.detections)
        for n, track in found.items():
            if not track.shown:
                continue
            each = detections[n]
            attributes: dict[str, Any] = {**each.attributes, "track": self._moment.track_id(track)}
            subject = self._subjects.get((track.epoch, track.n))
            if subject is not None and (zones := subject.where.inside()):
                attributes["zones"] = list(zones)
            detections[n] = Detection(each.label, each.label_id, each.confidence, each.box, attributes)
        if not self._shapes.zones:
            return replace(result, detections=tuple(detections)) if found else result
        present: dict[str, JsonValue] = dict.fromkeys(self._shapes.zones, 0)
        for zone in (zone for subject in self._subjects.values() for zone in subject.where.inside()):
            present[zone] = cast("int", present.get(zone, 0)) + 1
        return replace(result, detections=tuple(detections), attributes={**result.attributes, "zones": present})


def _seen(detection: Detection) -> Seen:
    return Seen(detection.label[:_MAX_LABEL], detection.confidence, detection.box)
