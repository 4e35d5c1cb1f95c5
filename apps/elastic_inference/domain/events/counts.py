"""The counters of a stream's zones and lines. As a part of the stream's state they survive restarts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# More labels than this of one zone or line are counted together.
MAX_COUNTED_LABELS = 32
OTHER = "other"


@dataclass(slots=True)
class LabelCounts:
    """What a zone has seen of one label."""

    present: int = 0
    entered: int = 0
    left: int = 0
    longest_s: float = 0.0


@dataclass(slots=True)
class LineCounts:
    """How often one label has crossed a line: `inward` is from its left to its right."""

    inward: int = 0
    outward: int = 0


@dataclass(slots=True)
class Counts:
    """By zone or line, then by label."""

    zones: dict[str, dict[str, LabelCounts]] = field(default_factory=dict)
    lines: dict[str, dict[str, LineCounts]] = field(default_factory=dict)

    def zone(self, name: str, label: str) -> LabelCounts:
        """The counters of a zone and a label."""
        labels = self.zones.setdefault(name, {})
        return labels.setdefault(_counted(labels, label), LabelCounts())

    def line(self, name: str, label: str) -> LineCounts:
        """The counters of a line and a label."""
        labels = self.lines.setdefault(name, {})
        return labels.setdefault(_counted(labels, label), LineCounts())

    def keep(self, zones: set[str], lines: set[str]) -> None:
        """Forgets what no longer exists."""
        self.zones = {name: labels for name, labels in self.zones.items() if name in zones}
        self.lines = {name: labels for name, labels in self.lines.items() if name in lines}

    def pack(self) -> list[Any]:
        """Everything, for `unpack`."""
        return [
            {
                name: {label: [c.present, c.entered, c.left, c.longest_s] for label, c in labels.items()}
                for name, labels in self.zones.items()
            },
            {
                name: {label: [c.inward, c.outward] for label, c in labels.items()}
                for name, labels in self.lines.items()
            },
        ]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Counts:
        """The counts of `pack`'s list."""
        zones, lines = packed
        return cls(
            {name: {label: LabelCounts(*c) for label, c in labels.items()} for name, labels in zones.items()},
            {name: {label: LineCounts(*c) for label, c in labels.items()} for name, labels in lines.items()},
        )


def _counted(labels: dict[str, Any], label: str) -> str:
    return label if label in labels or len(labels) < MAX_COUNTED_LABELS else OTHER
