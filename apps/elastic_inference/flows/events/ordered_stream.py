"""One stream of a partition: puts its results in order, analyses them, and tracks what has been saved. Pure.

An entry is *open* until the stream's saved state contains it: the partition's cursor stays before the first open one,
so that the next worker reads it again. The order in the saved state shows which results are new and which are read
again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from elastic_inference.adapters.event_store import EntryId
from elastic_inference.domain.events.analysis import StreamAnalysis
from elastic_inference.domain.events.event import Event
from elastic_inference.domain.events.images import ImageChoice, ImageRequest, StreamImages
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.result import Result
from elastic_inference.domain.sequence import Sequence, Tombstone
from elastic_inference.domain.tracks import FrameTracks, TrackedObject

# Header: version, last number that passed (-1: none), time of the last result (Unix ms), 1 once the stream has ended,
# size of the images' state, which comes before the analysis' state.
_HEAD = struct.Struct("<Bqd?I")
_VERSION = 2
# Version 1 has no images.
_FORMER_HEAD = struct.Struct("<Bqd?")
# Producers' clocks are not trusted beyond this: a frame cannot be older when it arrives.
MAX_AGE_MS = 60_000.0


@dataclass(slots=True)
class Yield:
    """The outcome of some entries."""

    events: list[Event] = field(default_factory=list)
    tracks: list[FrameTracks] = field(default_factory=list)
    images: list[ImageRequest] = field(default_factory=list)
    results: int = 0
    late: int = 0


class OrderedStream:
    """One stream. Not thread-safe. `now_s` is monotonic, `now_ms` is Redis' clock."""

    def __init__(
        self, stream: str, epoch: int, window_s: float, rules: CameraRules, choice: ImageChoice | None = None
    ) -> None:
        """Without a `choice` events get no images."""
        self.stream = stream
        self.name, self.type = stream.split(":")[:2]
        self.rules = rules
        # A saved state may be of other rules: then `set_rules` ends what was open in a zone that no longer exists.
        self._of_other_rules = False
        self.ended = False
        self.seen_ms = 0.0
        self.changed = False
        # Whether somebody watches it live: then `push` and `expire` return tracks too.
        self.watched = False
        self._sequence: Sequence[tuple[EntryId, Result]] = Sequence(window_s)
        self._analysis = StreamAnalysis(stream, epoch, rules)
        self.images = StreamImages(stream, epoch, choice) if choice is not None else None
        # Items that are held back: order -> entry.
        self._waiting: dict[int, EntryId] = {}
        self._unsaved_from: EntryId | None = None

    @classmethod
    def restored(
        cls,
        stream: str,
        epoch: int,
        window_s: float,
        rules: CameraRules,
        choice: ImageChoice | None = None,
        *,
        now_s: float,
        saved: bytes,
    ) -> OrderedStream:
        """The stream as another worker left it. If its state is malformed, the stream starts over."""
        made = cls(stream, epoch, window_s, rules, choice)
        images_bytes = 0
        if saved[:1] == b"\1" and len(saved) >= _FORMER_HEAD.size:
            _, last, made.seen_ms, made.ended = _FORMER_HEAD.unpack_from(saved)
            at = _FORMER_HEAD.size
        elif saved[:1] == bytes((_VERSION,)) and len(saved) >= _HEAD.size:
            _, last, made.seen_ms, made.ended, images_bytes = _HEAD.unpack_from(saved)
            at = _HEAD.size
        else:
            return made
        made._analysis = StreamAnalysis(stream, epoch, rules, saved[at + images_bytes :])
        if choice is not None:
            made.images = StreamImages(stream, epoch, choice, saved[at : at + images_bytes])
        made._sequence = Sequence(window_s, last if last >= 0 else None, now_s)
        made._of_other_rules = True
        return made

    @property
    def analysis(self) -> StreamAnalysis:
        """Its analysis."""
        return self._analysis

    def push(self, position: EntryId, item: Result | Tombstone, now_s: float, again: bool) -> Yield:
        """Takes one entry. `again`: a former worker has read it too, so a number that has passed is not late."""
        made = Yield()
        last = self._sequence.last
        if again and last is not None and item.order <= last:
            return made  # the saved state contains it
        late = self._sequence.late
        self._waiting[item.order] = self._waiting.get(item.order, position)
        if isinstance(item, Tombstone):
            passed = self._sequence.skip(item.order, now_s)
        else:
            passed = self._sequence.push(item.order, (position, item), now_s, identity=_identity(item))
        made.late = self._sequence.late - late
        self._take(passed, made)
        return made

    @property
    def waits(self) -> bool:
        """Whether it holds anything back; `expire` and `deadline_s` have nothing to do otherwise."""
        return bool(self._waiting)

    def expire(self, now_s: float) -> Yield:
        """Releases results that have waited long enough for a missing one."""
        made = Yield()
        deadline = self._sequence.deadline_s()
        if deadline is not None and deadline <= now_s:
            self._take(self._sequence.expire(now_s), made)
        return made

    def deadline_s(self) -> float | None:
        """When `expire` has something to do."""
        return self._sequence.deadline_s()

    def on_time(self, now_ms: float, end_after_ms: float) -> list[Event]:
        """The events that end now. The stream itself ends when no entry has arrived for `end_after_ms`."""
        if self.ended:
            return []
        if now_ms - self.seen_ms >= end_after_ms and not len(self._sequence):
            self.ended = self.changed = True
            return self._with_images(self._analysis.on_end(now_ms))
        events = self._with_images(self._analysis.on_time(now_ms))
        self.changed |= bool(events)
        return events

    def set_rules(self, rules: CameraRules, now_ms: float) -> list[Event]:
        """Replaces the zones and lines."""
        if rules == self.rules and not self._of_other_rules:
            return []
        events = self._analysis.set_rules(rules, now_ms)
        self.changed |= rules != self.rules or bool(events)
        self.rules, self._of_other_rules = rules, False
        return self._with_images(events)

    def first_open(self) -> EntryId | None:
        """The first entry that the saved state does not contain."""
        waiting, unsaved = self.first_waiting(), self._unsaved_from
        return min(waiting, unsaved) if waiting and unsaved else waiting or unsaved

    def first_waiting(self) -> EntryId | None:
        """The first entry that is held back: a state saved now would not contain it either."""
        return min(self._waiting.values()) if self._waiting else None

    def state(self) -> bytes:
        """What the next worker needs to continue."""
        last = self._sequence.last
        images = self.images.state() if self.images is not None else b""
        head = _HEAD.pack(_VERSION, -1 if last is None else last, self.seen_ms, self.ended, len(images))
        return head + images + self._analysis.state()

    def saved(self) -> None:
        """Records that the state has been written."""
        self._unsaved_from = None
        self.changed = False

    def _with_images(self, events: list[Event]) -> list[Event]:
        return self.images.fill(events) if self.images is not None else events

    def _take(self, passed: list[tuple[EntryId, Result]], made: Yield) -> None:
        for position, result in passed:
            at_ms = _captured_ms(position, result)
            enriched, events = self._analysis.on_result(result, at_ms)
            if self.images is not None:
                events, requests = self.images.on_result(enriched, events, at_ms)
                made.images += requests
            made.events += events
            if self.watched:
                made.tracks.append(_tracks_of(enriched))
            made.results += 1
            self.seen_ms = max(self.seen_ms, float(position[0]))
        if passed:
            self.ended = False
        gone = [order for order in self._waiting if order not in self._sequence]
        for order in gone:
            position = self._waiting.pop(order)
            self._unsaved_from = position if self._unsaved_from is None else min(self._unsaved_from, position)
            self.changed = True


def _identity(result: Result) -> tuple[int | None, float | None] | None:
    """What distinguishes two frames that have the same number."""
    return None if result.seq is None and result.ts is None else (result.seq, result.ts)


def _tracks_of(result: Result) -> FrameTracks:
    """What the analysis has added to the detections of a result."""
    found = []
    for index, each in enumerate(result.detections):
        track, zones = each.attributes.get("track"), each.attributes.get("zones")
        if isinstance(track, str):
            found.append(TrackedObject(index, track, tuple(map(str, zones)) if isinstance(zones, list) else ()))
    return FrameTracks(result.order, tuple(found))


def _captured_ms(position: EntryId, result: Result) -> float:
    """When the frame was captured, by Redis' clock; never later than its entry, and not much earlier."""
    written = float(position[0])
    arrived = result.arrived_ms
    if arrived is None or not written - MAX_AGE_MS <= arrived <= written:
        arrived = written - min(result.queue_ms + result.infer_ms, MAX_AGE_MS)
    return arrived - min(max(result.age_ms, 0.0), MAX_AGE_MS)
