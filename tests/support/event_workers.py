"""Event workers as real processes whose analysis makes one event of each result, for tests of order and takeover.

Run as a program, it is the event service with that analysis instead of the real one.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
from prometheus_client.parser import text_string_to_metric_families

from elastic_inference.domain import keys
from elastic_inference.domain.events.counts import Counts
from elastic_inference.domain.events.event import Event, EventKind, Phase, event_json, parse_event
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.result import Result, result_json
from elastic_inference.flows.events import event_service, ordered_stream, partition_counts
from tests.support.ports import free_port
from tests.support.results import make_result

ROOT = Path(__file__).parents[2]


class EveryResult:
    """Instead of `StreamAnalysis`: each result is an event, whose revision is the number of results so far."""

    def __init__(self, stream: str, epoch: int, rules: CameraRules, state: bytes | None = None) -> None:
        self.stream = stream
        self.count = struct.unpack("<q", state)[0] if state else 0

    def on_result(self, result: Result, at_ms: float) -> tuple[Result, list[Event]]:
        self.count += 1
        name = self.stream.partition(":")[0]
        return result, [
            Event(
                id=f"{self.stream}/0-{result.order}-object-0",
                rev=self.count,
                kind=EventKind.OBJECT,
                phase=Phase.END,
                camera=name,
                stream=self.stream,
                type=result.type,
                began_ms=at_ms,
                at_ms=at_ms,
                ended_ms=at_ms,
            )
        ]

    def on_time(self, now_ms: float) -> list[Event]:
        return []

    on_end = on_time

    def set_rules(self, rules: CameraRules, now_ms: float) -> list[Event]:
        return []

    def counts(self) -> Counts:
        return Counts()

    def state(self) -> bytes:
        return struct.pack("<q", self.count)


class WorkerProcess:
    """One event service in a separate process."""

    def __init__(self, port: int, **settings: str) -> None:
        self.metrics_port = free_port()
        environment = {
            **os.environ,
            "QUEUE_PORT": str(port),
            "METRICS_PORT": str(self.metrics_port),
            "METRICS_HOST": "127.0.0.1",
            "EVENT_REORDER_MS": "200",
            **settings,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.event_workers"], cwd=ROOT, env=environment
        )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, _kind: type | None, _value: BaseException | None, _trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return sum(each.value for family in families for each in family.samples if each.name == name)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ends it as Kubernetes does; returns its exit code."""
        self.process.terminate()
        return self.process.wait(90)


def add(client: redis.Redis, stream: str, *orders: int, partitions: int = 16) -> None:
    """Writes results as a pod does."""
    key = keys.partition_results(keys.partition_of(stream.partition(":")[0], partitions))
    for order in orders:
        client.xadd(key, {"json": result_json(make_result(stream=stream, order=order, seq=order, ts=float(order)))})


def events_of(client: redis.Redis, stream: str, partitions: int = 16) -> list[Event]:
    """All events of a stream in its outbox, as they were written."""
    key = keys.events(keys.partition_of(stream.partition(":")[0], partitions))
    rows: Any = client.xrange(key)
    return [event for _, fields in rows if (event := parse_event(fields[b"json"])).stream == stream]


def orders_of(client: redis.Redis, stream: str, partitions: int = 16) -> list[int]:
    """The orders of the results that became events."""
    return [int(each.id.rpartition("/")[2].split("-")[1]) for each in events_of(client, stream, partitions)]


def example_event(**fields: Any) -> bytes:
    """The JSON of an event."""
    given: dict[str, Any] = {
        "id": "gate-1:people:inferred/1-1-object-0",
        "rev": 1,
        "kind": EventKind.OBJECT,
        "phase": Phase.END,
        "camera": "gate-1",
        "stream": "gate-1:people:inferred",
        "type": "people",
        "label": "person",
        "began_ms": 1000.0,
        "at_ms": 1000.0,
    }
    return event_json(Event(**{**given, **fields}))


if __name__ == "__main__":
    if not os.environ.get("EI_TEST_REAL"):
        ordered_stream.StreamAnalysis = EveryResult  # type: ignore[assignment,misc]
    partition_counts.SAVE_S = float(os.environ.get("EI_TEST_SAVE_S", partition_counts.SAVE_S))
    sys.exit(event_service.main())
