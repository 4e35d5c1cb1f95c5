"""Server-sent events: each change is encoded once and sent to every client.

Called by the events handler, which writes what its `Subscription` returns. A slow client gets the newest event of
each kind, never a backlog. Redis is read only while a client is connected.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

from elastic_inference import __version__
from elastic_inference.base.metrics import GatewayMetrics
from elastic_inference.domain.rest import HelloEvent, ProblemEvent, TimeEvent, document_json
from elastic_inference.flows.gateway.pool_state import NothingKnownError, PoolState

log = logging.getLogger(__name__)

EVERY_S = 0.5
KEEPALIVE_S = 15.0
MAX_CLIENTS = 500


class Subscription:
    """One client's pending events: the newest of each kind."""

    def __init__(self) -> None:
        self._pending: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        self.closed = False

    def put(self, kind: str, event: bytes) -> None:
        """Replaces the pending event of this kind."""
        self._pending[kind] = event
        self._changed.set()

    def close(self) -> None:
        """Ends the client's stream after the pending events."""
        self.closed = True
        self._changed.set()

    async def take(self, timeout_s: float) -> bytes:
        """The pending events as bytes; empty if none comes within `timeout_s`."""
        if not self._pending and not self.closed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                return b""
        self._changed.clear()
        taken = b"".join(self._pending.values())
        self._pending.clear()
        return taken


class EventHub:
    """All clients of `/api/events`, on the gateway's event loop."""

    def __init__(self, state: PoolState, metrics: GatewayMetrics) -> None:
        self._state = state
        self._metrics = metrics
        self._clients: set[Subscription] = set()
        self._latest: dict[str, bytes] = {}
        self._last_compared: dict[str, Any] = {}
        self._has_clients = asyncio.Event()
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether new clients are refused."""
        return len(self._clients) >= MAX_CLIENTS

    def subscribe(self) -> Subscription:
        """Adds a client. It gets `hello` first, then the newest event of each kind."""
        client = Subscription()
        client.put("hello", self.event("hello", HelloEvent(__version__, self._time_ms())))
        if len(self._clients):
            for kind, event in self._latest.items():
                client.put(kind, event)
        if self._closed:
            client.close()
        self._clients.add(client)
        self._metrics.event_clients.set(len(self._clients))
        self._has_clients.set()
        return client

    def unsubscribe(self, client: Subscription) -> None:
        """Removes a client."""
        self._clients.discard(client)
        self._metrics.event_clients.set(len(self._clients))
        if not self._clients:
            # The next client must not start with stale events.
            self._latest.clear()
            self._last_compared.clear()
            self._has_clients.clear()

    def keepalive(self) -> bytes:
        """A comment that keeps proxies from closing the connection, and the clock for pages; sent every 15 s."""
        return b": keepalive\n\n" + self.time_event()

    def time_event(self) -> bytes:
        """The event `time`."""
        return self.event("time", TimeEvent(self._time_ms()))

    def close(self) -> None:
        """Ends all clients' streams."""
        self._closed = True
        for client in self._clients:
            client.close()

    async def run(self) -> None:
        """Reads and compares twice a second while a client is connected, until cancelled."""
        while True:
            await self._has_clients.wait()
            started = time.monotonic()
            await self._publish()
            await asyncio.sleep(max(0.05, EVERY_S - (time.monotonic() - started)))

    async def _publish(self) -> None:
        try:
            streams = await self._state.streams()
            stats = await self._state.stats()
        except NothingKnownError:
            pass  # the problem event below says so
        else:
            self._offer("streams", streams, streams)
            # Times always change: a change of times alone sends no event.
            still = replace(stats, time_ms=0, workers=tuple(replace(each, last_seen=0) for each in stats.workers))
            self._offer("stats", stats, still)
        missing = self._state.missing()
        self._offer("problem", ProblemEvent(missing), missing)

    def _offer(self, kind: str, document: object, compared: object) -> None:
        if kind in self._last_compared and self._last_compared[kind] == compared:
            return
        first = kind not in self._last_compared
        self._last_compared[kind] = compared
        if kind == "problem" and first and not compared:
            return
        event = self.event(kind, document)
        self._latest[kind] = event
        for client in self._clients:
            client.put(kind, event)

    @staticmethod
    def event(kind: str, document: object) -> bytes:
        """One event in the format of server-sent events."""
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), document_json(document))

    def _time_ms(self) -> int:
        return round(self._state.now_s() * 1000)
