"""Draws one stream's newest frame in a worker thread, once for all viewers that want it drawn.

Owned by a `watched_stream`. While a frame is being drawn, only the newest of those that arrive is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor

from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.base.log import Throttle
from elastic_inference.domain.errors import InvalidFrameError, InvalidResultError
from elastic_inference.domain.result_message import split_message

log = logging.getLogger(__name__)

_SAID = Throttle()


class Painter:
    """Draws in worker threads, which share a budget of memory. One per server, for frames and snapshots."""

    def __init__(self, executor: Executor, budget: ByteBudget) -> None:
        self._executor = executor
        self._budget = budget

    async def draw(self, message: bytes) -> bytes:
        """The JPEG of a result message with its boxes. Raises InvalidResultError or InvalidFrameError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _draw_message, message, self._budget)


class DrawnFrames:
    """The drawn frames of one stream. For one event loop; `on_jpeg` and `on_invalid` are called on it."""

    def __init__(
        self, painter: Painter, on_jpeg: Callable[[bytes], None], on_invalid: Callable[[Exception], None]
    ) -> None:
        self._painter = painter
        self._on_jpeg = on_jpeg
        self._on_invalid = on_invalid
        self._newest: bytes | None = None
        self._task: asyncio.Task[None] | None = None

    def draw(self, message: bytes) -> bool:
        """Draws a result message as soon as the previous one is done; True if it replaces one that waited."""
        replaced = self._newest is not None
        self._newest = message
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return replaced

    def close(self) -> None:
        """Stops drawing."""
        self._newest = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        try:
            while self._newest is not None:
                message, self._newest = self._newest, None
                try:
                    jpeg = await self._painter.draw(message)
                except (InvalidResultError, InvalidFrameError) as error:
                    self._on_invalid(error)
                else:
                    self._on_jpeg(jpeg)
        except Exception as error:
            if note := _SAID.note(type(error)):
                log.exception("drawing a frame failed %s", note)
            self._on_invalid(error)
        finally:
            self._task = None


def _draw_message(message: bytes, budget: ByteBudget) -> bytes:
    # Loaded for the first viewer that wants this.
    from elastic_inference.adapters.drawing import draw_result  # noqa: PLC0415
    from elastic_inference.domain.result import parse_result  # noqa: PLC0415

    document, jpeg = split_message(message)
    return draw_result(parse_result(document), jpeg, budget=budget)
