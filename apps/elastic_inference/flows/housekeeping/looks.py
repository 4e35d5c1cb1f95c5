"""Looks that do not wait for the rounds, which may take seconds. Called by `memory_watch` and `crowd_watch`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from elastic_inference.base.log import Throttle

log = logging.getLogger(__name__)

LOOK_LIMIT_S = 3.0


async def keep_looking(look: Callable[[], Awaitable[float]], pause_s: float, stop: asyncio.Event, what: str) -> None:
    """Calls `look` until the stop; it returns the seconds until the next look. A bug in it is logged.

    After an error the next look comes after `pause_s`. In logs, `what` says what looks do. The rounds report a Redis
    that does not answer.
    """
    throttle = Throttle()
    while not stop.is_set():
        pause = pause_s
        try:
            async with asyncio.timeout(LOOK_LIMIT_S):
                pause = await look()
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("%s failed: %s", what, error)
        except Exception as error:
            if note := throttle.note(type(error)):
                log.exception("%s failed %s", what, note)
        try:
            async with asyncio.timeout(pause):
                await stop.wait()
        except TimeoutError:
            continue
