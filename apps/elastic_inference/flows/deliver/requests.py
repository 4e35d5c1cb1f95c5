"""Answers the gateway's requests: a test event for a sink, or dead letters to send again or to delete.

One thread per request.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import redis
from redis.exceptions import RedisError

from elastic_inference.adapters.outbox.sink_outbox import SinkOutbox
from elastic_inference.adapters.outbox.sink_records import SinkRecords, ids_of
from elastic_inference.adapters.sinks import DeliveryError, Item, Sink
from elastic_inference.domain.errors import InvalidEventError
from elastic_inference.domain.events.event import CameraChange, Event, EventKind, Phase, event_json, parse_event
from elastic_inference.domain.sink_spec import SinkSpec

log = logging.getLogger(__name__)

# Maximum number of concurrent requests; further ones are refused.
MAX_AT_ONCE = 4
MAX_RESENT = 100
TEST_CAMERA = "test"


class Requests:
    """Called by the thread of `Delivery`; the answers go to Redis."""

    def __init__(
        self,
        connect: Callable[[], redis.Redis],
        open_sink: Callable[[SinkSpec], Sink],
        removed: Callable[[int], None],
    ) -> None:
        """`open_sink` makes a connection besides the one that delivers; `removed` counts deleted dead letters."""
        self._connect = connect
        self._removed = removed
        self._open_sink = open_sink
        self._places = threading.Semaphore(MAX_AT_ONCE)

    def take(self, records: SinkRecords, request: Mapping[str, Any], specs: Mapping[str, SinkSpec]) -> None:
        """Starts a thread for a request."""
        spec = specs.get(str(request.get("sink")))
        if spec is None:
            records.answer(request["id"], {"status": 404, "message": "There is no such sink."})
        elif not self._places.acquire(blocking=False):
            records.answer(request["id"], {"status": 429, "message": "Too many requests: try again in a moment."})
        else:
            threading.Thread(target=self._carry_out, args=(dict(request), spec), name="request", daemon=True).start()

    def _carry_out(self, request: dict[str, Any], spec: SinkSpec) -> None:
        try:
            with contextlib.closing(self._connect()) as client:
                SinkRecords(client).answer(request["id"], self._answer(client, request, spec))
        except (RedisError, OSError) as error:
            log.warning("a request about the sink %s could not be answered: %s", spec.name, error)
        except Exception:
            # Top of the thread; the gateway's wait ends by itself.
            log.exception("a request about the sink %s failed", spec.name)
        finally:
            self._places.release()

    def _answer(self, client: redis.Redis, request: Mapping[str, Any], spec: SinkSpec) -> dict[str, Any]:
        what, outbox = request.get("what"), SinkOutbox(client, spec.name, 1)
        if what == "remove":
            ids = request.get("ids")
            count = outbox.remove_all_dead() if ids is None else outbox.remove_dead(*(ids_of(ids) or ()))
            self._removed(count)
            log.info("%d dead letters of the sink %s were deleted on request", count, spec.name)
            return {"status": 200, "removed": count}
        with contextlib.closing(self._open_sink(spec)) as sink:
            return _resend(outbox, sink, request) if what == "resend" else _test(sink, spec)


def sample_event(now_ms: float) -> Event:
    """The test event: a camera called `test` is back."""
    return Event(
        id=f"test/{secrets.token_hex(8)}",
        rev=1,
        kind=EventKind.CAMERA,
        phase=Phase.END,
        camera=TEST_CAMERA,
        state=CameraChange.BACK,
        began_ms=now_ms,
        at_ms=now_ms,
        ended_ms=now_ms,
        snapshot_reason="This is a test.",
    )


def _test(sink: Sink, spec: SinkSpec) -> dict[str, Any]:
    event = sample_event(time.time() * 1000)
    try:
        sink.deliver([Item(event, event_json(event))])
    except DeliveryError as error:
        return {"status": 200, "delivered": False, "message": f"Not delivered: {error}."}
    return {"status": 200, "delivered": True, "message": f"{spec.destination} has confirmed the event {event.id}."}


def _resend(outbox: SinkOutbox, sink: Sink, request: Mapping[str, Any]) -> dict[str, Any]:
    sent, message = 0, "All of them are delivered."
    for entry_id, document in outbox.dead_letters(ids_of(request.get("ids")), MAX_RESENT):
        try:
            event = parse_event(document)
        except InvalidEventError as error:
            message = f"The dead letter {entry_id} can't be sent: {error}."
            continue
        try:
            sink.deliver([Item(event, document, resent=True)])
        except DeliveryError as error:
            message = f"The dead letter {entry_id} is refused again: {error}."
            break
        outbox.remove_dead(entry_id)
        sent += 1
    return {"status": 200, "sent": sent, "message": message}
