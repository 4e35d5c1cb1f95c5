"""A broker's Redis of its own for a test that kills, freezes or empties it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey


@pytest.fixture
def server() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def broker(server: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as client:
        yield client
