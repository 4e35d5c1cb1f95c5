"""The one connection for pipelines: what it raises before there is a connection."""

from __future__ import annotations

import pytest
import redis

from elastic_inference.adapters.redis_pipeline import PipelineConnection


def test_a_host_that_is_no_name_is_a_redis_that_is_away() -> None:
    # Looked up as a name, the empty part is a UnicodeError.
    link = PipelineConnection(redis.Redis(host="192.168..1.5"))
    for _ in range(2):
        with pytest.raises(redis.ConnectionError, match="the host's name is not a valid one"):
            link.exchange([("PING",)])
    link.close()
