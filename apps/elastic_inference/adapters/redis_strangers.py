"""Closes connections to Redis that do not log in, so that strangers can't occupy its slots (`maxclients`) for long.

Called by housekeeping, on its event loop. Redis itself has no time limit for a login: `timeout` is for silence, and a
client that sends anything starts it again.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from elastic_inference.adapters.redis_buffers import LONGEST_LINE
from elastic_inference.adapters.redis_connection import connect_nodes_async, is_cluster
from elastic_inference.adapters.redis_places import read_crowd
from elastic_inference.base.config import RedisTarget
from elastic_inference.base.log import Throttle

log = logging.getLogger(__name__)

EVERY_S = 5.0
# A login takes one round trip after the TCP (and TLS) handshake.
LOGIN_WITHIN_S = 10
# Above this share of the slots, every round looks, and clients have less time to log in.
SCARCE = 0.8
SCARCE_LOGIN_WITHIN_S = 2
# Each costs Redis a walk through its connections.
MOST_AT_ONCE = 500
NODES_FOR_S = 60.0
NOT_ALLOWED_FOR_S = 60.0
# The user of whoever has not logged in.
_NOBODY = b" user=default "
_FIELD = re.compile(rb"([a-z-]+)=(\S*)")
# Only a client that is logged in can have set these.
_SIGNS = {b"name": b"", b"lib-name": b"", b"sub": b"0", b"psub": b"0", b"ssub": b"0", b"db": b"0", b"multi": b"-1"}
_LOGGING_IN = {b"auth", b"hello"}


class Did(IntEnum):
    """What a connection without a user name has done, as far as Redis reports."""

    NOTHING = 0  # it has sent no command
    NO_MORE_THAN_LOG_IN = 1  # it has tried to log in, or Redis has refused all its commands
    SOMETHING = 2  # it may have been refused, or be somebody else's program, where `default` can log in


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection without a user name."""

    number: int
    address: str
    age_s: int
    did: Did


def read_connections(listed: bytes) -> list[Connection]:
    """Parses CLIENT LIST: the connections that may not have logged in, the oldest first."""
    found = []
    for line in listed.splitlines():
        if _NOBODY not in line:
            continue
        fields = dict(_FIELD.findall(line))
        if any(fields.get(name, usual) != usual for name, usual in _SIGNS.items()) or fields.get(b"flags") != b"N":
            continue
        number, age = fields.get(b"id", b""), fields.get(b"age", b"")
        if not (number.isdigit() and age.isdigit()):
            continue
        address = fields.get(b"addr", b"").decode(errors="replace").rpartition(":")[0]
        found.append(Connection(int(number), address, int(age), _did(fields)))
    return sorted(found, key=lambda each: -each.age_s)


def read_long_names(listed: bytes) -> list[int]:
    """Parses CLIENT LIST: the numbers of connections with very long names."""
    long = [line for line in listed.splitlines() if len(line) > LONGEST_LINE]
    return [int(match[1]) for line in long if (match := re.match(rb"id=(\d{1,18}) ", line))]


def _did(fields: dict[bytes, bytes]) -> Did:
    if fields.get(b"cmd") == b"NULL":
        return Did.NOTHING
    # Redis does not count commands that it refuses because nobody has logged in. Older servers count none.
    if fields.get(b"cmd") in _LOGGING_IN or fields.get(b"tot-cmds") == b"0":
        return Did.NO_MORE_THAN_LOG_IN
    return Did.SOMETHING


class Strangers:
    """Looks at the connections of the queue's Redis. Methods raise REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, client: Redis, target: RedisTarget, name: str) -> None:
        """`client` is of the whole server, and belongs to the caller; in a Redis Cluster each node gets its own.

        `name` is that of housekeeping's own connections.
        """
        self._client, self._target, self._name = client, target, name
        self._cluster = is_cluster(target)
        self._nodes: list[Redis] = []
        self._nodes_until = 0.0
        self._due = 0.0
        self._throttle = Throttle()
        # How many connections the last look closed for another reason: of whoever holds most, or with a long name.
        self.others_closed = 0

    async def close_some(self, places: int) -> int:
        """Closes those that have had enough time to log in, and returns how many; call it every second.

        `places` is the server's `maxclients`, 0 if unknown. Where nobody needs a login, only those that have sent
        nothing are closed.
        """
        now = time.monotonic()
        self.others_closed = 0
        if now < self._due:
            return 0
        self._due = now + EVERY_S
        try:
            closed = Counter[str]()
            for node in await self._servers(now):
                closed += await self._close_at(node, places)
        except NoPermissionError:
            # An older users.acl, or the user `viewer`.
            self._due = now + NOT_ALLOWED_FOR_S
            return 0
        except Exception:
            await self.close()
            raise
        if closed and (note := self._throttle.note("closed")):
            address, most = closed.most_common(1)[0]
            log.warning(
                "closed %d connections to Redis that had not logged in, %d of them from %s %s",
                *(closed.total(), most, address, note),
            )
        return closed.total()

    async def close(self) -> None:
        """Closes the connections to the servers of a cluster."""
        nodes, self._nodes = self._nodes, []
        for node in nodes:
            await node.aclose()

    async def _servers(self, now: float) -> Iterable[Redis]:
        if not self._cluster:
            return [self._client]
        if now > self._nodes_until:
            await self.close()
        if not self._nodes:
            self._nodes = await connect_nodes_async(self._target, self._name)
            self._nodes_until = now + NODES_FOR_S
        return self._nodes

    async def _close_at(self, node: Redis, places: int) -> Counter[str]:
        listed: Any = await node.execute_command("CLIENT", "LIST", "TYPE", "normal")  # type: ignore[no-untyped-call]
        own = [line for line in listed.splitlines() if b" name=" + self._name.encode() + b" " in line]
        # If we need no login, nobody does.
        login = bool(own) and not any(_NOBODY in line for line in own)
        scarce = places > 0 and listed.count(b"\n") > SCARCE * places
        if scarce:
            self._due = 0.0
        limit_s = SCARCE_LOGIN_WITHIN_S if scarce else LOGIN_WITHIN_S
        worst = (Did.SOMETHING if scarce else Did.NO_MORE_THAN_LOG_IN) if login else Did.NOTHING
        found = [each for each in read_connections(listed) if each.age_s >= limit_s and each.did <= worst]
        chosen = found[:MOST_AT_ONCE]
        long_names = read_long_names(listed)[:MOST_AT_ONCE]
        crowd, whose = read_crowd(listed, places) if scarce and login else ([], "")
        others = [*long_names, *crowd[: MOST_AT_ONCE - len(chosen)]]
        if not chosen and not others:
            return Counter()
        pipe = node.pipeline(transaction=False)
        for number in others:
            pipe.execute_command("CLIENT", "KILL", "ID", number)
        for each in chosen:
            pipe.execute_command("CLIENT", "KILL", "ID", each.number)
        answers = (await pipe.execute())[len(others) :]
        self.others_closed += len(others)
        if crowd and (note := self._throttle.note("crowd")):
            log.warning(
                "%s holds more than half of Redis' %d places for connections: closed the youngest %d of them %s",
                *(whose, places, len(others) - len(long_names), note),
            )
        if long_names and (note := self._throttle.note("names")):
            log.warning("closed %d connections to Redis with names of several kB %s", len(long_names), note)
        return Counter(each.address for each, answer in zip(chosen, answers, strict=True) if answer)
