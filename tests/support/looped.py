"""A server of the tests on a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import Self


class Looped:
    """Runs `_serve` while the `with` block lasts."""

    def __init__(self) -> None:
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._listen())
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        self._stop = asyncio.Event()
        await self._serve()

    async def _serve(self) -> None:
        """Calls `_until_stopped` with the listener, then ends what it started."""
        raise NotImplementedError

    async def _until_stopped(self, listener: asyncio.Server) -> None:
        """Takes connections until the `with` block ends."""
        self.port = listener.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        listener.close()
