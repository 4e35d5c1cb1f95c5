"""What a client is told when Redis refuses a change or does not answer. Used by the handlers and their parts."""

from __future__ import annotations

from redis.exceptions import OutOfMemoryError

FULL = "Redis has no memory left and refuses changes: see the alert RedisMemoryHigh, and try again later."


def words_of(error: Exception, otherwise: str) -> str:
    """The sentence about an error of Redis: a full server is not an unavailable one, for which `otherwise` stands."""
    return FULL if isinstance(error, OutOfMemoryError) else otherwise
