"""The sinks' records in Redis: sinks added by REST, states, and requests to workers.

Used by the event service.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import redis

from elastic_inference.adapters.leases.lease_rows import read_leases
from elastic_inference.adapters.outbox.sink_outbox import left_field
from elastic_inference.adapters.redis_input import read_count
from elastic_inference.domain import keys
from elastic_inference.domain.leases import MAX_EPOCH
from elastic_inference.domain.sink_spec import MAX_SINKS, SinkError, SinkSpec, read_sink, sink_document

# A field that shows that Redis has not lost the hash.
KNOWN = ":known"
MAX_SPEC_BYTES = 16 * 1024
FILE_LIFE_S = 30
ANSWER_LIFE_S = 60


class SinkRecords:
    """One worker's side; not thread-safe. Every method raises REDIS_ERRORS or RedisError."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def specs(self) -> dict[str, SinkSpec] | None:
        """The sinks added by REST, or None if Redis does not know them, such as after it restarted empty."""
        rows: Any = self._client.hgetall(keys.SINK_SPECS)
        if KNOWN.encode() not in rows:
            return None
        found: dict[str, SinkSpec] = {}
        for name, raw in list(rows.items())[: MAX_SINKS + 1]:
            if name == KNOWN.encode() or len(raw) > MAX_SPEC_BYTES:
                continue
            with contextlib.suppress(ValueError, RecursionError, SinkError):
                spec = read_sink(json.loads(raw))
                if spec.name.encode() == name:
                    found[spec.name] = spec
        return found

    def write_specs(self, specs: Mapping[str, SinkSpec]) -> None:
        """Restores sinks that Redis has lost."""
        rows: Any = {name: json.dumps(sink_document(spec)) for name, spec in specs.items()}
        self._client.hset(keys.SINK_SPECS, mapping=rows | {KNOWN: "1"})

    def write_file(self, specs: Mapping[str, SinkSpec], problem: str) -> None:
        """Publishes the file's sinks and its errors for the gateway."""
        document = {"sinks": [sink_document(spec) for spec in specs.values()], "problem": problem}
        self._client.set(keys.SINK_FILE, json.dumps(document), ex=FILE_LIFE_S)

    def write_states(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Publishes the states of this worker's sinks for the gateway."""
        if states:
            rows: Any = {name: json.dumps(state) for name, state in states.items()}
            self._client.hset(keys.SINK_STATES, mapping=rows)

    def want(self, names: Collection[str]) -> None:
        """Announces which sinks should have a worker."""
        key = keys.wanted(keys.SINK_GROUP)
        stored: Any = self._client.hgetall(key)
        old = [name for name in stored if name != KNOWN.encode() and name.decode("utf-8", "replace") not in names]
        if old:
            self._client.hdel(key, *old)
        rows: Any = dict.fromkeys(names, "1 0.01") | {KNOWN: "1"}
        if len(stored) != len(rows) or old:
            self._client.hset(key, mapping=rows)

    def is_handed_over(self, sink: str) -> bool:
        """Whether a living worker had the sink until now, and may still deliver to it."""
        pipe = self._client.pipeline(transaction=False)
        pipe.hmget(keys.leases(keys.SINK_GROUP), [sink])
        pipe.hgetall(keys.lease_workers(keys.SINK_GROUP))
        (row,), workers = pipe.execute()
        # The time of the last round: on a cluster, TIME could be that of another node.
        now_s = read_count(workers.get(b":clock"), MAX_EPOCH) / 1e6
        found, _ = read_leases({sink.encode(): row} if row else {}, workers, now_s)
        return sink in found and found[sink].former is not None

    def cursors_of(self, partitions: int) -> set[str]:
        """All sinks that have a cursor in any partition."""
        pipe = self._client.pipeline(transaction=False)
        for each in range(partitions):
            pipe.hgetall(keys.event_sinks(each))
        return {name.decode("utf-8", "replace") for rows in pipe.execute() for name in rows}

    def forget(self, sink: str, partitions: int) -> None:
        """Removes the cursors and the state of a sink that no longer exists. Its dead letters stay."""
        pipe = self._client.pipeline(transaction=False)
        for each in range(partitions):
            pipe.hdel(keys.event_sinks(each), sink)
            pipe.hdel(keys.event_holders(each), sink, left_field(sink))
        pipe.hdel(keys.SINK_STATES, sink)
        pipe.execute()

    def next_request(self) -> dict[str, Any] | None:
        """Takes the next request of the gateway, which this worker must answer."""
        raw: Any = self._client.lpop(keys.SINK_REQUESTS)
        if raw is None or len(raw) > 2 * MAX_SPEC_BYTES:
            return None
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            return None
        good = isinstance(found, dict) and isinstance(found.get("id"), str) and keys.is_name(found["id"])
        return found if good else None

    def answer(self, request: str, document: Mapping[str, Any]) -> None:
        """Answers a request."""
        self._client.set(keys.sink_reply(request), json.dumps(document), ex=ANSWER_LIFE_S)


def ids_of(given: object) -> Sequence[str] | None:
    """Ids of dead letters in a request; None for all."""
    if not isinstance(given, list):
        return None
    return [each for each in given if isinstance(each, str) and len(each) <= 42]
