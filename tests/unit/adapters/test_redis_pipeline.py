"""The one connection for pipelines: what it raises before there is a connection."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace

import pytest
import redis

from elastic_inference.adapters.redis_pipeline import PipelineConnection


def test_a_host_that_is_not_a_name_is_an_unavailable_redis() -> None:
    # Looked up as a name, the empty part is a UnicodeError.
    link = PipelineConnection(redis.Redis(host="192.168..1.5"))
    for _ in range(2):
        with pytest.raises(redis.ConnectionError, match="the host's name is invalid"):
            link.exchange([("PING",)])
    link.close()


def test_a_reply_that_is_not_from_redis_makes_redis_unavailable() -> None:
    near, far = socket.socketpair()
    with near, far:
        link = PipelineConnection(redis.Redis())
        link._connection = SimpleNamespace(_sock=near, disconnect=near.close)
        link._used_at = time.monotonic()
        # A map whose key is a map, for which hiredis raises a TypeError.
        far.sendall(b"%1\r\n%0\r\n+x\r\n")
        with pytest.raises(redis.ConnectionError, match="not Redis' protocol"):
            link.exchange([("PING",)])
