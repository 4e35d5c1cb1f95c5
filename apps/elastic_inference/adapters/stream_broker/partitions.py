"""A pod's results and tombstones for the event service: one additional entry per result while one runs.

Called by `publisher`, whose pipeline carries the commands. A pod looks for `events:on` once a second, with a publish;
its value is the number of partitions. Without the key, nothing is written.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import NoPermissionError

from elastic_inference.adapters.redis_input import read_count
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.sequence import Tombstone

log = logging.getLogger(__name__)

MAX_PARTITIONS = 256
ASK_EVERY_S = 1.0
RESULT_FIELD = "json"
TOMBSTONE_FIELD = "gone"
# How far an event worker may lag behind: whichever limit is reached first.
KEEP_S = 60.0
MAX_ENTRIES = 4096
# A partition that nobody writes to expires.
_LIFE_MS = 120_000

Command = tuple[Any, ...]
QUESTION: Command = ("GET", keys.EVENTS_ON)


class PartitionWriter:
    """Makes the commands for one pod. Not thread-safe."""

    def __init__(self) -> None:
        self._partitions = 0
        self._asked_at_s = float("-inf")
        self._trimmed_at_s: dict[int, float] = {}
        self._throttle = Throttle()

    @property
    def on(self) -> bool:
        """Whether an event service runs, as far as this pod knows."""
        return self._partitions > 0

    def is_due(self, now_s: float) -> bool:
        """Whether to ask again; `learn` takes the answer."""
        return now_s - self._asked_at_s >= ASK_EVERY_S

    def learn(self, answer: object, now_s: float) -> None:
        """Takes the answer to QUESTION."""
        self._asked_at_s = now_s
        count = read_count(answer)
        if isinstance(answer, NoPermissionError) and (note := self._throttle.note("rights")):
            log.warning(
                "the event service gets nothing of this pod: the Redis user worker may not read %s; render users.acl "
                "again (doc/security.md) %s",
                *(keys.EVENTS_ON, note),
            )
        if count > MAX_PARTITIONS and (note := self._throttle.note("count")):
            log.warning(
                "%s says %d partitions, at most %d are accepted %s", keys.EVENTS_ON, count, MAX_PARTITIONS, note
            )
        self._partitions = count if count <= MAX_PARTITIONS else 0
        if not self._partitions:
            self._trimmed_at_s.clear()

    def add_result(self, stream: str, document: bytes) -> Command:
        """The entry of a result, whose JSON is `document`. Only while `on`."""
        return self._add(stream, RESULT_FIELD, document)

    def add_tombstone(self, tombstone: Tombstone) -> Command:
        """The entry of a tombstone. Only while `on`."""
        gone = {"stream": tombstone.stream, "order": tombstone.order, "reason": str(tombstone.reason)}
        return self._add(tombstone.stream, TOMBSTONE_FIELD, json.dumps(gone, separators=(",", ":")).encode())

    def trims(self, streams: Sequence[str], now_s: float, server_ms: Callable[[], int]) -> list[Command]:
        """Commands that remove old entries, once a second for each partition in use. `streams` get an entry now."""
        commands: list[Command] = []
        for partition in {self._partition(each) for each in streams}:
            if now_s - self._trimmed_at_s.get(partition, float("-inf")) < ASK_EVERY_S:
                continue
            self._trimmed_at_s[partition] = now_s
            key = keys.partition_results(partition)
            commands.append(("XTRIM", key, "MINID", "~", max(0, server_ms() - int(KEEP_S * 1000))))
            commands.append(("PEXPIRE", key, _LIFE_MS))
        return commands

    def _add(self, stream: str, field: str, document: bytes) -> Command:
        return (
            "XADD",
            keys.partition_results(self._partition(stream)),
            "MAXLEN",
            "~",
            MAX_ENTRIES,
            "*",
            field,
            document,
        )

    def _partition(self, stream: str) -> int:
        return keys.partition_of(stream.partition(":")[0], self._partitions)
