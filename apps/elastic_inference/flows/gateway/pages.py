"""The handlers outside `/api`: the dashboard's files and the websocket tunnel.

Registered by `application`. Anyone may read the files, since the login page is one of them; the tunnel needs a login.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from urllib.parse import unquote

from tornado.iostream import IOStream, StreamClosedError

from elastic_inference.domain import keys
from elastic_inference.flows.gateway.assets import Asset, accepts_gzip
from elastic_inference.flows.gateway.client_streams import ClientStream, TlsClientStream
from elastic_inference.flows.gateway.handlers import ApiError, BaseHandler
from elastic_inference.flows.gateway.snapshot_client import HOST_OF_REQUESTS
from elastic_inference.flows.gateway.tunnel import (
    SocketTunnel,
    UpstreamError,
    open_upstream,
    tunnel_streams,
)

log = logging.getLogger(__name__)

# Headers that the websocket server needs. The gateway does not pass on logins, and checks the origin itself.
FORWARDED_HEADERS = (
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
    "User-Agent",
)
_MAX_EARLY_BYTES = 64 * 1024
NO_DASHBOARD = """Elastic Inference: the dashboard is not built.

Build it with "make dashboard" (Node.js 20 or newer), or set DASHBOARD_DIR to the folder of a built one.
Everything else is served: REST at /api/streams (described at /api/openapi.json), and live video by websocket at
/<stream id>.
"""


class PageHandler(BaseHandler):
    """The dashboard's files. Without a built dashboard, `/` says how to build one."""

    needs_login = False
    _etag: str | None = None

    async def get(self) -> None:
        """Responds with a file, or with the page for one of its routes."""
        if self.request.headers.get("Upgrade", "").lower() == "websocket":
            raise ApiError(404, "Expected the path /<name>:<type>:inferred for a websocket.")
        try:
            path = unquote(self._own_path(), errors="strict")
        except UnicodeDecodeError:
            raise ApiError(400, "The path is not valid UTF-8.") from None
        asset = self.gateway.assets.find(path)
        if asset is None:
            if path == "/":
                self.set_header("Content-Type", "text/plain; charset=utf-8")
                self.finish(NO_DASHBOARD)
                return
            raise ApiError(404, f"There is nothing at {path[:200]}.")
        self.set_header("Content-Type", asset.content_type)
        self.set_header("Cache-Control", "public, max-age=31536000, immutable" if asset.immutable else "no-cache")
        self._etag = asset.etag
        body = asset.body
        if asset.content_type.startswith("text/html"):
            await self._send_page(asset)
            return
        if asset.compressed is not None:
            self.set_header("Vary", "Accept-Encoding")
            if accepts_gzip(self.request.headers.get("Accept-Encoding", "")):
                self.set_header("Content-Encoding", "gzip")
                self._etag = asset.etag[:-1] + '-gzip"'
                body = asset.compressed
        await self.send(body)

    head = get

    def _own_path(self) -> str:
        """The path without the base path, whether the proxy strips it or not."""
        base, path = self.gateway.base_path, self.request.path
        if base and (path == base or path.startswith(f"{base}/")):
            return path[len(base) :] or "/"
        return path

    async def _send_page(self, page: Asset) -> None:
        """Responds with the page. Its relative addresses (`"./`) must lead to the gateway's root from any route.

        Without a known prefix, the path's depth is enough: a proxy that strips a prefix keeps the rest.
        """
        root = f"{self.prefix}/" if self.prefix else "../" * (self._own_path().count("/") - 1) or "./"
        self._etag = f'{page.etag[:-1]}-{len(root)}{self.prefix}"'
        await self.send(page.body.replace(b'"./', b'"' + root.encode()))

    def compute_etag(self) -> str | None:
        """The file's tag; Tornado answers 304 if the client has it."""
        return self._etag


class TunnelHandler(BaseHandler):
    """`/<stream id>` as a websocket."""

    async def get(self, stream_id: str) -> None:
        """Connects the client to the websocket server; returns when either side has closed."""
        if keys.split_stream_id(stream_id) is None:
            raise ApiError(404, f"{stream_id[:300]!r} is not a stream's id.")
        headers = self.request.headers
        if headers.get("Upgrade", "").lower() != "websocket" or "upgrade" not in headers.get("Connection", "").lower():
            self.set_header("Upgrade", "websocket")
            raise ApiError(426, "This is a websocket: open it with ws:// or wss://.")
        if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
            raise ApiError(400, "An upgrade to a websocket has no body.")
        self.check_origin()
        gateway = self.gateway
        # A client that may not see a camera gets the same response as for a camera that does not exist.
        visible = self.access.sees_stream(stream_id)
        self._stream_id, self._visible = stream_id, visible
        if not visible:
            stream_id = keys.stream_id(f"none-{secrets.token_hex(16)}", "none")
        if not gateway.tunnel_places.take(self.access):
            raise ApiError(429, "Too many viewers: try again later.", 10)
        try:
            await self._tunnel(stream_id)
        finally:
            gateway.tunnel_places.give_back(self.access)

    async def _tunnel(self, stream_id: str) -> None:
        gateway = self.gateway
        try:
            upstream, answer = await open_upstream(*gateway.upstream, self._head(stream_id))
        except UpstreamError as error:
            if note := gateway.throttle.note("upstream"):
                log.warning("%s %s", error, note)
            if error.own:
                raise ApiError(503, "The gateway is out of files: try again in a moment.", 2) from None
            # A server that closes one connection may have refused this request; others can still reach it.
            if not error.closed:
                gateway.state.note_tunnel(False)
            raise ApiError(502, "The websocket server is unreachable; live video is unavailable.", 2) from None
        gateway.state.note_tunnel(True)
        stream = self.detach()
        gateway.busy -= 1
        try:
            gateway.metrics.requests[f"{answer[9:10].decode(errors='replace')}xx"].inc()
        except KeyError:
            log.warning("the websocket server's answer is not HTTP: %r", answer[:40])
        try:
            # Nobody else closes the two connections from here on.
            if isinstance(stream, TlsClientStream):
                await self._join_streams(stream, answer, upstream)
            elif isinstance(stream, ClientStream):
                await self._join_sockets(stream, answer, upstream)
        except (OSError, StreamClosedError) as error:
            if gateway.throttle.allow("tunnel"):
                log.info("a tunnel ended: %s (logged once a minute)", error)
        finally:
            upstream.close()
            stream.close()

    async def _join_sockets(self, stream: ClientStream, answer: bytes, upstream: socket.socket) -> None:
        early = _read_early(stream)
        client = stream.socket.dup()
        client.setblocking(False)
        # The tunnel keeps the connection, and with it its place in the table.
        place, stream.place = stream.place, None
        stream.close()
        tunnel = SocketTunnel(client, upstream, self.gateway.writes)
        self._add(tunnel.close)
        try:
            tunnel.start(answer, early)
            await tunnel.done.wait()
        finally:
            tunnel.close()
            self._remove(tunnel.close)
            if place is not None:
                place.release()

    async def _join_streams(self, stream: TlsClientStream, answer: bytes, upstream: socket.socket) -> None:
        stream.source = upstream
        stall_s = self.gateway.writes.limit_s
        task = asyncio.create_task(tunnel_streams(stream, upstream, answer, StreamClosedError, stall_s))
        self._add(task.cancel)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            self._remove(task.cancel)

    def _may_stay(self) -> bool:
        """Whether the token still allows what it allowed when the tunnel was opened."""
        access = self.gateway.auth.current(self.access)
        return access is not None and access.sees_stream(self._stream_id) is self._visible

    def _add(self, close: Callable[[], object]) -> None:
        self.gateway.connections.add(close, self._may_stay)
        self.gateway.tunnels.add(close)
        self.gateway.metrics.tunnels.set(len(self.gateway.tunnels))

    def _remove(self, close: Callable[[], object]) -> None:
        self.gateway.connections.remove(close)
        self.gateway.tunnels.discard(close)
        self.gateway.metrics.tunnels.set(len(self.gateway.tunnels))

    def _head(self, stream_id: str) -> bytes:
        """The request's head for the websocket server."""
        # Tornado reads bytes as Latin-1. The websocket server refuses a byte over 127 in the path.
        query = "".join(each if ord(each) < 128 else f"%{ord(each):02X}" for each in self.request.query)
        target = f"/{stream_id}" + (f"?{query}" if query else "")
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {HOST_OF_REQUESTS}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"X-Forwarded-For: {self.client.address}",
        ]
        for name in FORWARDED_HEADERS:
            lines += [f"{name}: {value}" for value in self.request.headers.get_list(name)]
        head = "\r\n".join(lines)
        if any(ord(character) < 32 and character not in "\r\n\t" for character in head):
            raise ApiError(400, "The request contains control characters.")
        return head.encode("latin-1", "replace") + b"\r\n\r\n"


def _read_early(stream: IOStream) -> bytes:
    """Returns the bytes that Tornado has read beyond the request's head. After that, only close the stream."""
    early = b""
    while len(early) <= _MAX_EARLY_BYTES:
        read = asyncio.ensure_future(stream.read_bytes(_MAX_EARLY_BYTES, partial=True))
        if not read.done():
            # Closing the stream ends this read, and nobody awaits it.
            read.add_done_callback(lambda ended: ended.exception())
            return early
        early += read.result()
    raise StreamClosedError  # no client sends this much before the websocket is open
