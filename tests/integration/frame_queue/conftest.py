"""A plain server and one in cluster mode; every queue test runs on the first, the properties on both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from elastic_inference.embedded_valkey import EmbeddedValkey
from support.queue_bench import QueueBench
from support.waiting import wait_for


@pytest.fixture(scope="package")
def cluster_server() -> Iterator[EmbeddedValkey]:
    """One server that is a whole cluster: all slots are its own."""
    with EmbeddedValkey(options=("--cluster-enabled", "yes")) as server:
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_for(lambda: b"cluster_state:ok" in _cluster_info(client), 15, "the cluster's state ok")
        yield server


def _cluster_info(client: redis.Redis) -> bytes:
    text = client.execute_command("CLUSTER INFO")
    return text if isinstance(text, bytes) else b" ".join(f"{key}:{value}".encode() for key, value in text.items())


@pytest.fixture
def bench(valkey: EmbeddedValkey) -> Iterator[QueueBench]:
    """An empty queue of type `people` with its scripts loaded."""
    with QueueBench(valkey) as found:
        yield found
