"""Keeps the leases of a source worker: one round every second, in a thread of its own.

Called by `source_worker`. Reads the specifications of cameras that are new or changed, and writes their status.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis

from elastic_inference.adapters.camera_registry.camera_reader import CameraReader
from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera
from elastic_inference.adapters.leases import Holding, LeaseClient, Round
from elastic_inference.adapters.redis_connection import explain
from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.domain.camera import CameraStatus
from elastic_inference.domain.leases import round_s
from elastic_inference.flows.produce.queue_sink import QUEUE_ERRORS

log = logging.getLogger(__name__)
PART = "leases"
# Longer than connecting (3 s) and an answer (5 s).
END_LIMIT_S = 9.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What the worker tells Redis in a round: its items, its load and its cameras' states."""

    held: Mapping[str, Holding]
    capacity: float
    used: float
    draining: bool
    statuses: Mapping[str, CameraStatus]
    quarantines: Mapping[str, float]  # until when (monotonic)


@dataclass(frozen=True, slots=True)
class News:
    """The answers of a round. `cameras` have a new specification. `draining`: it announced this worker's stop."""

    round: Round
    cameras: Mapping[str, CompleteCamera]
    draining: bool


class LeaseKeeper:
    """Runs until `close`; the answers wait in `news`."""

    def __init__(
        self,
        client: redis.Redis,
        leases: LeaseClient,
        target: config.RedisTarget,
        *,
        lifecycle: Lifecycle,
        standing: Callable[[], Standing],
        wake: Callable[[], None],
    ) -> None:
        """`standing` is called at the start of each round, `wake` when there is news; both in this thread."""
        self._client = client
        self._reader = CameraReader(client)
        self._leases = leases
        self._target = target
        self._lifecycle = lifecycle
        self._standing = standing
        self._wake = wake
        self._revisions: dict[str, int] = {}
        self._quarantines: dict[str, float] = {}
        self._throttle = Throttle()
        self._hurry = threading.Event()
        self._ends = False
        # Without it, the worker would only look alive.
        self._thread = lifecycle.thread("leases", self._run)
        self._thread.daemon = True  # a call that hangs must not block the exit
        self.news: queue.SimpleQueue[News] = queue.SimpleQueue()
        lifecycle.declare(PART, "no answer from Redis yet")

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def hurry(self) -> None:
        """Begins the next round at once."""
        self._hurry.set()

    def close(self) -> None:
        """Ends the thread, and releases the leases that are still held."""
        self._ends = True
        self._hurry.set()
        if self._thread.ident is None:
            self._leases.close()
            return
        self._thread.join(END_LIMIT_S)
        if not self._thread.is_alive():
            with contextlib.suppress(*QUEUE_ERRORS):
                self._leases.release()
        self._leases.close()

    def _run(self) -> None:
        while not self._ends:
            began = time.monotonic()
            self._hurry.clear()
            try:
                self._round()
            except QUEUE_ERRORS as error:
                why = explain(error, self._target)
                self._lifecycle.set_missing(PART, why)
                if self._throttle.allow("unavailable"):
                    log.warning("%s; its cameras run until their leases end", why)
            except Exception:
                log.exception("a round of leases failed")
            else:
                self._lifecycle.set_ready(PART)
            self._wake()
            self._hurry.wait(max(0.0, began + round_s() - time.monotonic()))

    def _round(self) -> None:
        standing = self._standing()
        for name, until in standing.quarantines.items():
            if self._quarantines.get(name) != until:
                self._leases.quarantine(name, until)
        for name in self._quarantines.keys() - standing.quarantines.keys():
            self._leases.quarantine(name, 0.0)
        self._quarantines = dict(standing.quarantines)
        found = self._leases.renew(standing.held, standing.capacity, standing.used, standing.draining)
        mine = {name: claim.revision for name, claim in found.held.items()}
        self._revisions = {name: known for name, known in self._revisions.items() if name in mine}
        # While Redis does not know the wanted cameras, the revision is 0, and the known specification stays in use.
        changed = [name for name, revision in mine.items() if revision and self._revisions.get(name) != revision]
        cameras: Mapping[str, CompleteCamera] = {}
        try:
            cameras = self._reader.read(changed) if changed else {}
            self._revisions |= {name: camera.revision for name, camera in cameras.items()}
            # The status of a camera that another worker has claimed is written by that worker.
            self._reader.write_statuses({name: each for name, each in standing.statuses.items() if name in mine})
        finally:
            # Leases that Redis has renewed hold, even if it refuses the rest.
            self.news.put(News(found, cameras, standing.draining))
