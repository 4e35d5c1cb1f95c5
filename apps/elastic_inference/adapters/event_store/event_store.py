"""An event worker's access to Redis: takes partitions, reads their results, writes their events. Synchronous."""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from elastic_inference.adapters.event_store.entries import START, Entry, EntryId, read_entry, read_id, write_id
from elastic_inference.adapters.redis_input import is_wrong_type, read_count
from elastic_inference.adapters.redis_spread import open_link, read_streams
from elastic_inference.adapters.stream_broker.tracks import tracks_message
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.tracks import FrameTracks

log = logging.getLogger(__name__)

# Maximum number of streams in a partition, and maximum size of their state and their cameras' counters in bytes.
MAX_STREAMS = 1024
_MAX_STATE_BYTES = 288 * 1024 * 1024
# Beside the states of streams: what is known of cameras. No stream has such an id.
CAMERAS = ":cameras"
# `events:on` lives this long after the last event worker has ended.
ON_LIFE_S = 600
# How often a key of the wrong type is looked at again. Pods remove it when they add a result; this login may not.
_FOREIGN_EVERY_S = 1.0


class FencedError(Exception):
    """Another worker has taken the partition: nothing was written."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Where to continue with a partition.

    `results`: every stream is done with the entries up to here. `read`: a former worker has read up to here.
    `fresh`: there was no cursor. `state_lost`: the state was too large to be ours, and was removed. `counts`: by
    camera, its last hour of counters. `cameras`: what the former worker knew of cameras.
    """

    results: EntryId
    read: EntryId
    batch: int
    states: Mapping[str, bytes]
    fresh: bool
    state_lost: bool
    counts: Mapping[str, bytes] = field(default_factory=dict)
    cameras: bytes = b""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a worker writes at once. `events`: (JSON, whether to leave it out when the outbox is nearly full).

    `counts` and `forget_counts`: cameras whose last hour of counters is written or removed.
    """

    number: int
    results: EntryId
    read: EntryId
    states: Mapping[str, bytes] = field(default_factory=dict)
    forget: Collection[str] = ()
    events: Sequence[tuple[bytes, bool]] = ()
    counts: Mapping[str, bytes] = field(default_factory=dict)
    forget_counts: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """Redis' answer. `before` is the number of the previous batch, -1 if Redis knew none of this lease.

    `newest` is the id of the last event that it wrote; START if it wrote none.
    """

    before: int
    left_out: int
    lost: int
    length: int
    newest: EntryId = START


class EventStore:
    """One worker's store; not thread-safe. Methods raise REDIS_ERRORS when Redis is unavailable, else ResponseError."""

    def __init__(self, client: redis.Redis, partition_maxlen: int, retention_s: float) -> None:
        """A partition's outbox holds at most `partition_maxlen` events, none older than `retention_s`."""
        self._link = open_link(client)
        self._maxlen = partition_maxlen
        self._retention_ms = int(retention_s * 1000)
        # Partitions whose key is not a stream, and when that was seen.
        self._foreign: set[int] = set()
        self._foreign_at_s = float("-inf")
        self._throttle = Throttle()

    def announce(self, partitions: int) -> int:
        """Announces that an event service runs. Returns the number of partitions, which the first worker decides."""
        _, found, _ = self._answers(
            [
                ("SET", keys.EVENTS_ON, partitions, "NX", "EX", ON_LIFE_S),
                ("GET", keys.EVENTS_ON),
                ("EXPIRE", keys.EVENTS_ON, ON_LIFE_S),
            ]
        )
        return read_count(found)

    def want(self, group: str, names: Collection[str]) -> None:
        """Announces the items of a lease group. All have the same cost."""
        rows = [part for name in names for part in (name, "1 1")]
        self._answers([("HSET", keys.wanted(group), *rows, ":known", "1")])

    def server_ms(self) -> float:
        """Redis' clock, Unix ms."""
        ((seconds, micros),) = self._answers([("TIME",)])
        return read_count(seconds) * 1000 + read_count(micros) / 1000

    def take(self, partition: int, epoch: int) -> Taken:
        """Starts work on a partition under a lease. Raises FencedError if a newer lease has started."""
        keys_of = (keys.event_cursor(partition), keys.event_states(partition))
        # A field for each stream and for each camera, and one for all cameras.
        reply = self._run("take", keys_of, (epoch, 2 * MAX_STREAMS + 1, _MAX_STATE_BYTES))
        if reply[0] != 1:
            raise FencedError
        results, read, batch, fresh, lost, flat = reply[1:7]
        states, counts, cameras = {}, {}, b""
        for name, value in zip(flat[::2], flat[1::2], strict=False):
            found = name.decode(errors="replace")
            if keys.split_stream_id(found) is not None:
                states[found] = value
            elif found == CAMERAS:
                cameras = value
            elif (camera := keys.counted_camera(found)) is not None:
                counts[camera] = value
        positions = (read_id(results) or START, read_id(read) or START)
        return Taken(*positions, read_count(batch), states, fresh == 1, lost == 1, counts, cameras)

    def read(self, cursors: Mapping[int, EntryId], count: int, block_ms: int) -> dict[int, list[Entry]]:
        """The next entries of each partition, at most `count`; waits for at most `block_ms` for the first."""
        if self._foreign and time.monotonic() - self._foreign_at_s >= _FOREIGN_EVERY_S:
            self._find_foreign(list(self._foreign))
        partitions = [each for each in cursors if each not in self._foreign]
        if not partitions:
            time.sleep(block_ms / 1000)
            return {}
        by_key = {keys.partition_results(each).encode(): each for each in partitions}
        wanted = {keys.partition_results(each): write_id(cursors[each]) for each in partitions}
        try:
            reply = read_streams(self._link, wanted, count, block_ms)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            # One such key would keep all partitions from being read.
            self._find_foreign(partitions)
            return {}
        found: dict[int, list[Entry]] = {}
        # RESP3 has a map here, RESP2 a list of pairs.
        for key, rows in reply.items() if isinstance(reply, dict) else reply or ():
            partition = by_key.get(key)
            if partition is not None:
                found[partition] = [entry for each in rows if (entry := read_entry(each)) is not None]
        return found

    def newest(self, partitions: Sequence[int]) -> dict[int, EntryId]:
        """The id of the newest entry of each partition that has one."""
        replies = self._link.exchange(
            [("XREVRANGE", keys.partition_results(each), "+", "-", "COUNT", 1) for each in partitions]
        )
        for reply in replies:
            if isinstance(reply, ResponseError) and not is_wrong_type(reply):
                raise reply
        found = {}
        for partition, reply in zip(partitions, replies, strict=True):
            position = read_id(reply[0][0]) if isinstance(reply, list) and reply else None
            if position is not None:
                found[partition] = position
        return found

    def commit(self, partition: int, epoch: int, batch: Batch) -> Committed:
        """Writes a batch; sending it again changes nothing. Raises FencedError if another worker has the partition."""
        keys_of = (
            *(keys.event_cursor(partition), keys.event_states(partition)),
            *(keys.events(partition), keys.event_sinks(partition)),
        )
        arguments: list[Any] = [epoch, batch.number, write_id(batch.results), write_id(batch.read)]
        fields = [*batch.states.items(), *((keys.camera_counts(name), each) for name, each in batch.counts.items())]
        gone = [*batch.forget, *map(keys.camera_counts, batch.forget_counts)]
        arguments += [self._maxlen, self._retention_ms, len(fields), len(gone)]
        for each in fields:
            arguments += each
        arguments += gone
        for document, spare in batch.events:
            arguments += ("u" if spare else "k", document)
        reply = self._run("commit", keys_of, arguments)
        if reply[0] != 1:
            raise FencedError
        newest = read_id(reply[5]) if len(reply) > 5 else None
        left_out, lost, length = (read_count(each) for each in reply[2:5])
        return Committed(reply[1], left_out, lost, length, newest or START)

    def cursors(self, partitions: Sequence[int]) -> dict[int, list[EntryId]]:
        """How far the sinks are in each partition. One whose data Redis has lost is left out."""
        commands: list[tuple[Any, ...]] = []
        for each in partitions:
            commands += (("HGET", keys.event_cursor(each), "batch"), ("HVALS", keys.event_sinks(each)))
        replies = self._answers(commands)
        return {
            partition: [read_id(each) or START for each in replies[2 * index + 1]]
            for index, partition in enumerate(partitions)
            if replies[2 * index] is not None
        }

    def watched(self, streams: Sequence[str]) -> set[str]:
        """The streams among these whose tracks somebody subscribes to."""
        (reply,) = self._answers([("PUBSUB", "NUMSUB", *map(keys.tracks, streams))])
        counts = zip(reply[1::2], streams, strict=False) if isinstance(reply, list) else ()
        return {stream for count, stream in counts if read_count(count) > 0}

    def publish_tracks(self, tracks: Mapping[str, Sequence[FrameTracks]]) -> None:
        """Publishes the tracks of some frames to the streams' viewers."""
        self._answers([("PUBLISH", keys.tracks(each), tracks_message(each, own)) for each, own in tracks.items()])

    def close(self) -> None:
        """Closes the connection."""
        self._link.close()

    def _find_foreign(self, partitions: Sequence[int]) -> None:
        """Finds which of these have a key that is not a stream; the others can be read again."""
        replies = self._link.exchange([("XREVRANGE", keys.partition_results(each), "+", "+") for each in partitions])
        found = {each for each, reply in zip(partitions, replies, strict=True) if is_wrong_type(reply)}
        self._foreign = (self._foreign - set(partitions)) | found
        self._foreign_at_s = time.monotonic()
        if found and (note := self._throttle.note("foreign")):
            log.warning(
                "the key %s is not a stream: its partition is left out until a pod has replaced it %s",
                *(keys.partition_results(min(found)), note),
            )

    def _run(self, name: str, keys_of: Sequence[str], arguments: Sequence[Any]) -> list[Any]:
        sha, text = _script(name)
        command = ("EVALSHA", sha, len(keys_of), *keys_of, *arguments)
        (reply,) = self._link.exchange([command])
        if isinstance(reply, NoScriptError):
            _, reply = self._link.exchange([("SCRIPT", "LOAD", text), command])
        if isinstance(reply, ResponseError):
            raise reply
        return list(reply)

    def _answers(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        replies = self._link.exchange(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies


@functools.cache
def _script(name: str) -> tuple[str, str]:
    text = (Path(__file__).parent / f"{name}.lua").read_text()
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text
