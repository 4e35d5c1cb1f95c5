"""One watched stream: puts its results in order and sends them to its viewers, by format.

Made by the `hub` for the first viewer or snapshot, fed with the broker's messages. Runs on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from elastic_inference.adapters.stream_broker.tombstones import parse_tombstones
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import RelayMetrics
from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.sequence import Sequence
from elastic_inference.flows.relay.drawn_frames import DrawnFrames, Painter
from elastic_inference.flows.relay.frame_tracks import MAX_WAITING, MAX_WAITING_BYTES, FrameTracksJoin
from elastic_inference.flows.relay.outgoing import Incoming, binary_frame, read_incoming, text_frame
from elastic_inference.flows.relay.request import Format
from elastic_inference.flows.relay.viewer import Offer, Viewer

log = logging.getLogger(__name__)


class WatchedStream:
    """The viewers of one stream, and its results on their way to them. For one event loop; not thread-safe."""

    def __init__(
        self, stream_id: str, window_s: float, metrics: RelayMetrics, painter: Painter, throttle: Throttle
    ) -> None:
        self.stream_id = stream_id
        self.viewers: dict[Format, dict[Viewer, None]] = {each: {} for each in Format}
        # Snapshots that wait for the next message.
        self.waiting: set[asyncio.Future[bytes]] = set()
        self._loop = asyncio.get_running_loop()
        self._metrics = metrics
        self._throttle = throttle
        self._sequence: Sequence[Incoming] = Sequence(window_s)
        self._late_counted = 0
        self._timer: asyncio.TimerHandle | None = None
        # The newest result, while the server is behind.
        self._kept: Incoming | None = None
        # Results that wait for their tracks, and until when.
        self._waiting: deque[tuple[Incoming, float]] = deque()
        self._waiting_bytes = 0
        self._tracks = FrameTracksJoin()
        self._drawn = DrawnFrames(painter, self._send_drawn, self._count_invalid)

    def __len__(self) -> int:
        """How many viewers it has."""
        return sum(map(len, self.viewers.values()))

    @property
    def is_used(self) -> bool:
        """Whether a viewer or a snapshot needs this stream."""
        return bool(self.waiting) or any(self.viewers.values())

    def receive(self, message: bytes, *, hold: bool) -> None:
        """Takes a result message; sends the results that are next in order to the viewers.

        With `hold`, for a server that is behind, only the newest result is kept, and `flush` sends it.
        """
        try:
            incoming = read_incoming(message)
        except InvalidResultError as error:
            self._count_invalid(error)
            return
        for waiting in self.waiting:
            if not waiting.done():
                waiting.set_result(message)
        self._forward(
            self._sequence.push(incoming.order, incoming, self._loop.time(), len(message), incoming.identity), hold
        )

    def receive_tombstones(self, message: bytes, *, hold: bool) -> None:
        """Takes a message of tombstones; sends the results that waited for these frames."""
        try:
            tombstones = parse_tombstones(self.stream_id, message)
        except InvalidResultError as error:
            self._count_invalid(error)
            return
        for each in tombstones:
            self._forward(self._sequence.skip(each.order, self._loop.time()), hold)

    def receive_tracks(self, message: bytes) -> None:
        """Takes a message of tracks; sends the results that waited for them."""
        from elastic_inference.adapters.stream_broker.tracks import parse_tracks  # noqa: PLC0415  see `frame_tracks`

        try:
            frames = parse_tracks(self.stream_id, message)
        except InvalidResultError as error:
            self._count_invalid(error)
            return
        now_s = self._loop.time()
        self._tracks.receive(frames, now_s)
        if self._waiting:
            self._release(now_s)
            self._count_and_schedule()

    def flush(self) -> None:
        """Sends what `hold` kept."""
        newest, self._kept = self._kept, None
        if newest is not None:
            self._send(newest)

    def close(self) -> None:
        """Stops the timer and drawing, when nobody needs this stream any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._drawn.close()
        self._kept = None
        self._waiting.clear()

    def _forward(self, passed: list[Incoming], hold: bool) -> None:
        if hold:
            passed = [each for each, _ in self._waiting] + passed
            self._waiting.clear()
            self._waiting_bytes = 0
            for each in passed:
                if self._kept is not None:
                    self._metrics.skipped.inc(len(self))
                self._kept = each
        else:
            self._send_all(passed)
        self._count_and_schedule()

    def _count_and_schedule(self) -> None:
        late = self._sequence.late - self._late_counted
        if late:
            self._late_counted += late
            self._metrics.late.inc(late)
        deadline_s = self._sequence.deadline_s()
        if self._waiting:
            until_s = self._waiting[0][1]
            deadline_s = until_s if deadline_s is None else min(deadline_s, until_s)
        if deadline_s is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None or self._timer.when() > deadline_s or self._timer.cancelled():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.flush()
        self._send_all(self._sequence.expire(self._loop.time()))
        self._count_and_schedule()

    def _send_all(self, passed: list[Incoming]) -> None:
        now_s = self._loop.time()
        takes_tracks = self.viewers[Format.FRAME] or self.viewers[Format.JSON]
        for each in passed:
            until_s = self._tracks.wait_until_s(each.order, now_s) if takes_tracks else None
            if until_s is None and not self._waiting:
                self._send(each)
            else:
                self._waiting.append((each, until_s or now_s))
                self._waiting_bytes += len(each.message)
        self._release(now_s)

    def _release(self, now_s: float) -> None:
        """Sends, in order, the results that no longer wait for their tracks."""
        while self._waiting:
            first, until_s = self._waiting[0]
            full = len(self._waiting) > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES
            if not full and until_s > now_s and not self._tracks.has(first.order):
                return
            self._waiting.popleft()
            self._waiting_bytes -= len(first.message)
            self._send(first)

    def _send(self, incoming: Incoming) -> None:
        whole, text, drawn = (self.viewers[each] for each in (Format.FRAME, Format.JSON, Format.DRAWN))
        if whole or text:
            joined = self._tracks.join(incoming)
            if whole:
                self._fan_out(whole, binary_frame(joined.message))
            if text:
                self._fan_out(text, text_frame(joined.document))
        if drawn and self._drawn.draw(incoming.message):
            self._metrics.skipped.inc(len(drawn))

    def _send_drawn(self, jpeg: bytes) -> None:
        self._fan_out(self.viewers[Format.DRAWN], binary_frame(jpeg))

    def _fan_out(self, viewers: Iterable[Viewer], frame: bytes) -> None:
        sent = skipped = 0
        now_s = self._loop.time()
        # A copy: a viewer may leave while another is written to.
        for viewer in tuple(viewers):
            try:
                offer = viewer.offer(frame, now_s)
            except Exception:  # one broken viewer must not cost the others their frame
                if note := self._throttle.note((self.stream_id, "viewer")):
                    log.warning("writing to a viewer of %s failed %s", self.stream_id, note, exc_info=True)
                viewer.transport.abort()
                continue
            if offer is Offer.SENT:
                sent += 1
            elif offer is Offer.REPLACED:
                skipped += 1
        if sent:
            self._metrics.sent.inc(sent)
        if skipped:
            self._metrics.skipped.inc(skipped)

    def _count_invalid(self, error: Exception) -> None:
        self._metrics.invalid.inc()
        if note := self._throttle.note(self.stream_id):
            log.warning("%s: skipped %s %s", self.stream_id, error, note)
