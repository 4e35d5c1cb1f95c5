"""The thread that sends recent frames to event workers. Run by the `pipeline`; uses a connection of its own.

While no event service runs, it only checks once a second whether one does, without a request to Redis.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from redis.exceptions import NoPermissionError, RedisError

from elastic_inference.adapters.stream_broker.frame_requests import FrameRequest
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.flows.inference.recent_frames import RecentFrames

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
# New rights come with a new users.acl, for which Redis is set up again.
_WITHOUT_RIGHTS_S = 30.0


class RequestSource(Protocol):
    """The pod's end of the requests; see `FrameRequests` of the adapter."""

    def wait(self) -> FrameRequest | None:
        """The next request, if one comes within a second."""

    def answer(self, request: FrameRequest, jpeg: bytes | None) -> str:
        """Writes the image and the answer."""

    def close(self) -> None:
        """Closes the connection."""


class FrameDesk:
    """`run` is the body of one thread; `close` ends it."""

    def __init__(
        self,
        requests: RequestSource,
        frames: RecentFrames,
        events_run: Callable[[], bool],
        want_full: Callable[[str], None],
    ) -> None:
        """`events_run` says whether an event service runs, as far as this pod knows.

        `want_full` is called with the name of each stream of which an event wants an image.
        """
        self._requests, self._frames = requests, frames
        self._want_full = want_full
        self._events_run = events_run
        self._throttle = Throttle()
        self._backoff = Backoff()
        self._ends = threading.Event()

    def close(self) -> None:
        """Any thread: lets `run` return within a second."""
        self._ends.set()

    def run(self) -> None:
        """Answers requests until `close`."""
        while not self._ends.is_set():
            self._frames.turn(self._events_run())
            if not self._frames.on:
                self._ends.wait(LOOK_EVERY_S)
                continue
            self._frames.trim()
            try:
                self._serve()
            except NoPermissionError as error:
                if note := self._throttle.note("rights"):
                    log.warning(
                        "events get no images of this pod: the Redis user worker may not use {snapshots}:*; render "
                        "users.acl again (doc/security.md): %s %s",
                        *(error, note),
                    )
                self._ends.wait(_WITHOUT_RIGHTS_S)
            except (RedisError, OSError) as error:
                if note := self._throttle.note(type(error)):
                    log.warning("cannot send frames to the event service: %s %s", error, note)
                self._ends.wait(self._backoff.next_s())
        self._frames.turn(False)
        self._requests.close()

    def _serve(self) -> None:
        """Answers for a second."""
        until_s = time.monotonic() + LOOK_EVERY_S
        while not self._ends.is_set() and time.monotonic() < until_s:
            request = self._requests.wait()
            self._backoff.reset()
            if request is not None:
                found = self._frames.find(request.stream, request.order)
                names = keys.split_stream_id(request.stream)
                if found is not None and names is not None:
                    self._want_full(names[0])
                self._requests.answer(request, found)
