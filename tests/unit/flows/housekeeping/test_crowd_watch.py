"""The looks at crowds of streams: the log names a crowd once a minute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

import pytest

from elastic_inference.adapters.frame_queue.crowd_control import Crowd
from elastic_inference.flows.housekeeping.crowd_watch import CrowdWatch


class Looks:
    """Finds the same crowd three times; the last look stops the watch."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.pause_s = 0.0
        self.seen: list[Sequence[str]] = []

    async def look(self, types: Sequence[str]) -> list[Crowd]:
        self.seen.append(types)
        if len(self.seen) == 3:
            self.stop.set()
        return [Crowd("people", "yard", 7)]


async def test_a_crowd_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    looks = Looks()
    with caplog.at_level(logging.WARNING):
        await CrowdWatch(cast(Any, looks), lambda: ("people",)).run(looks.stop)
    assert looks.seen == [("people",)] * 3
    (record,) = caplog.records
    assert "type people has more than 64 streams whose names begin with 'yard'" in record.getMessage()
