"""The newest frame of a stream with its boxes drawn, fetched from the websocket server.

Called by the snapshot handler. Requests for a stream share one answer. The websocket server takes a limited number of
snapshots at once; no login gets more than half of them.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse

from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.flows.gateway.access import Access
from elastic_inference.flows.gateway.login_places import LoginQueues

# The websocket server waits 3 s for a frame, then draws it.
CONNECT_LIMIT_S = 3.0
ANSWER_LIMIT_S = 8.0
# As many as the websocket server takes at once; more have to wait here.
MAX_AT_ONCE = 16
WAIT_LIMIT_S = 8.0
MAX_BYTES = 64 * 1024 * 1024
# The websocket server refuses unknown host names, and the gateway may know it by any name.
HOST_OF_REQUESTS = "localhost"
_STATUSES = {404, 429, 504}


class NoSnapshotError(ElasticInferenceError):
    """There is no snapshot; `status` is the HTTP status, the message is for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class SnapshotClient:
    """Fetches snapshots. One per gateway; for one event loop, not thread-safe."""

    def __init__(self, host: str, port: int) -> None:
        """`host` and `port` are those of the websocket server."""
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._made: AsyncHTTPClient | None = None
        self._queues = LoginQueues(MAX_AT_ONCE)
        self._under_way: dict[str, asyncio.Task[bytes]] = {}

    @property
    def _client(self) -> AsyncHTTPClient:
        """Made for the first snapshot, since it loads more of Tornado."""
        if self._made is None:
            self._made = AsyncHTTPClient(
                force_instance=True, max_clients=MAX_AT_ONCE, max_body_size=MAX_BYTES, max_buffer_size=MAX_BYTES
            )
        return self._made

    async def take(self, stream_id: str, access: Access) -> bytes:
        """A JPEG, at most half a second old. Raises NoSnapshotError: 404, 429, 503 or 504."""
        if stream_id in self._under_way:
            return await self._shared(stream_id)
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(WAIT_LIMIT_S):
                    await held.enter_async_context(self._queues.place(access))
            except TimeoutError:
                raise NoSnapshotError(429, "Too many snapshots are being taken: try again in a moment.") from None
            return await self._shared(stream_id)

    async def _shared(self, stream_id: str) -> bytes:
        task = self._under_way.get(stream_id)
        if task is None:
            task = asyncio.create_task(self._fetch(stream_id))
            self._under_way[stream_id] = task
            task.add_done_callback(lambda _: self._under_way.pop(stream_id))
        return await asyncio.shield(task)

    async def _fetch(self, stream_id: str) -> bytes:
        url = f"http://{self._address}/{quote(stream_id)}/snapshot.jpg"
        try:
            answer: HTTPResponse = await self._client.fetch(
                url,
                headers={"Host": HOST_OF_REQUESTS},
                raise_error=False,
                connect_timeout=CONNECT_LIMIT_S,
                request_timeout=ANSWER_LIMIT_S,
                follow_redirects=False,
                decompress_response=False,
            )
        except (HTTPClientError, OSError, UnicodeError):
            raise NoSnapshotError(503, "The websocket server is unreachable: try again in a moment.") from None
        if answer.code == 200:
            return answer.body
        words = answer.body.decode(errors="replace").strip()[:500]
        raise NoSnapshotError(answer.code if answer.code in _STATUSES else 503, words)

    def close(self) -> None:
        """Cancels the requests in progress."""
        for task in self._under_way.values():
            task.cancel()
        if self._made is not None:
            self._made.close()
