"""A single server and one in cluster mode: all queue tests run on the first, the properties on both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.queue_bench import QueueBench
from tests.support.redis_servers import cluster


@pytest.fixture(scope="package")
def cluster_server() -> Iterator[EmbeddedValkey]:
    """One server that owns all slots of a cluster."""
    with cluster(1) as (server,):
        yield server


@pytest.fixture
def bench(valkey: EmbeddedValkey) -> Iterator[QueueBench]:
    """An empty queue of type `people`, with its scripts loaded."""
    with QueueBench(valkey) as found:
        yield found
