"""Fetches the images of events from the pods, in a thread of its own: analysis never waits for an image.

Called by `event_worker`, which hands over requests and takes the outcomes. Requests are bounded in number and rate.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from redis.exceptions import RedisError

from elastic_inference.adapters.event_store.image_store import ImageStore
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import EventMetrics
from elastic_inference.domain.events.images import ImageChoice, ImageRequest
from elastic_inference.domain.events.missing import SENTENCES, Missing

log = logging.getLogger(__name__)

# Maximum number of images in transfer, and of requests per second; further events get no image.
MAX_OPEN = 256
RATE = 40.0
BURST = 120.0
# A pod that has not answered by then has ended, or is of an older version.
ANSWER_LIMIT_S = 5.0
POLL_S = 0.05
_IDLE_S = 1.0
END_LIMIT_S = 5.0
Outcome = tuple[str, Missing | None]


class ImageKeeper:
    """`ask` and `outcomes` are for one other thread."""

    def __init__(
        self,
        store: ImageStore,
        choice: ImageChoice,
        metrics: EventMetrics,
        explain: Callable[[Exception], str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.choice = choice
        self._store = store
        self._metrics = metrics
        self._explain = explain
        self._monotonic = monotonic
        self._throttle = Throttle()
        self._backoff = Backoff()
        self._asked: queue.SimpleQueue[ImageRequest | None] = queue.SimpleQueue()
        self._found: deque[Outcome] = deque(maxlen=10_000)
        # Image -> when it was asked for.
        self._open: dict[str, float] = {}
        self._allowance, self._filled_at_s = BURST, monotonic()
        self._ends = threading.Event()

    def ask(self, requests: Sequence[ImageRequest]) -> None:
        """Queues requests for these images."""
        for each in requests:
            self._asked.put(each)

    def outcomes(self) -> list[Outcome]:
        """The images that are kept since the last call, and those that are missing, with the reason."""
        return [self._found.popleft() for _ in range(len(self._found))]

    def close(self) -> None:
        """Lets `run` return soon."""
        self._ends.set()
        self._asked.put(None)

    def run(self) -> None:
        """Body of the thread, until `close`."""
        while not self._ends.is_set():
            requests = self._take()
            try:
                self.step(requests)
            except (RedisError, OSError) as error:
                if note := self._throttle.note(type(error)):
                    log.warning("images of events cannot be fetched: %s %s", self._explain(error), note)
                self._ends.wait(self._backoff.next_s())
            else:
                self._backoff.reset()
        self._store.close()

    def step(self, requests: Sequence[ImageRequest]) -> None:
        """Sends requests, takes answers, gives up requests that have waited too long. Raises REDIS_ERRORS."""
        missing: list[tuple[str, Missing]] = []
        try:
            allowed = [each for each in requests if self._may(each, missing)]
            now_s = self._monotonic()
            self._open |= {each.image: now_s for each in allowed}
            for each, reason in zip(allowed, self._store.ask(allowed), strict=True):
                if reason is not None:
                    missing.append((each.image, reason))
            if self._open:
                self._receive(missing)
            missing += [(image, Missing.POD) for image, at_s in self._open.items() if now_s - at_s >= ANSWER_LIMIT_S]
            # Of those that were never asked for there can be any number.
            self._store.miss([(image, reason) for image, reason in missing if image in self._open])
        except (RedisError, OSError):
            missing += [(image, Missing.REDIS) for image in self._open]
            raise
        finally:
            for image, reason in dict(missing).items():
                self._miss(image, reason)

    def _take(self) -> list[ImageRequest]:
        found: list[ImageRequest | None] = []
        try:
            found.append(self._asked.get(timeout=POLL_S if self._open else _IDLE_S))
            while len(found) < MAX_OPEN:
                found.append(self._asked.get_nowait())
        except queue.Empty:
            pass
        return [each for each in found if each is not None]

    def _may(self, request: ImageRequest, missing: list[tuple[str, Missing]]) -> bool:
        """Whether another request may be sent. First images have priority over better ones."""
        now_s = self._monotonic()
        self._allowance = min(BURST, self._allowance + RATE * (now_s - self._filled_at_s))
        self._filled_at_s = now_s
        if len(self._open) >= MAX_OPEN or self._allowance < (1.0 if request.first else BURST / 2):
            missing.append((request.image, Missing.BUSY))
            return False
        self._allowance -= 1.0
        return True

    def _receive(self, missing: list[tuple[str, Missing]]) -> None:
        for image, refusal in self._store.answers(MAX_OPEN):
            if image not in self._open:
                continue
            reason = refusal
            if reason is None:
                kept = self._store.keep(image)
                reason = kept.reason
                self._metrics.images_removed.inc(kept.removed)
                if kept.total_bytes is not None:
                    self._metrics.image_bytes.set(kept.total_bytes)
            if reason is not None:
                missing.append((image, reason))
                continue
            self._metrics.images.inc()
            self._found.append((image, None))
            del self._open[image]

    def _miss(self, image: str, reason: Missing) -> None:
        self._open.pop(image, None)
        self._found.append((image, reason))
        self._metrics.images_missing.labels(reason=reason.value).inc()
        if reason in (Missing.RIGHTS, Missing.MEMORY) and (note := self._throttle.note(reason)):
            what = "render users.acl again (doc/security.md)" if reason is Missing.RIGHTS else "see doc/events.md"
            log.warning("an event got no image: %s %s %s", SENTENCES[reason], what, note)
