"""Finds the camera that crashed a process, from `faulthandler`'s report, and decides when it may run again.

Called by `source_worker`. Pure; the caller passes the time.
"""

from __future__ import annotations

import signal
from collections.abc import Collection
from dataclasses import dataclass, field

from elastic_inference.base.crash_mark import mark_in
from elastic_inference.flows.produce.source_reader import PART

# A camera that has crashed this many processes is quarantined: it runs alone, after growing pauses.
CRASHES = 2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
# A camera that has run this long without a crash is trusted again.
FORGIVEN_AFTER_S = 600.0
CRASH_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
# Threads of a camera are marked with its part of readiness.
_PART = f"{PART} of "


def guilty(code: int, report: str, opening: Collection[str]) -> tuple[str, ...]:
    """The cameras that may have crashed a process: the one whose thread crashed, else those that were being opened.

    `code` is the process's exit code as `subprocess` reports it. If the process was killed from outside, such as by the
    kernel when memory runs out, no camera is to blame.
    """
    if -code not in CRASH_SIGNALS:
        return ()
    mark = mark_in(report)
    if mark is not None and mark.startswith(_PART):
        return (mark.removeprefix(_PART),)
    return tuple(opening)


@dataclass(slots=True)
class Record:
    """The crashes of one camera."""

    crashes: int = 0
    pause_s: float = 0.0
    retry_at: float = 0.0
    since: float = 0.0


@dataclass(slots=True)
class Records:
    """The crashes of all cameras of a worker."""

    _records: dict[str, Record] = field(default_factory=dict)
    _doubted: set[str] = field(default_factory=set)

    def crashed(self, name: str, now: float) -> None:
        """Records that a camera has crashed a process."""
        record = self._records.setdefault(name, Record())
        record.crashes += 1
        record.since = now
        if record.crashes >= CRASHES:
            record.pause_s = min(max(2 * record.pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            record.retry_at = now + record.pause_s

    def doubt(self, names: Collection[str]) -> None:
        """Records that one of these has crashed a process, and it is unknown which."""
        self._doubted.update(names)

    def doubted(self, name: str) -> bool:
        """Whether it must be opened while no other doubted camera is, so that the next crash shows whose it is."""
        return name in self._doubted

    def opened(self, name: str) -> None:
        """Records that a camera has been opened, or has failed to open, without a crash."""
        self._doubted.discard(name)

    def inherit(self, name: str, until: float) -> None:
        """Records that another worker has put the camera into quarantine; `until` is monotonic."""
        if not self.quarantined(name):
            self._records[name] = Record(CRASHES, FIRST_PAUSE_S, until, until)

    def quarantines(self, now: float) -> dict[str, float]:
        """The end of each camera's quarantine, unless it crashes again."""
        return {
            name: max(now, record.retry_at) + FORGIVEN_AFTER_S
            for name, record in self._records.items()
            if record.crashes >= CRASHES
        }

    def quarantined(self, name: str) -> bool:
        """Whether the camera must run alone."""
        record = self._records.get(name)
        return record is not None and record.crashes >= CRASHES

    def suspect(self, name: str) -> bool:
        """Whether the camera has crashed a process."""
        return name in self._records

    def may_run(self, name: str, now: float) -> bool:
        """False during the pause after a crash."""
        record = self._records.get(name)
        return record is None or now >= record.retry_at

    def sentence(self, name: str, now: float) -> str | None:
        """Why a camera is quarantined, for people."""
        record = self._records.get(name)
        if record is None or record.crashes < CRASHES:
            return None
        wait_s = record.retry_at - now
        then = f"tried again in {wait_s:.0f} s" if wait_s > 0 else "it runs in a process of its own"
        return f"Its video has crashed {record.crashes} processes: {then}."

    def forgive(self, now: float) -> list[str]:
        """Forgets the crashes of cameras that have run long enough; returns those that leave quarantine."""
        good = [
            name
            for name, record in self._records.items()
            if now - record.retry_at > FORGIVEN_AFTER_S and now - record.since > FORGIVEN_AFTER_S
        ]
        left = [name for name in good if self.quarantined(name)]
        for name in good:
            del self._records[name]
        return left

    def forget(self, name: str) -> None:
        """Forgets a camera that has been changed or removed."""
        self._records.pop(name, None)
        self._doubted.discard(name)
