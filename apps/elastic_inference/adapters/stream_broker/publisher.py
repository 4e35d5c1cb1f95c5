"""A pod's side of the stream broker: results, tombstones, registry and its own rates, one pipeline per batch.

Called by the inference flow's publishing thread. A result costs Redis one entry of `results_<type>`. Only while
somebody watches its stream, it also costs one PUBLISH that carries the image. The stream's hash is written once a
second. A tombstone is published on `tombstones:<stream id>` alone, and only while somebody watches.
Times in the registry are the Redis server's, so clocks of different machines are never compared.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import redis
from redis.exceptions import ResponseError

from elastic_inference.adapters.redis_input import read_count
from elastic_inference.adapters.redis_spread import open_link
from elastic_inference.adapters.stream_broker.lifetimes import LONGEST_LIFE_S, WORKER_AHEAD_S, WORKER_LIFE_S
from elastic_inference.adapters.stream_broker.partitions import QUESTION, PartitionWriter
from elastic_inference.adapters.stream_broker.stream_reports import StreamReports
from elastic_inference.adapters.stream_broker.tombstones import tombstones_message
from elastic_inference.adapters.stream_broker.watching import WatchTable
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.result import Result, result_json
from elastic_inference.domain.result_message import join_message
from elastic_inference.domain.sequence import Tombstone

log = logging.getLogger(__name__)

RESULT_FIELD = "json"
_CLOCK_EVERY_S = 10.0
Command = tuple[Any, ...]


class ResultPublisher:
    """Publishes for one pod. Not thread-safe; needs a client of its own."""

    def __init__(
        self,
        client: redis.Redis,
        infer_type: str,
        pod: str,
        results_maxlen: int,
        *,
        events: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`results_maxlen` is the approximate length of `results_<type>`; with 0 nothing is written there.

        Without `events`, event workers get no result.
        """
        self._link = open_link(client)
        self._type = infer_type
        self._pod = pod
        self._results_maxlen = results_maxlen
        self._results_key = keys.results(infer_type)
        self._monotonic = monotonic
        self._reports = StreamReports()
        self._watching = WatchTable()
        self._partitions = PartitionWriter()
        self._events = events
        self._throttle = Throttle()
        self._server_offset_ms: float | None = None
        self._clock_read_at = float("-inf")

    def publish(self, batch: Sequence[tuple[Result, bytes]], tombstones: Sequence[Tombstone] = ()) -> Set[int]:
        """Publishes results with their JPEGs, in the order given, and tombstones. One round trip; two for a new stream.

        Returns the positions in the batch of results that Redis refused to add to `results_<type>`, as it does when its
        memory is full; or to publish, if nothing is kept there.

        Raises one of `redis_connection.REDIS_ERRORS` when Redis is unavailable. It is then unknown which part of the
        batch was sent; publishing it again may repeat entries of `results_<type>`, with the same `order`.
        What Redis refuses for another reason (memory, rights) is logged once a minute and not repeated.
        """
        if not batch and not tombstones:
            return frozenset()
        try:
            return self._publish(batch, tombstones)
        except Exception:
            self._watching.forget()
            raise

    def report_worker(
        self,
        infer_fps: float,
        drop_fps: float,
        scale_ratio: float,
        *,
        capacity_fps: float,
        device: str,
        model: str,
        precision: str,
        more: Mapping[str, str | bytes] | None = None,
    ) -> None:
        """Writes this pod's hash, which lives for 15 s; call it every second. Raises as `publish`.

        `more` are further fields of the hash.
        """
        self._read_clock(self._monotonic())
        key = keys.worker_info(self._type, self._pod)
        now_ms = self._server_ms()
        answers = self._exchange(
            [
                (
                    *("HSET", key, "infer_fps", f"{infer_fps:.3f}", "drop_fps", f"{drop_fps:.3f}"),
                    *("scale_ratio", f"{scale_ratio:.4f}", "capacity_fps", f"{capacity_fps:.3f}"),
                    *("device", device, "model", model, "precision", precision),
                    *(part for pair in (more or {}).items() for part in pair),
                ),
                ("EXPIRE", key, int(WORKER_LIFE_S)),
                ("ZADD", keys.WORKERS, now_ms, keys.pod_member(self._type, self._pod)),
                ("ZREMRANGEBYSCORE", keys.WORKERS, "-inf", now_ms - int(LONGEST_LIFE_S * 1000)),
                ("ZREMRANGEBYSCORE", keys.WORKERS, now_ms + int(WORKER_AHEAD_S * 1000), "+inf"),
                *self._reports.commands(self._monotonic(), now_ms),
                # So a change of Redis' clock is noticed within a second, without a round trip.
                ("TIME",),
            ]
        )
        self._learn_clock(answers[-1])

    def remove_worker(self) -> None:
        """Removes this pod from the registry, at the end of its drain. Raises as `publish`."""
        member = keys.pod_member(self._type, self._pod)
        self._exchange([("DEL", keys.worker_info(self._type, self._pod)), ("ZREM", keys.WORKERS, member)])

    def server_ms(self, monotonic_s: float) -> float | None:
        """Converts this process's monotonic time to the Redis server's, in Unix ms; None before the first contact."""
        return None if self._server_offset_ms is None else monotonic_s * 1000 + self._server_offset_ms

    @property
    def events_run(self) -> bool:
        """Whether an event service runs, as far as this pod knows."""
        return self._partitions.on

    def close(self) -> None:
        """Returns the connection to its pool."""
        self._link.close()

    def _publish(self, batch: Sequence[tuple[Result, bytes]], tombstones: Sequence[Tombstone]) -> Set[int]:
        now_s = self._monotonic()
        self._read_clock(now_s)
        streams = [result.stream for result, _ in batch]
        unknown = self._watching.unknown(streams, now_s)
        if unknown:
            self._learn(unknown, self._exchange(_questions(unknown)), now_s)
        # Tombstones first, so that no result of the batch waits for them.
        commands = self._bury(tombstones) if tombstones else []
        # The command that decides on each result: its XADD or, if results are not kept, its PUBLISH.
        sent: dict[int, int] = {}
        if self._partitions.on:
            commands += [self._partitions.add_tombstone(each) for each in tombstones]
        for index, (result, jpeg) in enumerate(batch):
            position = len(commands)
            self._add_result(commands, result, jpeg, now_s)
            if len(commands) > position and commands[position][0] in ("XADD", "PUBLISH"):
                sent[index] = position
        commands += self._reports.commands(now_s, self._server_ms())
        every_stream = [*streams, *(each.stream for each in tombstones)]
        if self._partitions.on:
            commands += self._partitions.trims(every_stream, now_s, self._server_ms)
        ask_position = len(commands)
        asks = self._events and self._partitions.is_due(now_s)
        if asks:
            commands.append(QUESTION)
        own = set(streams)
        images = {
            position: each[1] for position, each in enumerate(commands) if each[0] == "PUBLISH" and each[1] in own
        }
        due = self._watching.due(every_stream, set(images.values()), now_s)
        if due:
            commands += _questions(due)
        if not commands:
            return frozenset()
        answers = self._exchange(commands)
        if asks:
            self._partitions.learn(answers[ask_position], now_s)
        for position, stream in images.items():
            self._watching.reached(stream, read_count(answers[position]), now_s)
        if due:
            self._learn(due, answers[-len(due) - 1 :], now_s)
        return frozenset(index for index, position in sent.items() if isinstance(answers[position], ResponseError))

    def _bury(self, tombstones: Iterable[Tombstone]) -> list[Command]:
        """One PUBLISH for each watched stream."""
        by_stream: dict[str, list[Tombstone]] = {}
        for each in tombstones:
            if self._watching.is_watched(each.stream):
                by_stream.setdefault(each.stream, []).append(each)
        return [("PUBLISH", keys.tombstones(stream), tombstones_message(own)) for stream, own in by_stream.items()]

    def _add_result(self, commands: list[Command], result: Result, jpeg: bytes, now_s: float) -> None:
        watched = self._watching.is_watched(result.stream)
        if watched or self._results_maxlen or self._partitions.on:
            document = result_json(result)
            if self._results_maxlen:
                commands.append(
                    ("XADD", self._results_key, "MAXLEN", "~", self._results_maxlen, "*", RESULT_FIELD, document)
                )
            if watched:
                commands.append(("PUBLISH", result.stream, join_message(document, jpeg)))
            if self._partitions.on:
                commands.append(self._partitions.add_result(result.stream, document))
        self._reports.add(result, now_s, self._server_ms())

    def _learn(self, stream_ids: list[str], answers: list[Any], now_s: float) -> None:
        subscribed = _subscribers(answers[-1])
        for each, exists in zip(stream_ids, answers, strict=False):
            watched = (isinstance(exists, int) and exists > 0) or subscribed.get(each, 0) > 0
            self._watching.learn(each, watched, now_s)

    def _exchange(self, commands: list[Command]) -> list[Any]:
        answers = self._link.exchange(commands)
        wrong = set()
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, ResponseError):
                if note := self._throttle.note(str(answer)[:40]):
                    what = " ".join(str(each) for each in command[:2])
                    log.warning("Redis refused part of a publish: %s: %s %s", what, answer, note)
                if str(answer).startswith("WRONGTYPE"):
                    wrong.add(command[1])
        return self._repair(wrong, commands, answers) if wrong else answers

    def _repair(self, wrong: Set[str], commands: list[Command], answers: list[Any]) -> list[Any]:
        """Removes keys of the wrong type, and repeats the commands for them."""
        positions = [position for position, command in enumerate(commands) if len(command) > 1 and command[1] in wrong]
        # On a cluster, the keys of one command must share a slot.
        removals: list[Command] = [("UNLINK", key) for key in sorted(wrong)]
        again = self._link.exchange([*removals, *(commands[position] for position in positions)])
        answers = list(answers)
        for position, answer in zip(positions, again[len(removals) :], strict=True):
            answers[position] = answer
        return answers

    def _read_clock(self, now_s: float) -> None:
        if now_s - self._clock_read_at < _CLOCK_EVERY_S:
            return
        (answer,) = self._exchange([("TIME",)])
        self._learn_clock(answer)

    def _learn_clock(self, answer: Any) -> None:
        if isinstance(answer, ResponseError):
            raise answer
        self._clock_read_at = self._monotonic()
        self._server_offset_ms = int(answer[0]) * 1000 + int(answer[1]) / 1000 - self._clock_read_at * 1000

    def _server_ms(self) -> int:
        return int(self._monotonic() * 1000 + (self._server_offset_ms or 0.0))


def _questions(stream_ids: list[str]) -> list[Command]:
    return [*(("EXISTS", keys.watch(each)) for each in stream_ids), ("PUBSUB", "NUMSUB", *stream_ids)]


def _subscribers(counts: Any) -> dict[str, int]:
    if not isinstance(counts, list):
        return {}
    pairs = zip(counts[::2], counts[1::2], strict=False)
    return {channel.decode(errors="replace"): read_count(number) for channel, number in pairs if type(channel) is bytes}
