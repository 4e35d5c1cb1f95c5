"""The status of each camera that this worker runs: written to the registry on each change and every five seconds.

Called by `source_worker`; `take` is for the thread that writes.
"""

from __future__ import annotations

import threading
import time

from elastic_inference.domain.camera import CameraState, CameraStatus
from elastic_inference.flows.produce.pool.channel import Message
from elastic_inference.flows.produce.pool.children import Children

WRITE_EVERY_S = 5.0
_RUNS = (CameraState.LIVE, CameraState.QUIET)


class Statuses:
    """Collects changed statuses until `take` returns them."""

    def __init__(self, worker: str, children: Children) -> None:
        self._worker = worker
        self._children = children
        self._lock = threading.Lock()
        self._due: dict[str, CameraStatus] = {}
        # (state, reason, whether rate and cost are known, since, when it was last written) of each camera
        self._known: dict[str, tuple[CameraState, str | None, tuple[bool, bool], float, float]] = {}
        self._began: dict[str, float] = {}

    def update(self, now: float) -> None:
        """Looks for changes; `now` is monotonic."""
        names = self._children.names()
        self._known = {name: known for name, known in self._known.items() if name in names}
        self._began = {name: began for name, began in self._began.items() if name in names}
        with self._lock:
            self._due = {name: status for name, status in self._due.items() if name in names}
        for name in names:
            report = self._children.report(name) or {}
            state, reason = self._state(name, report, now)
            known = self._known.get(name)
            fps = report.get("fps", 0.0)
            # With its first frame a camera has no rate and no cost yet: they are written as soon as they are known.
            cost = self._children.costs.measured(name) or 0.0
            has_rates = fps > 0, cost > 0
            same = known is not None and known[:3] == (state, reason, has_rates)
            if same and known is not None and now - known[4] < WRITE_EVERY_S:
                continue
            if known is None and self._only_opens(name, report, now):
                continue
            since_ms = known[3] if known is not None and known[0] is state else time.time() * 1000
            self._known[name] = state, reason, has_rates, since_ms, now
            status = CameraStatus(
                state,
                reason,
                self._worker,
                fps=fps,
                cost=round(cost, 4),
                width=report.get("width"),
                height=report.get("height"),
                reconnects=report.get("reconnects", 0),
                since_ms=round(since_ms),
                frame_ms=report.get("frame_ms"),
            )
            with self._lock:
                self._due[name] = status

    def take(self) -> dict[str, CameraStatus]:
        """The statuses that must be written now."""
        with self._lock:
            due, self._due = self._due, {}
        return due

    def _only_opens(self, name: str, report: Message, now: float) -> bool:
        """Whether there is nothing to report yet: the worker that hands the camera over still reports it."""
        began = self._began.setdefault(name, now)
        return now - began < WRITE_EVERY_S and not (report.get("frame_ms") or report.get("failures"))

    def _state(self, name: str, report: Message, now: float) -> tuple[CameraState, str | None]:
        crashed = self._children.records.sentence(name, now)
        if crashed is not None and report.get("state") not in _RUNS:
            return CameraState.QUARANTINED, crashed
        state = CameraState(report.get("state", CameraState.RECONNECTING.value))
        return state, report.get("note" if state in _RUNS else "reason")
