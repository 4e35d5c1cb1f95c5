"""All stages of one stream: its results, in order, become tracks and events.

Called by the event service. Times are Unix milliseconds of Redis' clock; nothing here reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from elastic_inference.domain.events.rules import CameraRules

if TYPE_CHECKING:
    from elastic_inference.domain.events.event import Event
    from elastic_inference.domain.result import Result


@dataclass(slots=True)
class LabelCounts:
    """What a zone has seen of one label."""

    present: int = 0
    entered: int = 0
    left: int = 0
    longest_s: float = 0.0


@dataclass(slots=True)
class LineCounts:
    """How often one label has crossed a line."""

    inward: int = 0
    outward: int = 0


@dataclass(slots=True)
class Counts:
    """By zone or line, then by label."""

    zones: dict[str, dict[str, LabelCounts]] = field(default_factory=dict)
    lines: dict[str, dict[str, LineCounts]] = field(default_factory=dict)


class StreamAnalysis:
    """The stages of one stream. Not thread-safe.

    `epoch` is that of the partition's lease: new tracks and events carry it, so no id is used twice even if the state
    is lost. `state` is what `state()` gave at the last checkpoint; a foreign one is ignored.
    """

    def __init__(self, stream: str, epoch: int, rules: CameraRules, state: bytes | None = None) -> None:
        self.stream = stream
        self.epoch = epoch
        self._rules = rules

    def on_result(self, result: Result, at_ms: float) -> tuple[Result, list[Event]]:
        """The result with its tracks and zones as attributes, and the events that came of it."""
        return result, []

    def on_time(self, now_ms: float) -> list[Event]:
        """The ends that are due because nothing came. Call it about once a second."""
        return []

    def on_end(self, now_ms: float) -> list[Event]:
        """The stream has ended, so everything does."""
        return []

    def set_rules(self, rules: CameraRules, now_ms: float) -> list[Event]:
        """Other zones and lines apply from now on; what was open in one that no longer exists ends."""
        self._rules = rules
        return []

    def state(self) -> bytes:
        """Everything that the next worker needs to continue, compact."""
        return b""

    def counts(self) -> Counts:
        """The counters of each zone and line."""
        return Counts()
