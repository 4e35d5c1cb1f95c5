"""A gateway in this process that notices new inference types soon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.gateway import RunningGateway


@pytest.fixture(autouse=True)
def quick_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks for new types often. The default interval is as long as a type lives in Redis."""
    monkeypatch.setattr("elastic_inference.adapters.frame_queue.reader.TYPES_EVERY_S", 0.3)


@pytest.fixture
def gateway(valkey: EmbeddedValkey) -> Iterator[RunningGateway]:
    with RunningGateway(valkey.url) as running:
        yield running
