"""Whether a Redis is set up as this package needs it: new enough, and without eviction.

Called by the services whose Redis user may run INFO (gateway, websocket server, housekeeping) and by
`tools/status.sh`. For any other user, nothing is checked or reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import redis.asyncio
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from elastic_inference.base.config import RedisTarget

# The first version that knows %R and %W in users.acl.
OLDEST_VERSION = (7, 0)
RETRY_S = 2.0
CHECK_EVERY_S = 60.0


def find_problem(info: Mapping[str, Any]) -> str | None:
    """What is wrong with a server, judging by its INFO, and what to do; None if nothing is."""
    version = str(info.get("redis_version", ""))
    numbers = [int(part) for part in version[:40].split(".")[:2] if part.isdecimal()]
    if len(numbers) == 2 and tuple(numbers) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        return f"is version {version[:20]}: {oldest} or newer is needed, or Valkey"
    policy = str(info.get("maxmemory_policy", "noeviction"))
    limit = info.get("maxmemory", 0)
    if policy != "noeviction" and isinstance(limit, int) and limit > 0:
        return (
            f"evicts keys when its memory is full ({policy[:40]}), so frames and streams vanish uncounted: "
            "set maxmemory-policy to noeviction"
        )
    return None


async def ask_problem(client: redis.asyncio.Redis) -> str | None:
    """Like `find_problem`, for a running server; None if this user may not run INFO. Raises RedisError and OSError."""
    try:
        return find_problem(await client.info())
    except NoPermissionError:
        return None


async def watch_server(client: redis.asyncio.Redis, target: RedisTarget, report: Callable[[str | None], None]) -> None:
    """Reports a line, or None, when the server first answers, then every minute; never returns.

    An unavailable server is not reported here, but by other parts.
    """
    while True:
        try:
            problem = find_problem(await client.info())
        except ResponseError:  # this user may not run INFO, so asking again is useless
            await asyncio.Event().wait()
            return
        except (RedisError, OSError):
            await asyncio.sleep(RETRY_S)
            continue
        report(problem and f"Redis at {target} {problem}")
        await asyncio.sleep(CHECK_EVERY_S)
