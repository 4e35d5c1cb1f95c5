"""One viewer's websocket: the library's connection with a slot for the newest frame instead of a queue.

Made by the server for every TCP connection, fed by `watched_stream`. A frame goes straight to the transport, which
says when the socket takes no more (`pause_writing`); from then on only the newest frame is kept. The kernel's own
queue is kept short too (`TCP_NOTSENT_LOWAT`), and what lies unread at the viewer's end is bounded by `pace`; else a
slow viewer would see pictures of seconds ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from enum import Enum, auto

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

from elastic_inference.flows.relay.request import ViewerRequest
from elastic_inference.flows.relay.viewer_pacing import Pace

# Bytes that wait in the kernel unsent before it takes no more: about one frame. Measured: a viewer that reads 10 of
# 30 frames a second is 0.3 s behind with it and 7 s without.
NOTSENT_LOWAT_BYTES = 64 * 1024
_TCP_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
# Linux' number, for a Python that was built without the name.
_LINUX_TCP_NOTSENT_LOWAT = 25
# Final frame, opcode ping, eight bytes: what `pace` asks for.
_PING_HEAD = b"\x89\x08"
# Its answer: final frame, opcode pong, masked, eight bytes.
_PONG_HEAD = b"\x8a\x88"
_PONG_BYTES = 14


class Offer(Enum):
    """What became of a frame that was offered to a viewer."""

    SENT = auto()
    KEPT = auto()
    REPLACED = auto()
    GONE = auto()


def _nothing(_count: int) -> None:
    """Until the hub wants to know."""


class Viewer(ServerConnection):
    """A websocket that shows one stream. One event loop; `wanted` is set by the handshake."""

    wanted: ViewerRequest
    on_sent_later: Callable[[int], None] = staticmethod(_nothing)
    # Open connections of the server at most, handshakes in progress included; more are dropped.
    max_connections: int | None = None
    _slot: bytes | None = None
    _paused_since_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bounds what the kernel and asyncio queue."""
        super().connection_made(transport)
        self._pace = Pace()
        if self.max_connections is not None and len(self.server.handler_tasks) > self.max_connections:
            self.transport.abort()
            return
        # 0: writing pauses as soon as the socket did not take a frame whole, and goes on when all of it is gone.
        self.transport.set_write_buffer_limits(high=0)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):  # a kernel without the option still gets the slot
                option = _LINUX_TCP_NOTSENT_LOWAT if _TCP_NOTSENT_LOWAT is None else _TCP_NOTSENT_LOWAT
                connection.setsockopt(socket.IPPROTO_TCP, option, NOTSENT_LOWAT_BYTES)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def offer(self, frame: bytes, now_s: float) -> Offer:
        """Sends a whole websocket frame now, or keeps it as the newest until the socket takes more.

        `now_s` is the loop's time, some milliseconds old at most: one reading serves all viewers of a frame.
        """
        if self.protocol.state is not State.OPEN:
            return Offer.GONE
        if not self.paused and now_s < self._pace.quiet_until_s:
            self.transport.write(frame)
            return Offer.SENT
        if self.paused or not self._pace.may_send(self.loop.time()):
            replaced = self._slot is not None
            self._slot = frame
            return Offer.REPLACED if replaced else Offer.KEPT
        self._write(frame)
        return Offer.SENT

    def pause_writing(self) -> None:
        """The transport takes no more."""
        super().pause_writing()
        self._pace.paused()
        self._paused_since_s = self.loop.time()

    def resume_writing(self) -> None:
        """The transport takes more: the newest frame goes out."""
        super().resume_writing()
        self._paused_since_s = None
        self._send_kept()

    def data_received(self, data: bytes) -> None:
        """Takes the answer to one of our pings where it comes alone, as it mostly does, at a tenth of the cost."""
        if len(data) == _PONG_BYTES and data[:2] == _PONG_HEAD and self.protocol.state is State.OPEN:
            mask, masked = int.from_bytes(data[2:6] * 2, "big"), int.from_bytes(data[6:], "big")
            if self._pace.answered((mask ^ masked).to_bytes(8, "big"), self.loop.time()):
                self._send_kept()
                return
        super().data_received(data)

    def process_event(self, event: Event) -> None:
        """Takes the answers to our own pings; the rest is the library's."""
        if (
            isinstance(event, Frame)
            and event.opcode is Opcode.PONG
            and self._pace.answered(bytes(event.data), self.loop.time())
        ):
            self._send_kept()
        else:
            super().process_event(event)

    def stalled_s(self) -> float:
        """For how long the viewer has not read a single frame to its end; 0 while it reads."""
        paused_s = 0.0 if self._paused_since_s is None else self.loop.time() - self._paused_since_s
        return max(paused_s, self._pace.waiting_s(self.loop.time()))

    def _send_kept(self) -> None:
        if self._slot is None or self.paused or not self._pace.may_send(self.loop.time()):
            return
        frame, self._slot = self._slot, None
        if self.protocol.state is State.OPEN:
            self._write(frame)
            self.on_sent_later(1)

    def _write(self, frame: bytes) -> None:
        self.transport.write(frame)
        ping = self._pace.sent(self.loop.time())
        if ping is not None:
            self.transport.write(_PING_HEAD + ping)
