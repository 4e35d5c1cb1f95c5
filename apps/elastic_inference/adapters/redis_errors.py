"""The exceptions that mean Redis is unavailable. Called by all code that talks to Redis."""

from __future__ import annotations

from redis.exceptions import AskError, ClusterDownError, ConnectionError, ReadOnlyError, TimeoutError, TryAgainError

REDIS_ERRORS: tuple[type[Exception], ...] = (
    ConnectionError,  # refused, reset, still loading, no master known, login refused
    TimeoutError,
    OSError,
    ReadOnlyError,
    ClusterDownError,  # also MASTERDOWN
    AskError,  # also MOVED: the slot has moved, the next connection asks again
    TryAgainError,
)
