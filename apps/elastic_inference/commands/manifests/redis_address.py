"""Hosts and ports in a Redis URL. Pure; called by the options and for KEDA's triggers."""

from __future__ import annotations

from elastic_inference.base.redis_url import REDIS_PORT, RedisUrl, parse_redis_url
from elastic_inference.commands.manifests.errors import ManifestError


def parse(url: str) -> RedisUrl:
    """The parsed URL. Raises ManifestError if it is invalid."""
    try:
        return parse_redis_url(url)
    except ValueError as error:
        raise ManifestError(f"{url}: {error}") from None


def addresses(url: str) -> list[str]:
    """`host:port` of each server in the URL, sentinels for `+sentinel`; empty for an empty URL."""
    return parse(url).addresses if url else []


def ports(url: str) -> list[str]:
    """The ports of those servers, and behind sentinels the master's usual port, which the URL does not contain."""
    if not url:
        return []
    parsed = parse(url)
    found = [str(port) for _, port in parsed.hosts]
    return list(dict.fromkeys([*found, str(REDIS_PORT)] if parsed.is_sentinel else found))
