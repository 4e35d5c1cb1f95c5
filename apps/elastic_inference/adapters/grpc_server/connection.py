"""One client's HTTP/2 connection, and the calls that run on it. asyncio.

Made by `server` for each connection. A client that breaks HTTP/2, floods, falls silent or does not read loses its
connection; a request that breaks gRPC loses its call only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error, ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings

from elastic_inference.adapters.grpc_server.call import (
    MAX_MESSAGE_BYTES,
    PREFIX,
    CallError,
    GrpcStatus,
    Headers,
    Method,
    add_prefix,
    read_headers,
    read_message,
    read_path,
    response_headers,
    trailers,
)
from elastic_inference.adapters.grpc_server.flood_meter import FLOOD_BYTES, FLOOD_FRAMES, FLOOD_S, FloodMeter, Share
from elastic_inference.adapters.grpc_server.frame_guard import FrameGuard
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import ScalerMetrics

log = logging.getLogger(__name__)

# KEDA has two streams for each ScaledObject, and a short call now and then. One address leaves a quarter to others.
MAX_STREAMS = 1024
CALLS_PER_ADDRESS = 768
MAX_HEADER_BYTES = 8 * 1024
# Requests of one connection that are not complete yet, and how long one may take.
MAX_UNFINISHED_BYTES = 256 * 1024
REQUEST_S = 20.0
# Responses that a client may leave unread.
MAX_UNREAD_BYTES = 256 * 1024
# How long a client may take for its first settings, for the answer to a PING, and to make room for a message.
HELLO_S = 10.0
PING_EVERY_S = 20.0
STALL_S = 30.0
_PING = b"ei-alive"
# What a request takes besides its bytes.
_OWN_BYTES = 64


class GrpcConnection(asyncio.Protocol):
    """One connection. `ended` is set when it is closed."""

    def __init__(
        self, methods: Mapping[str, Method], metrics: ScalerMetrics, meter: FloodMeter, released: Callable[[], None]
    ) -> None:
        """`methods` by path. `meter` is that of the client's address. `released` is called once it is closed."""
        self._methods, self._metrics, self._released = methods, metrics, released
        self.ended = asyncio.Event()
        self._http = _http_connection()
        self._guard = FrameGuard()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._requests: dict[int, _Request] = {}
        self._unfinished = 0
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Event()
        self._greeted = False
        self._pinged = False
        self._ending = False
        self._meter, self._share = meter, Share()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a call runs."""
        return bool(self._calls)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio: sends our settings."""
        self._transport = cast(asyncio.Transport, transport)
        self._http.initiate_connection()
        self._flush()
        self._timer = self._loop.call_later(HELLO_S, self._check)

    def connection_lost(self, _error: Exception | None) -> None:
        """Called by asyncio: ends the calls."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls.values():
            call.cancel()
        self._room.set()
        self.ended.set()
        self._released()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: everything that the client sends."""
        if self._ending:
            return
        before = self._guard.frames
        accepted = self._guard.accepts(data)
        if not self._meter.counts(self._share, len(data), self._guard.frames - before, time.monotonic()):
            self._end("flood", ErrorCodes.ENHANCE_YOUR_CALM)
            return
        if not accepted:
            self._end("protocol", ErrorCodes.FRAME_SIZE_ERROR)
            return
        try:
            for event in self._http.receive_data(data):
                self._take(event)
        except ProtocolError as error:
            log.debug("a client broke HTTP/2: %s", error)
            self._end("protocol")
            return
        self._flush()

    def close(self) -> None:
        """Tells the client that the server goes, and closes. Calls that still run are cut off."""
        with suppress(H2Error):
            self._http.close_connection()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived():
                headers = read_headers(cast(Headers, event.headers or []))
                self._requests[_number(event)] = request = _Request(headers, time.monotonic())
                self._add(_number(event), request, _OWN_BYTES + sum(map(len, headers.values())))
            case DataReceived():
                self._take_data(event)
            case StreamEnded():
                complete = self._take_request(_number(event))
                if complete is not None:
                    self._start(_number(event), complete)
            case StreamReset():
                self._take_request(_number(event))
                if call := self._calls.get(_number(event)):
                    call.cancel()
            case RemoteSettingsChanged():
                self._greeted = True
                self._room.set()
            case WindowUpdated():
                self._room.set()
            case PingAckReceived():
                self._pinged = False
            case ConnectionTerminated():
                if self._transport is not None:
                    self._transport.close()
            case _:
                pass

    def _take_data(self, event: DataReceived) -> None:
        number = _number(event)
        # On a stream that has ended meanwhile, h2 has given the room back itself.
        with suppress(StreamClosedError):
            self._http.acknowledge_received_data(event.flow_controlled_length or 0, number)
        request = self._requests.get(number)
        if request is None:
            return
        request.data += event.data or b""
        if len(request.data) > PREFIX.size + MAX_MESSAGE_BYTES:
            self._give_up(
                number, GrpcStatus.RESOURCE_EXHAUSTED, f"expected a request of at most {MAX_MESSAGE_BYTES} bytes"
            )
        else:
            self._add(number, request, len(event.data or b""))

    def _add(self, number: int, request: _Request, size: int) -> None:
        """Counts what has come of a request. Many that never end would fill the memory."""
        request.size += size
        self._unfinished += size
        if self._unfinished > MAX_UNFINISHED_BYTES:
            self._give_up(number, GrpcStatus.RESOURCE_EXHAUSTED, "expected fewer requests that are not complete")

    def _take_request(self, number: int) -> _Request | None:
        """Removes a request that is not complete yet, or has just become so."""
        request = self._requests.pop(number, None)
        if request is not None:
            self._unfinished -= request.size
        return request

    def _give_up(self, number: int, status: GrpcStatus, text: str) -> None:
        self._take_request(number)
        self._finish(number, status, text, method="other")
        with suppress(H2Error):
            self._http.reset_stream(number)

    def _start(self, number: int, request: _Request) -> None:
        if self._meter.calls >= CALLS_PER_ADDRESS:
            text = f"expected at most {CALLS_PER_ADDRESS} calls of one address at a time"
            self._finish(number, GrpcStatus.RESOURCE_EXHAUSTED, text, method="other")
            return
        self._meter.calls += 1
        call = self._loop.create_task(self._call(number, request))
        self._calls[number] = call

        def ended(task: asyncio.Task[None]) -> None:
            self._calls.pop(number, None)
            self._meter.calls -= 1
            if not task.cancelled() and (error := task.exception()):
                log.error("a call failed", exc_info=error)

        call.add_done_callback(ended)

    async def _call(self, number: int, request: _Request) -> None:
        began, name, status, text = False, "other", GrpcStatus.OK, ""
        try:
            path = read_path(request.headers)
            method = self._methods.get(path)
            if method is None:
                raise CallError(GrpcStatus.UNIMPLEMENTED, f"expected one of the methods {', '.join(self._methods)}")
            name = path.rpartition("/")[2]
            async with aclosing(method(read_message(bytes(request.data)))) as messages:
                async for message in messages:
                    if not began:
                        began = True
                        self._http.send_headers(number, response_headers())
                    await self._send(number, add_prefix(message))
        except asyncio.CancelledError:
            self._metrics.count(name, GrpcStatus.CANCELLED.name)
            raise
        except CallError as error:
            status, text = error.status, str(error)
        except H2Error:
            status = GrpcStatus.CANCELLED  # the client has left
        except Exception as error:
            if note := _throttle.note(type(error)):
                log.exception("the call %s failed %s", name, note)
            status, text = GrpcStatus.INTERNAL, "the server failed, its log says why"
        self._finish(number, status, text, method=name, began=began)

    async def _send(self, number: int, data: bytes) -> None:
        """Sends one message once the client has room for it."""
        while self._http.local_flow_control_window(number) < len(data):
            self._room.clear()
            self._flush()
            try:
                async with asyncio.timeout(STALL_S):
                    await self._room.wait()
            except TimeoutError:
                self._end("slow")
                raise CallError(GrpcStatus.CANCELLED, "the client reads nothing") from None
        self._http.send_data(number, data)
        self._flush()

    def _finish(self, number: int, status: GrpcStatus, text: str, *, method: str, began: bool = False) -> None:
        self._metrics.count(method, status.name)
        headers = [*([] if began else response_headers()), *trailers(status, text)]
        with suppress(H2Error):  # the client has left
            self._http.send_headers(number, headers, end_stream=True)
        self._flush()

    def _check(self) -> None:
        """Every PING_EVERY_S: ends a connection whose client has not answered since, and requests that do not end."""
        if not self._greeted or self._pinged:
            self._end("silent")
            return
        late = time.monotonic() - REQUEST_S
        for number in [number for number, request in self._requests.items() if request.began_s < late]:
            self._give_up(number, GrpcStatus.DEADLINE_EXCEEDED, "the request has not ended in time")
        self._pinged = True
        with suppress(H2Error):
            self._http.ping(_PING)
        self._flush()
        self._timer = self._loop.call_later(PING_EVERY_S, self._check)

    def _end(self, reason: str, code: ErrorCodes | None = None) -> None:
        """Closes the connection of a client that breaks a rule. Without a `code`, h2 has written its last words."""
        if self._ending or self._transport is None or self._transport.is_closing():
            return
        self._ending = True
        self._metrics.closed[reason].inc()
        if note := _throttle.note(reason):
            address = self._transport.get_extra_info("peername") or ("?",)
            log.warning("closed the connection of %s: %s %s", address[0], _REASONS[reason], note)
        if code is not None:
            with suppress(H2Error):
                self._http.close_connection(code)
        self._flush()
        if reason in ("silent", "slow"):
            self._transport.abort()  # it would wait for a client that reads nothing
        else:
            self._transport.close()

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if data := self._http.data_to_send():
            self._transport.write(data)
            if self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
                self._end("slow")


class _Request:
    """A request that is not complete yet. `size` is what it takes."""

    __slots__ = ("began_s", "data", "headers", "size")

    def __init__(self, headers: Mapping[bytes, bytes], began_s: float) -> None:
        self.headers, self.began_s = headers, began_s
        self.data = bytearray()
        self.size = 0


_REASONS = {
    "protocol": "it does not speak HTTP/2, or its frames are too large",
    "flood": f"its address sent more than {FLOOD_BYTES >> 20} MiB or {FLOOD_FRAMES} frames within {FLOOD_S:.0f} s",
    "silent": "it did not answer",
    "slow": "it does not read our responses",
}
_throttle = Throttle()


def _http_connection() -> H2Connection:
    """The server's side of HTTP/2, with our limits."""
    http = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    http.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
        },
    )
    http.decoder.max_header_list_size = MAX_HEADER_BYTES
    return http


def _number(event: Any) -> int:
    """The number of an event's stream."""
    return int(event.stream_id or 0)
