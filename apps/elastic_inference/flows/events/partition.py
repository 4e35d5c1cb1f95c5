"""One leased partition: its streams, and the next batch to write. Pure; called by `event_worker`."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

from elastic_inference.adapters.event_store import Batch, Committed, Entry, EntryId, Taken
from elastic_inference.adapters.event_store.entries import before
from elastic_inference.adapters.event_store.event_store import CAMERAS, MAX_STREAMS
from elastic_inference.domain.events.camera_watch import CameraWatch, Sight
from elastic_inference.domain.events.event import Event, Phase, event_json
from elastic_inference.domain.events.images import ImageChoice, ImageRequest
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.tracks import FrameTracks
from elastic_inference.flows.events.ordered_stream import OrderedStream, Yield
from elastic_inference.flows.events.partition_counts import PartitionCounts
from elastic_inference.flows.events.undelivered import Undelivered

# A stream ends when no entry has arrived for this long; its counters are kept for a day.
END_AFTER_MS = 60_000.0
FORGET_AFTER_MS = 86_400_000.0
# State that changes without an event is written this often.
CHECKPOINT_S = 0.5
TICK_S = 1.0


@dataclass(slots=True)
class ResultAccount:
    """Counts of entries read and events made since the last call."""

    results: int = 0
    late: int = 0
    invalid: int = 0
    refused: int = 0
    events: Counter[tuple[str, str]] = field(default_factory=Counter)


class Partition:
    """One partition. Not thread-safe. `now_s` is monotonic, `now_ms` is Redis' clock."""

    def __init__(
        self,
        number: int,
        epoch: int,
        taken: Taken,
        *,
        window_s: float,
        rules_of: Callable[[str], CameraRules],
        now_s: float,
        choice: ImageChoice | None = None,
        camera_lost_s: float = 10.0,
    ) -> None:
        """`rules_of` gives the rules of a camera by its name. Without a `choice` events get no images."""
        self.number = number
        self.epoch = epoch
        # The last entry that was read: the next read begins after it.
        self.cursor = taken.results
        self.account = ResultAccount()
        self.undelivered = Undelivered()
        self.problem = ""
        # The batch that was sent last, until Redis has confirmed it.
        self.unconfirmed: Batch | None = None
        # Tracks of watched streams that have not been published yet.
        self.tracks: dict[str, list[FrameTracks]] = {}
        # Images to request, until the keeper takes them.
        self.images: list[ImageRequest] = []
        self._choice = choice
        self.streams: dict[str, OrderedStream] = {}
        self._rules_of = rules_of
        self._window_s = window_s
        self._read_before = taken.read
        self._read = max(taken.read, taken.results)
        self._batch = taken.batch
        self._written = taken.results
        self._forget: list[str] = []
        self._events: list[Event] = []
        self._touched: set[str] = set()
        self._saved_at_s = now_s
        self._sizes = {stream: len(saved) for stream, saved in taken.states.items()}
        self._ticked_at_s = float("-inf")
        self.counts = PartitionCounts(taken.counts, now_s)
        self.cameras = CameraWatch(camera_lost_s, now_s, taken.cameras)
        for stream, saved in taken.states.items():
            rules = rules_of(_name(stream))
            self.streams[stream] = OrderedStream.restored(
                stream, epoch, window_s, rules, choice, now_s=now_s, saved=saved
            )
            self.counts.resume(self.streams[stream])

    @property
    def state_bytes(self) -> int:
        """Size of the saved state of all streams, and of the counters of their cameras."""
        return sum(self._sizes.values()) + self.counts.saved_bytes

    def feed(self, entries: Sequence[Entry], now_s: float) -> None:
        """Takes entries as they were read."""
        for entry in entries:
            self.cursor = entry.id
            self._read = max(self._read, entry.id)
            if entry.item is None:
                self.account.invalid += 1
                self.problem = entry.problem
                continue
            stream = self._stream(entry.item.stream)
            if stream is None:
                self.account.refused += 1
                continue
            self._note(stream, stream.push(entry.id, entry.item, now_s, again=entry.id <= self._read_before))

    def tick(self, now_s: float, now_ms: float) -> None:
        """Does what is due by time; call it after each read."""
        for stream in self.streams.values():
            if stream.waits:
                self._note(stream, stream.expire(now_s))
        if now_s - self._ticked_at_s < TICK_S:
            return
        self._ticked_at_s = now_s
        for stream in self.streams.values():
            self._add(stream, stream.set_rules(self._rules_of(_name(stream.stream)), now_ms))
            self._add(stream, stream.on_time(now_ms, END_AFTER_MS))
        old = [s.stream for s in self.streams.values() if s.ended and now_ms - s.seen_ms >= FORGET_AFTER_MS]
        for name in old:
            self._drop(name)
        self.counts.sample(self.streams.values(), now_ms)

    def names(self) -> set[str]:
        """The cameras that it follows, those without a stream too."""
        return {_name(stream) for stream in self.streams}.union(self.cameras.names)

    def quiet_cameras(self, now_ms: float) -> dict[str, list[str]]:
        """The cameras that have no results now, with their types."""
        types: dict[str, list[str]] = {name: [] for name in self.cameras.quiet(self._cameras_seen(), now_ms)}
        for stream in self.streams:
            name, infer_type, _ = stream.split(":")
            if name in types:
                types[name].append(infer_type)
        return types

    def types_seen(self) -> dict[str, float]:
        """When the newest result of each type came."""
        found: dict[str, float] = {}
        for stream, each in self.streams.items():
            infer_type = stream.split(":")[1]
            found[infer_type] = max(found.get(infer_type, 0.0), each.seen_ms)
        return found

    def look_at_cameras(
        self, sights: Mapping[str, Sight], standing: Callable[[str], bool | None], now_ms: float, now_s: float
    ) -> None:
        """Notes which cameras were lost or are back."""
        for each in self.cameras.look(self._cameras_seen(), sights, standing, now_ms, now_s):
            self._events.append(each)
            self.account.events[str(each.kind), str(each.phase)] += 1

    def _cameras_seen(self) -> dict[str, float]:
        seen: dict[str, float] = {}
        for stream, each in self.streams.items():
            name = _name(stream)
            seen[name] = max(seen.get(name, 0.0), each.seen_ms)
        return seen

    def watch(self, streams: Container[str]) -> None:
        """Collects the tracks of these streams from now on, and of no others."""
        for name, each in self.streams.items():
            each.watched = name in streams

    def deadline_s(self) -> float | None:
        """When `tick` has something to do before its next second."""
        waiting = (each.deadline_s() for each in self.streams.values() if each.waits)
        return min((due for due in waiting if due is not None), default=None)

    def batch(self, now_s: float, whole: bool = False) -> Batch | None:
        """The next batch: events at once, other changes twice a second, or all at once with `whole`.

        `committed` follows before anything else is fed.
        """
        due = whole or now_s - self._saved_at_s >= CHECKPOINT_S
        if not (self._events or due):
            return None
        states = {
            name: each.state() for name, each in self.streams.items() if name in self._touched or (due and each.changed)
        }
        results = self._results(states)
        if self.cameras.changed:
            states[CAMERAS] = self.cameras.state()
        forget = tuple(name for name in self._forget if name not in self.streams)
        # The state of each stream goes with them: after a takeover it never has counted less than they say.
        counts, gone = (self.counts.due(now_s, whole), self.counts.gone()) if due else ({}, ())
        if not (states or self._events or forget or counts or gone or results != self._written):
            self._saved_at_s = now_s
            return None
        events = [(event_json(each), each.phase is Phase.UPDATE) for each in self._events]
        return Batch(self._batch + 1, results, self._read, states, forget, events, counts, gone)

    def committed(self, batch: Batch, done: Committed, now_s: float) -> int:
        """Records that Redis has written the batch. If Redis knew a different previous batch, it has lost its data.

        Returns how many events were lost.
        """
        expected, self._batch, self.unconfirmed = self._batch, batch.number, None
        self._events.clear()
        self._forget.clear()
        self._touched.clear()
        for name, state in batch.states.items():
            if name == CAMERAS:
                self.cameras.changed = False
            else:
                self.streams[name].saved()
            self._sizes[name] = len(state)
        for name in batch.forget:
            self._sizes.pop(name, None)
        self.counts.written(batch.counts, batch.forget_counts)
        self._saved_at_s = now_s
        self._written = batch.results
        lost = 0
        if done.before != expected and batch.number > 1:
            # Everything is written again.
            lost = self.undelivered.lost()
            for stream in self.streams.values():
                stream.changed = True
            self.counts.lost()
            self.cameras.changed = True
        self.undelivered.written(done.newest, len(batch.events) - done.left_out, done.length)
        return lost

    def rewind(self) -> None:
        """Starts reading again: Redis has lost the results, and new ones have lower ids."""
        self.cursor = self._read = self._read_before = (0, 0)

    def _results(self, states: Container[str]) -> EntryId:
        """The last entry that needs no further work, once the streams in `states` are saved."""
        still_open = [
            position
            for name, each in self.streams.items()
            if (position := each.first_waiting() if name in states else each.first_open())
        ]
        return before(min(still_open)) if still_open else self.cursor

    def _stream(self, stream: str) -> OrderedStream | None:
        found = self.streams.get(stream)
        if found is None:
            if len(self.streams) >= MAX_STREAMS and not self._make_room():
                return None
            rules = self._rules_of(_name(stream))
            found = self.streams[stream] = OrderedStream(stream, self.epoch, self._window_s, rules, self._choice)
        return found

    def _make_room(self) -> bool:
        ended = [each for each in self.streams.values() if each.ended]
        for each in heapq.nsmallest(16, ended, key=lambda each: each.seen_ms):
            self._drop(each.stream)
        return bool(ended)

    def _drop(self, name: str) -> None:
        del self.streams[name]
        self._touched.discard(name)
        self._forget.append(name)

    def _note(self, stream: OrderedStream, made: Yield) -> None:
        self.account.results += made.results
        self.account.late += made.late
        if made.tracks:
            self.tracks.setdefault(stream.stream, []).extend(made.tracks)
        self.images += made.images
        self._add(stream, made.events)

    def _add(self, stream: OrderedStream, events: list[Event]) -> None:
        if events:
            self._events += events
            self._touched.add(stream.stream)
            for each in events:
                self.account.events[str(each.kind), str(each.phase)] += 1


def _name(stream: str) -> str:
    return stream.partition(":")[0]
