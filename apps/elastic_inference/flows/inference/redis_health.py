"""What the pod reports about one of its Redis connections: readiness, and a log line per minute and kind of error.

Called by `intake` (the queue) and `result_sender` (the broker), each with a `RedisHealth` of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from elastic_inference.adapters.redis_connection import REDIS_ERRORS
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle

log = logging.getLogger(__name__)

# Redis is unavailable, or refuses: a missing right, another server's port. Neither is a bug of the pod.
CONTACT_ERRORS: tuple[type[Exception], ...] = (*REDIS_ERRORS, RedisError)


class RedisHealth:
    """The state of one connection, `queue` or `broker`. Not thread-safe."""

    def __init__(self, part: str, lifecycle: Lifecycle, explain: Callable[[Exception], str]) -> None:
        """`explain` turns a Redis error into one line without secrets."""
        self._part = part
        self._lifecycle = lifecycle
        self._explain = explain
        self._throttle = Throttle()

    def works(self) -> None:
        """Records that the last call succeeded."""
        self._lifecycle.set_ready(self._part)

    def failed(self, error: Exception, what: str) -> None:
        """Records that `what` failed. A Redis error is logged in one line, any other error with its traceback."""
        known = isinstance(error, CONTACT_ERRORS)
        text = self._explain(error) if known else f"{what} failed: {error!r}"
        self._lifecycle.set_missing(self._part, text)
        if self._throttle.allow(type(error)):
            log.log(logging.WARNING if known else logging.ERROR, "%s", text, exc_info=None if known else error)
