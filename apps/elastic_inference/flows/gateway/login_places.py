"""Limits on what runs at once, divided among logins: one of them cannot keep the others out.

An admin of all cameras may use all places. Every other login may use at most half, and never more than it leaves free:
several together leave a part too. Used by the handlers and their parts, on the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from elastic_inference.flows.gateway.access import Access

LONG_S = 0.05
LONGEST_REST_S = 3.0


class LoginPlaces:
    """Places that are refused when all are in use, or when this login would have more than are left free."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._by: Counter[str] = Counter()

    def has_room(self, access: Access, size: int = 1) -> bool:
        """Whether `size` more are free for this login. A login that has none gets what is free, whatever the size."""
        total, own = self._by.total(), self._by[access.fingerprint]
        left = self._count - total - size
        within_share = access.sees_pool or not own or own + size <= left
        return within_share and (not total or left >= 0)

    def take(self, access: Access, size: int = 1) -> bool:
        """Takes places if there is room; returns whether there was."""
        if not self.has_room(access, size):
            return False
        self._by[access.fingerprint] += size
        return True

    def give_back(self, access: Access, size: int = 1) -> None:
        """Frees places that were taken."""
        self._by[access.fingerprint] -= size
        if not self._by[access.fingerprint]:
            del self._by[access.fingerprint]


@dataclass(slots=True)
class _Queue:
    places: asyncio.Semaphore
    users: int = field(default=0)
    # The next one of this login may begin then, by the monotonic clock.
    rests_until_s: float = field(default=0.0)


class LoginQueues:
    """Places for which logins wait, each in a queue of its own.

    A login that has held a place for longer than `LONG_S` then rests `rest` times as long: a search takes the event
    loop's time, so a login that searches all the time would slow everybody's requests.
    """

    def __init__(self, count: int, rest: float = 0.0) -> None:
        self._places = asyncio.Semaphore(count)
        self._half = max(1, count // 2)
        self._rest = rest
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def place(self, access: Access) -> AsyncIterator[None]:
        """Waits for a place and holds it."""
        if access.sees_pool:
            async with self._places:
                yield
            return
        queue = self._queue(access.fingerprint)
        queue.users += 1
        try:
            async with queue.places:
                await self._rested(queue)
                async with self._places:
                    began_s = time.monotonic()
                    try:
                        yield
                    finally:
                        self._used(queue, began_s)
        finally:
            queue.users -= 1

    def _queue(self, fingerprint: str) -> _Queue:
        if (found := self._queues.get(fingerprint)) is not None:
            return found
        now_s = time.monotonic()
        self._queues = {name: each for name, each in self._queues.items() if each.users or each.rests_until_s > now_s}
        return self._queues.setdefault(fingerprint, _Queue(asyncio.Semaphore(self._half)))

    async def _rested(self, queue: _Queue) -> None:
        # Another one of this login may end meanwhile, and make it longer.
        while (left_s := queue.rests_until_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)

    def _used(self, queue: _Queue, began_s: float) -> None:
        now_s = time.monotonic()
        if (took_s := now_s - began_s) > LONG_S:
            rests_from_s = max(now_s, queue.rests_until_s)
            queue.rests_until_s = min(rests_from_s + self._rest * took_s, now_s + LONGEST_REST_S)
