"""How a type without pods wakes: each moment from its first frame to its first result.

The runner samples the pool once a second, and the API gives times in whole seconds. So a watch notes when it hears of
each change.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.elasticity.record import Wake

# The API ends a watch after this time; then a new one begins.
WATCH_S = 600
Events = Callable[[], Iterator[Mapping[str, Any]]]


class Notes:
    """The first time of each event, in seconds of the run. Pods that end already belong to an earlier scenario."""

    def __init__(self) -> None:
        self.asked_s: float | None = None
        self.created_s: dict[str, float] = {}
        self.ready_s: dict[str, float] = {}

    def deployment(self, document: Mapping[str, Any], at_s: float) -> None:
        """The Deployment as the API reports it."""
        if self.asked_s is None and document.get("spec", {}).get("replicas", 0) > 0:
            self.asked_s = at_s

    def pod(self, document: Mapping[str, Any], at_s: float) -> None:
        """A pod as the API reports it."""
        about = document["metadata"]
        name = about["name"]
        if "deletionTimestamp" in about and name not in self.created_s:
            return
        self.created_s.setdefault(name, at_s)
        conditions = document.get("status", {}).get("conditions", ())
        if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            self.ready_s.setdefault(name, at_s)

    def wake(self, frame_s: float | None, result_s: float | None) -> Wake:
        """What came of it, with the times of the first frame and the first result."""
        name = min(self.ready_s, key=self.ready_s.__getitem__, default=None)
        created_s, ready_s = (self.created_s[name], self.ready_s[name]) if name else (None, None)
        return Wake(frame_s, self.asked_s, created_s, ready_s, result_s)


class Watch:
    """Notes what the API reports, in threads that end after `stop` with the next event or with the API's proxy."""

    def __init__(self, deployments: Events, pods: Events, began: float) -> None:
        """`began` is the moment of the run's second 0, by `time.monotonic`."""
        self.notes = Notes()
        self._began, self._stopped = began, threading.Event()
        for events, note in ((deployments, self.notes.deployment), (pods, self.notes.pod)):
            threading.Thread(target=self._follow, args=(events, note), daemon=True).start()

    def stop(self) -> None:
        """Notes nothing from now on."""
        self._stopped.set()

    def _follow(self, events: Events, note: Callable[[Mapping[str, Any], float], None]) -> None:
        while not self._stopped.is_set():
            try:
                for event in events():
                    if self._stopped.is_set():
                        return
                    if event.get("type") in ("ADDED", "MODIFIED"):
                        note(event["object"], time.monotonic() - self._began)
            except (OSError, ValueError, http.client.HTTPException):
                self._stopped.wait(0.5)
