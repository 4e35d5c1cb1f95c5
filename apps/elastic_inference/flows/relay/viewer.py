"""One viewer's websocket: the library's connection with a slot for the newest frame instead of a queue.

Made by the server for every TCP connection, fed by `watched_stream`. A frame goes straight to the transport, which
says when the socket is full (`pause_writing`); from then on only the newest frame is kept. The kernel's queue is kept
short (`TCP_NOTSENT_LOWAT`), and `viewer_pacing` bounds what is unread at the viewer's end. Otherwise a slow viewer
would see frames that are seconds old.
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
from elastic_inference.flows.relay.viewer_pacing import ViewerPacing

# How many unsent bytes the kernel accepts: about one frame. Measured: a viewer that reads 10 of 30 frames per second
# is 0.3 s behind with it and 7 s without.
NOTSENT_LOWAT_BYTES = 64 * 1024
_TCP_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
# The option's number on Linux, for a Python that was built without its name.
_LINUX_TCP_NOTSENT_LOWAT = 25
# Final frame, opcode ping, eight bytes: a ping of `viewer_pacing`.
_PING_HEAD = b"\x89\x08"
# The answer: final frame, opcode pong, masked, eight bytes.
_PONG_HEAD = b"\x8a\x88"
_PONG_BYTES = 14


class Offer(Enum):
    """The outcome of offering a frame to a viewer."""

    SENT = auto()
    KEPT = auto()
    REPLACED = auto()
    GONE = auto()


def _nothing(_count: int) -> None:
    """Does nothing: no hub has this viewer yet."""


class Viewer(ServerConnection):
    """The websocket of one viewer. One event loop; the handshake sets `wanted`."""

    wanted: ViewerRequest
    on_sent_later: Callable[[int], None] = staticmethod(_nothing)
    # Maximum of open connections, including handshakes in progress; others are closed at once.
    max_connections: int | None = None
    _slot: bytes | None = None
    _paused_since_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Limits what the kernel and asyncio may queue."""
        super().connection_made(transport)
        self._pacing = ViewerPacing()
        if self.max_connections is not None and len(self.server.handler_tasks) > self.max_connections:
            self.transport.abort()
            return
        # 0: writing pauses when the socket did not accept a whole frame, and resumes when all of it is sent.
        self.transport.set_write_buffer_limits(high=0)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):  # without this option the slot still works
                option = _LINUX_TCP_NOTSENT_LOWAT if _TCP_NOTSENT_LOWAT is None else _TCP_NOTSENT_LOWAT
                connection.setsockopt(socket.IPPROTO_TCP, option, NOTSENT_LOWAT_BYTES)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def offer(self, frame: bytes, now_s: float) -> Offer:
        """Sends a whole websocket frame now, or keeps it as the newest one until the socket has room.

        `now_s` is the loop's time. It may be some milliseconds old: one reading serves all viewers of a frame.
        """
        if self.protocol.state is not State.OPEN:
            return Offer.GONE
        if not self.paused and now_s < self._pacing.quiet_until_s:
            self.transport.write(frame)
            return Offer.SENT
        if self.paused or not self._pacing.may_send(self.loop.time()):
            replaced = self._slot is not None
            self._slot = frame
            return Offer.REPLACED if replaced else Offer.KEPT
        self._write(frame)
        return Offer.SENT

    def pause_writing(self) -> None:
        """Called by the transport when it is full."""
        super().pause_writing()
        self._pacing.paused()
        self._paused_since_s = self.loop.time()

    def resume_writing(self) -> None:
        """Called by the transport when it has room: sends the newest frame."""
        super().resume_writing()
        self._paused_since_s = None
        self._send_kept()

    def data_received(self, data: bytes) -> None:
        """Reads the answer to one of our pings here if it arrives alone, as it usually does: a tenth of the cost."""
        if len(data) == _PONG_BYTES and data[:2] == _PONG_HEAD and self.protocol.state is State.OPEN:
            mask, masked = int.from_bytes(data[2:6] * 2, "big"), int.from_bytes(data[6:], "big")
            if self._pacing.answered((mask ^ masked).to_bytes(8, "big"), self.loop.time()):
                self._send_kept()
                return
        super().data_received(data)

    def process_event(self, event: Event) -> None:
        """Handles the answers to our own pings; the library handles the rest."""
        if (
            isinstance(event, Frame)
            and event.opcode is Opcode.PONG
            and self._pacing.answered(bytes(event.data), self.loop.time())
        ):
            self._send_kept()
        else:
            super().process_event(event)

    def stalled_s(self) -> float:
        """For how long the viewer has not read one whole frame; 0 while it reads."""
        paused_s = 0.0 if self._paused_since_s is None else self.loop.time() - self._paused_since_s
        return max(paused_s, self._pacing.waiting_s(self.loop.time()))

    def _send_kept(self) -> None:
        if self._slot is None or self.paused or not self._pacing.may_send(self.loop.time()):
            return
        frame, self._slot = self._slot, None
        if self.protocol.state is State.OPEN:
            self._write(frame)
            self.on_sent_later(1)

    def _write(self, frame: bytes) -> None:
        self.transport.write(frame)
        ping = self._pacing.sent(self.loop.time())
        if ping is not None:
            self.transport.write(_PING_HEAD + ping)
