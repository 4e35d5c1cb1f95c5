"""Closes connections to Redis that make it keep too much for them: unfinished commands, and answers that nobody reads.

Called by `MemoryRelief`, on its event loop. These buffers count towards `maxmemory`: a client that fills it with them
would have everybody's frames refused. `maxmemory-clients` limits them all, but closes the largest, whoever has them.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from elastic_inference.adapters.acl import USERS
from elastic_inference.base.log import Throttle

log = logging.getLogger(__name__)

# Shares of `maxmemory` that the connections of clients outside may take: above the first some are closed, until they
# take the second.
HIGH, LOW = 0.15, 0.1
# A smaller connection is never closed: an idle one takes up to 20 kB.
SMALL_BYTES = 32 * 1024
# Redis lists a connection in some 400 bytes and its name, which any login can make as long as a frame. Each list then
# takes seconds, and `maxmemory-clients` does not count the name.
LONGEST_LINE = 4096
# Each costs Redis a walk through its connections.
MOST_AT_ONCE = 500
# The list of 10,000 connections has 4 MB.
EVERY_S = 0.5
NOT_ALLOWED_FOR_S = 60.0
# Their passwords stay in the services' pods, and their answers may be large. Whoever else logs in is a client outside.
SERVICES = frozenset(user.encode() for user in USERS if user not in {"camera", "scaler", "reader"})
_FIELD = re.compile(rb"(id|addr|user|tot-mem)=(\S*)")


@dataclass(frozen=True, slots=True)
class Holder:
    """A connection of a client outside, and how many bytes Redis keeps for it."""

    number: int
    user: str
    address: str
    used: int


def read_holders(listed: bytes) -> list[Holder]:
    """Parses CLIENT LIST: the connections of clients outside."""
    found = []
    for line in listed.splitlines():
        fields = dict(_FIELD.findall(line))
        number, used = fields.get(b"id", b""), fields.get(b"tot-mem", b"")
        user = fields.get(b"user", b"")
        if user and user not in SERVICES and number.isdigit() and used.isdigit():
            address = fields.get(b"addr", b"").decode(errors="replace").rpartition(":")[0]
            # Redis does not count the connection's name.
            name_bytes = len(line) if len(line) > LONGEST_LINE else 0
            found.append(Holder(int(number), user.decode(errors="replace"), address, int(used) + name_bytes))
    return found


def choose(holders: Iterable[Holder], limit: int) -> list[Holder]:
    """Those to close if `limit` is `maxmemory`: of the user and address that take most, the largest first."""
    groups: Counter[tuple[str, str]] = Counter()
    for each in holders:
        groups[each.user, each.address] += each.used
    total = groups.total()
    if total <= HIGH * limit:
        return []
    chosen: list[Holder] = []
    for each in sorted(holders, key=lambda each: (-groups[each.user, each.address], -each.used)):
        if total <= LOW * limit or len(chosen) == MOST_AT_ONCE:
            break
        if each.used >= SMALL_BYTES:
            chosen.append(each)
            total -= each.used
    return chosen


class Buffers:
    """Looks at the connections of one server. Methods raise REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, client: Redis, name: str) -> None:
        """`client` belongs to the caller; `name` is that of housekeeping's own connections."""
        self._client, self._name = client, name
        self._due = 0.0
        self._throttle = Throttle()

    async def close_some(self, used: int, limit: int) -> Counter[str]:
        """Closes connections if clients take too much. Returns how many were closed, and the bytes that they took.

        `used` is what all clients take, `limit` is `maxmemory`, both in bytes. Does nothing where nobody needs a login.
        """
        now = time.monotonic()
        if used <= HIGH * limit or now < self._due:
            return Counter()
        self._due = now + EVERY_S
        try:
            listed: Any = await self._client.execute_command("CLIENT", "LIST", "TYPE", "normal")  # type: ignore[no-untyped-call]
            own = [line for line in listed.splitlines() if b" name=" + self._name.encode() + b" " in line]
            if not own or any(b" user=default " in line for line in own):
                return Counter()
            chosen = choose(read_holders(listed), limit)
            if not chosen:
                return Counter()
            pipe = self._client.pipeline(transaction=False)
            for each in chosen:
                pipe.execute_command("CLIENT", "KILL", "ID", each.number)
            answers = await pipe.execute()
        except NoPermissionError:
            # An older users.acl, or the user `viewer`.
            self._due = now + NOT_ALLOWED_FOR_S
            return Counter()
        closed = [each for each, answer in zip(chosen, answers, strict=True) if answer]
        done = Counter(closed=len(closed), bytes=sum(each.used for each in closed))
        if closed and (note := self._throttle.note("closed")):
            log.warning(
                "closed %d connections for which Redis kept %d MiB: the first is of user %s at %s %s",
                *(len(closed), done["bytes"] >> 20, closed[0].user, closed[0].address, note),
            )
        return done
