"""A service's asynchronous part in the test's own process, on a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry

from elastic_inference.base.lifecycle import Lifecycle
from tests.support.waiting import wait_for


class Threaded:
    """Something asynchronous that starts, has a port, and ends with its lifecycle."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self.lifecycle = Lifecycle(service)
        self.port = 0
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=service)

    async def main(self, on_port: Callable[[int], None]) -> None:
        """Until the lifecycle stops."""
        raise NotImplementedError

    def _run(self) -> None:
        def take(port: int) -> None:
            self.port = port

        try:
            asyncio.run(self.main(take))
        except BaseException as error:  # noqa: BLE001  raised again by __exit__
            self._failed = error

    def __enter__(self) -> Any:
        self._thread.start()
        wait_for(lambda: self.port or self._failed, what="the port")
        if self._failed:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self.lifecycle.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self._failed is not None:
            raise self._failed

    def metric(self, name: str, **labels: str) -> float | None:
        """A sample's value, None when there is none."""
        return self.registry.get_sample_value(name, labels)
