"""Bounds what the API server may send and how long it may take, since lightkube reads an answer as a whole.

Used by `kubernetes_store`, for every request of its client.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx2

# From the request to the end of the answer; lightkube's own limit of 10 s is for each piece of it.
ANSWER_S = 15.0
MAX_ANSWER_BYTES = 32 << 20
# How long the server keeps a watch open. It cannot say that nothing has changed, so a silent one ends a little later.
WATCH_S, WATCH_SPARE_S = 240, 20.0
# One event: an object, of which the API server stores at most 1.5 MB.
MAX_EVENT_BYTES = 8 << 20
# If the server ends each watch at once, the next one waits: lightkube itself asks again without a pause.
WATCH_EVERY_S = 1.0


class ApiAnswerError(httpx2.TransportError):
    """The API server's answer is not accepted; the text says why, after `The API server`."""


class AnswerTooLargeError(ApiAnswerError):
    """An answer, or one event of a watch, has more bytes than allowed."""


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Passes requests on to another transport."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport
        self._watch_at = float("-inf")

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Called by httpx2. Raises its TransportError."""
        watches = request.url.params.get("watch") == "true"
        if watches:
            await asyncio.sleep(max(0.0, self._watch_at - time.monotonic()))
            self._watch_at = time.monotonic() + WATCH_EVERY_S
        # A few compressed kilobytes could become gigabytes.
        request.headers["Accept-Encoding"] = "identity"
        until = asyncio.get_running_loop().time() + (WATCH_S + WATCH_SPARE_S if watches else ANSWER_S)
        try:
            async with asyncio.timeout_at(until):
                response = await self._transport.handle_async_request(request)
        except TimeoutError:
            raise _late(watches) from None
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            await response.aclose()
            raise ApiAnswerError("compresses its answer although nobody asked for that")
        response.stream = _BoundedStream(response.stream, until, watches)
        return response

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._transport.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    """The body of one answer."""

    def __init__(self, stream: object, until: float, watches: bool) -> None:
        assert isinstance(stream, httpx2.AsyncByteStream)  # noqa: S101  an asynchronous transport has no others
        self._stream, self._until, self._watches = stream, until, watches
        self._count = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._stream)
        while True:
            try:
                async with asyncio.timeout_at(self._until):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise _late(self._watches) from None
            self._note(piece)
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _note(self, piece: bytes) -> None:
        end = piece.rfind(b"\n") if self._watches else -1
        self._count = self._count + len(piece) if end < 0 else len(piece) - end - 1
        most = MAX_EVENT_BYTES if self._watches else MAX_ANSWER_BYTES
        if self._count > most:
            raise AnswerTooLargeError(f"sends more than {most >> 20} MB at once")


def _late(watches: bool) -> httpx2.TransportError:
    """The error for an answer that has not ended in time. A watch then begins again."""
    if watches:
        return httpx2.ReadTimeout("the watch was silent")
    return ApiAnswerError(f"has not ended its answer within {ANSWER_S:.0f} s")
