"""Limits on what runs at once, divided among logins: one of them cannot keep the others out.

An admin of all cameras may use all places, every other login at most half. Used by the handlers and their parts, on
the gateway's event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from elastic_inference.flows.gateway.access import Access


class LoginPlaces:
    """Places that are refused when all are in use, or half of them by this login."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._by: Counter[str] = Counter()

    def has_room(self, access: Access, size: int = 1) -> bool:
        """Whether `size` more are free for this login. A login that has none gets what is free, whatever the size."""
        total, own = self._by.total(), self._by[access.fingerprint]
        within_half = access.sees_pool or not own or own + size <= self._count // 2
        return within_half and (not total or total + size <= self._count)

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


class LoginQueues:
    """Places for which logins wait, each in a queue of its own."""

    def __init__(self, count: int) -> None:
        self._places = asyncio.Semaphore(count)
        self._half = max(1, count // 2)
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def place(self, access: Access) -> AsyncIterator[None]:
        """Waits for a place and holds it."""
        if access.sees_pool:
            async with self._places:
                yield
            return
        queue = self._queues.setdefault(access.fingerprint, _Queue(asyncio.Semaphore(self._half)))
        queue.users += 1
        try:
            async with queue.places, self._places:
                yield
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[access.fingerprint]
