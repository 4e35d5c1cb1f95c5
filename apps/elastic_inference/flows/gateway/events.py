"""Server-sent events: each change is encoded once for all clients with the same view.

Called by the events handler, which writes what its `Subscription` returns. A slow client gets the newest event of
each kind, never a backlog. Redis is read only while a client is connected.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from elastic_inference import __version__
from elastic_inference.base.metrics import GatewayMetrics
from elastic_inference.domain.camera_errors import CameraRefusal
from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway.access import Access
from elastic_inference.flows.gateway.login_places import LoginPlaces
from elastic_inference.flows.gateway.pool_state import NoDataYetError, PoolState

if TYPE_CHECKING:
    from elastic_inference.flows.gateway.rest_parts import RestParts

# ruff: noqa: PLC0415

log = logging.getLogger(__name__)

EVERY_S = 0.5
KEEPALIVE_S = 15.0
MAX_CLIENTS = 500


# (role, cameras): a viewer of all cameras sees less than an admin of all.
_ViewKey = tuple[Role, tuple[str, ...]]


def _view_key(access: Access) -> _ViewKey:
    return access.role, access.cameras


class Subscription:
    """One client's pending events: the newest of each kind."""

    def __init__(self, view: _View, access: Access) -> None:
        self.view = view
        self.access = access
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


class _View:
    """The clients of one role with the same cameras, and their newest event of each kind."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.key = _view_key(access)
        self.clients: set[Subscription] = set()
        self.latest: dict[str, bytes] = {}
        self.last_compared: dict[str, Any] = {}


class EventHub:
    """All clients of `/api/events`, on the gateway's event loop."""

    def __init__(self, state: PoolState, metrics: GatewayMetrics, parts: RestParts) -> None:
        self._state = state
        self._parts = parts
        self._metrics = metrics
        self._clients: set[Subscription] = set()
        self._places = LoginPlaces(MAX_CLIENTS)
        # There are at most as many views as tokens.
        self._views: dict[_ViewKey, _View] = {}
        self._has_clients = asyncio.Event()
        self._closed = False

    def has_room(self, access: Access) -> bool:
        """Whether this login may add a client."""
        return self._places.has_room(access)

    def subscribe(self, access: Access) -> Subscription:
        """Adds a client, for which there must be room. It gets `hello` first, then the newest event of each kind."""
        from elastic_inference.domain.rest import HelloEvent  # see `rest_parts`

        view = self._views.setdefault(_view_key(access), _View(access))
        client = Subscription(view, access)
        self._places.take(access)
        client.put("hello", self.event("hello", HelloEvent(__version__, self._time_ms())))
        for kind, event in view.latest.items():
            client.put(kind, event)
        if self._closed:
            client.close()
        self._clients.add(client)
        view.clients.add(client)
        self._metrics.event_clients.set(len(self._clients))
        self._has_clients.set()
        return client

    def unsubscribe(self, client: Subscription) -> None:
        """Removes a client."""
        self._clients.discard(client)
        self._places.give_back(client.access)
        view = client.view
        view.clients.discard(client)
        if not view.clients and self._views.get(view.key) is view:
            # The next client must not start with stale events.
            del self._views[view.key]
        self._metrics.event_clients.set(len(self._clients))
        if not self._clients:
            self._has_clients.clear()

    def keepalive(self) -> bytes:
        """A comment that keeps proxies from closing the connection, and the clock for pages; sent every 15 s."""
        return b": keepalive\n\n" + self.time_event()

    def time_event(self) -> bytes:
        """The event `time`."""
        from elastic_inference.domain.rest import TimeEvent

        return self.event("time", TimeEvent(self._time_ms()))

    def close(self) -> None:
        """Ends all clients' streams."""
        self._closed = True
        for client in self._clients:
            client.close()

    async def run(self) -> None:
        """Reads the state twice a second while a client is connected, and sends changes; runs until cancelled."""
        while True:
            await self._has_clients.wait()
            started = time.monotonic()
            await self._publish()
            await asyncio.sleep(max(0.05, EVERY_S - (time.monotonic() - started)))

    async def _publish(self) -> None:
        for view in list(self._views.values()):
            await self._publish_to(view)

    async def _publish_to(self, view: _View) -> None:
        from elastic_inference.domain.rest import ProblemEvent

        try:
            streams = await self._state.streams(view.access)
            stats = await self._state.stats(view.access)
        except NoDataYetError:
            pass  # the problem event below says so
        else:
            self._offer(view, "streams", streams, streams)
            # Times always change, so a change of times alone sends no event.
            still = replace(stats, time_ms=0, workers=tuple(replace(each, last_seen=0) for each in stats.workers))
            self._offer(view, "stats", stats, still)
        if view.access.role is Role.ADMIN:
            from elastic_inference.flows.gateway.camera_state import worth_an_event

            try:
                cameras = await self._parts.cameras.cameras(view.access)
            except CameraRefusal:
                pass  # a request for them says why
            else:
                self._offer(view, "cameras", cameras, worth_an_event(cameras))
        newest = await self._parts.events.newest(view.access)
        if newest is not None and (newest.events or "log" in view.latest):
            self._offer(view, "log", newest, newest)
        missing = self._state.missing()
        self._offer(view, "problem", ProblemEvent(missing), missing)

    def _offer(self, view: _View, kind: str, document: object, compared: object) -> None:
        if kind in view.last_compared and view.last_compared[kind] == compared:
            return
        first = kind not in view.last_compared
        view.last_compared[kind] = compared
        if kind == "problem" and first and not compared:
            return
        event = self.event(kind, document)
        view.latest[kind] = event
        for client in view.clients:
            client.put(kind, event)

    @staticmethod
    def event(kind: str, document: object) -> bytes:
        """One event in the format of server-sent events."""
        from elastic_inference.domain.rest import document_json

        return b"event: %b\ndata: %b\n\n" % (kind.encode(), document_json(document))

    def _time_ms(self) -> int:
        return round(self._state.now_s() * 1000)
