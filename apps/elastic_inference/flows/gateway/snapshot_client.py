"""The newest frame of a stream with its boxes drawn, fetched from the websocket server.

Called by the snapshot handler. The websocket server shares and bounds snapshots; this is its HTTP client.
"""

from __future__ import annotations

from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse

from elastic_inference.domain.errors import ElasticInferenceError

# The websocket server waits 3 s for a frame, then draws it.
CONNECT_LIMIT_S = 3.0
ANSWER_LIMIT_S = 8.0
MAX_CONNECTIONS = 64
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
        self._client = AsyncHTTPClient(
            force_instance=True, max_clients=MAX_CONNECTIONS, max_body_size=MAX_BYTES, max_buffer_size=MAX_BYTES
        )

    async def take(self, stream_id: str) -> bytes:
        """A JPEG, at most half a second old. Raises NoSnapshotError: 404, 429, 503 or 504."""
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
        self._client.close()
