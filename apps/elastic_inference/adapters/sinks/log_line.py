"""The sink that writes a log line for each event, for a first try."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from elastic_inference.adapters.sinks.base import Item, PlainSink
from elastic_inference.domain.sink_spec import LogSink

log = logging.getLogger(__name__)


class LogLine(PlainSink):
    """Accepts every event."""

    max_batch = 100

    def __init__(self, spec: LogSink) -> None:
        self._name = spec.name

    def deliver(self, items: Sequence[Item]) -> None:
        """Writes the lines."""
        for item in items:
            log.info("sink %s: %s", self._name, item.document.decode("utf-8", "replace"))
