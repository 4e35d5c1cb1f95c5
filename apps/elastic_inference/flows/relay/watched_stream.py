"""One stream that somebody watches: its viewers by format, its order, and its drawn pictures.

Made by the `hub` for the first viewer, fed with the broker's messages. Everything runs on the event loop but the
drawing, which a worker thread does once per frame for all viewers of the format, newest frame only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import Executor

from elastic_inference.adapters.drawing import draw_result
from elastic_inference.adapters.stream_broker.tombstones import parse_tombstones
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import RelayMetrics
from elastic_inference.domain.errors import InvalidFrameError, InvalidResultError
from elastic_inference.domain.result import parse_result, split_message
from elastic_inference.domain.sequence import Sequence
from elastic_inference.flows.relay.outgoing import Format, Incoming, binary_frame, read_incoming, text_frame
from elastic_inference.flows.relay.viewer import Offer, Viewer

log = logging.getLogger(__name__)


class WatchedStream:
    """One event loop."""

    def __init__(
        self, stream_id: str, window_s: float, metrics: RelayMetrics, executor: Executor, throttle: Throttle
    ) -> None:
        self.stream_id = stream_id
        self.viewers: dict[Format, dict[Viewer, None]] = {each: {} for each in Format}
        # Snapshots that wait for the next message.
        self.waiting: set[asyncio.Future[bytes]] = set()
        self._loop = asyncio.get_running_loop()
        self._metrics = metrics
        self._executor = executor
        self._throttle = throttle
        self._sequence: Sequence[Incoming] = Sequence(window_s)
        self._late_counted = 0
        self._timer: asyncio.TimerHandle | None = None
        self._behind: Incoming | None = None
        self._to_draw: bytes | None = None
        self._drawing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return sum(map(len, self.viewers.values()))

    @property
    def is_used(self) -> bool:
        """Whether a viewer or a snapshot needs this stream."""
        return bool(self.waiting) or any(self.viewers.values())

    def receive(self, message: bytes, *, hold: bool) -> None:
        """A message of the broker: what is next in order goes to the viewers, or waits for `flush` when `hold`.

        `hold` is for a server that is behind: of all that arrives until `flush` only the newest is sent.
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
        """A message of the stream's tombstones: results that waited for these frames pass now."""
        try:
            tombstones = parse_tombstones(self.stream_id, message)
        except InvalidResultError as error:
            self._count_invalid(error)
            return
        for each in tombstones:
            self._forward(self._sequence.skip(each.order, self._loop.time()), hold)

    def flush(self) -> None:
        """Sends what `hold` kept."""
        newest, self._behind = self._behind, None
        if newest is not None:
            self._send(newest)

    def close(self) -> None:
        """The last viewer has left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._drawing is not None:
            self._drawing.cancel()
            self._drawing = None
        self._to_draw = self._behind = None

    def _forward(self, passed: list[Incoming], hold: bool) -> None:
        if hold:
            for each in passed:
                if self._behind is not None:
                    self._metrics.skipped.inc(len(self))
                self._behind = each
        else:
            self._send_all(passed)
        self._after_push()

    def _after_push(self) -> None:
        late = self._sequence.late - self._late_counted
        if late:
            self._late_counted += late
            self._metrics.late.inc(late)
        deadline_s = self._sequence.deadline_s()
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
        self._after_push()

    def _send_all(self, passed: list[Incoming]) -> None:
        for each in passed:
            self._send(each)

    def _send(self, incoming: Incoming) -> None:
        whole, text, drawn = (self.viewers[each] for each in (Format.FRAME, Format.JSON, Format.PICTURE))
        if whole:
            self._fan_out(whole, binary_frame(incoming.message))
        if text:
            self._fan_out(text, text_frame(incoming.document))
        if drawn:
            if self._to_draw is not None:
                self._metrics.skipped.inc(len(drawn))
            self._to_draw = incoming.message
            if self._drawing is None:
                self._drawing = self._loop.create_task(self._draw_newest())

    def _fan_out(self, viewers: Iterable[Viewer], frame: bytes) -> None:
        sent = skipped = 0
        now_s = self._loop.time()
        # A copy: a viewer may leave while its neighbour is written to.
        for viewer in tuple(viewers):
            try:
                offer = viewer.offer(frame, now_s)
            except Exception:  # one broken viewer must not cost the others their frame
                log.warning("a viewer of %s could not be written to", self.stream_id, exc_info=True)
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

    async def _draw_newest(self) -> None:
        try:
            while self._to_draw is not None and self.viewers[Format.PICTURE]:
                message, self._to_draw = self._to_draw, None
                try:
                    frame = await self._loop.run_in_executor(self._executor, _drawn_frame, message)
                except (InvalidResultError, InvalidFrameError) as error:
                    self._count_invalid(error)
                    continue
                self._fan_out(self.viewers[Format.PICTURE], frame)
        except Exception:
            log.exception("drawing %s failed", self.stream_id)
            self._metrics.invalid.inc()
        finally:
            self._drawing = None

    def _count_invalid(self, error: Exception) -> None:
        self._metrics.invalid.inc()
        if self._throttle.allow(self.stream_id):
            log.warning("%s: skipped %s", self.stream_id, error)


def _drawn_frame(message: bytes) -> bytes:
    """In a worker thread: the websocket frame with the drawn picture."""
    document, jpeg = split_message(message)
    return binary_frame(draw_result(parse_result(document), jpeg))
