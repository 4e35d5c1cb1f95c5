"""One viewer's websocket: the library's connection with a slot for the newest frame instead of a queue.

Made by the server for every TCP connection, fed by `watched_stream`. A frame goes straight to the transport, which
says when the socket is full (`pause_writing`); from then on only the newest frame is kept. The kernel's queue is kept
short (`TCP_NOTSENT_LOWAT`), and `viewer_pacing` bounds what is unread at the viewer's end. Otherwise a slow viewer
would see frames that are seconds old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

from elastic_inference.base.connections import reset_at_close
from elastic_inference.flows.relay.request import ViewerRequest
from elastic_inference.flows.relay.viewer_pacing import ViewerPacing

# What viewers send is discarded. Every frame counts, pings and parts of messages too; answers to our pings do not.
MAX_FRAMES = 200
FLOOD_WINDOW_S = 10.0
CLOSE_FLOOD = 1008
# A viewer sends less than this at a time. It also limits how much of a flood is read before it is noticed.
_SLICE_BYTES = 2048
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
    _slot: bytes | None = None
    _paused_since_s: float | None = None
    _frames = 0
    _counted_since_s = float("-inf")
    _flood_end: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Limits what asyncio may queue; the acceptor has limited what the kernel may."""
        super().connection_made(transport)
        self._pacing = ViewerPacing()
        # 0: writing pauses when the socket did not accept a whole frame, and resumes when all of it is sent.
        self.transport.set_write_buffer_limits(high=0)

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
        """Handles a pong that arrives alone, as most do, without the library: that costs a tenth as much."""
        if len(data) == _PONG_BYTES and data[:2] == _PONG_HEAD and self.protocol.state is State.OPEN:
            mask, masked = int.from_bytes(data[2:6] * 2, "big"), int.from_bytes(data[6:], "big")
            if self._pacing.answered((mask ^ masked).to_bytes(8, "big"), self.loop.time()):
                self._send_kept()
                return
        for start in range(0, len(data), _SLICE_BYTES):
            if self._flood_end is not None:
                return
            super().data_received(data[start : start + _SLICE_BYTES])

    def process_event(self, event: Event) -> None:
        """Handles the pongs for our own pings; the library handles the rest."""
        if (
            isinstance(event, Frame)
            and event.opcode is Opcode.PONG
            and self._pacing.answered(bytes(event.data), self.loop.time())
        ):
            self._send_kept()
            return
        if isinstance(event, Frame) and self._is_flood():
            return
        super().process_event(event)

    def _is_flood(self) -> bool:
        """Counts a frame of the viewer. The connection closes when it sends too many, and reads no more of them."""
        if self._flood_end is not None:
            return True
        now_s = self.loop.time()
        if now_s - self._counted_since_s >= FLOOD_WINDOW_S:
            self._frames, self._counted_since_s = 0, now_s
        self._frames += 1
        if self._frames <= MAX_FRAMES or self.protocol.state is not State.OPEN:
            return False
        self._flood_end = self.loop.create_task(self.close(CLOSE_FLOOD, "viewers may not send messages"))
        return True

    def stalled_s(self) -> float:
        """For how long the viewer has not read one whole frame; 0 while it reads."""
        paused_s = 0.0 if self._paused_since_s is None else self.loop.time() - self._paused_since_s
        return max(paused_s, self._pacing.waiting_s(self.loop.time()))

    def cut_off(self) -> None:
        """Closes the connection at once, for a viewer that reads nothing."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            reset_at_close(connection)
        self.transport.abort()

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
