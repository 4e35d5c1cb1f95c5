"""Hosts and ports in a Redis URL. Pure; called by the options and for KEDA's triggers."""

from __future__ import annotations

import re

REDIS_PORT = "6379"
SENTINEL_PORT = "26379"
_PORT = re.compile(r":(\d+)$")


def addresses(url: str) -> list[str]:
    """`host:port` of each server that the URL names, sentinels for `+sentinel`; empty for an empty URL."""
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2]
    default = SENTINEL_PORT if scheme.endswith("+sentinel") else REDIS_PORT
    hosts = [each for each in authority.split(",") if each]
    return [each if _PORT.search(each) else f"{each}:{default}" for each in hosts]


def ports(url: str) -> list[str]:
    """The ports of those servers, and behind sentinels the master's usual one, which the URL does not name."""
    found = [each.rpartition(":")[2] for each in addresses(url)]
    return list(dict.fromkeys([*found, REDIS_PORT] if "+sentinel://" in url else found))
