"""A broker's Redis and a webhook's server for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.webhook_server import WebhookServer


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as running:
        yield running


@pytest.fixture
def client(server: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as made:
        made.flushdb()
        yield made


@pytest.fixture
def hook() -> Iterator[WebhookServer]:
    with WebhookServer() as running:
        yield running
