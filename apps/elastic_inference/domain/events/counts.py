"""The counters of a stream's zones and lines. They are part of the stream's state, so they survive restarts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Labels of one zone or line beyond this number are counted together.
MAX_COUNTED_LABELS = 32
OTHER = "other"


_MAX_COUNT = 2**53


@dataclass(slots=True)
class LabelCounts:
    """The counters of one label in a zone. `peak` and `stay_s`: most present, and the longest stay, since `take`."""

    present: int = 0
    entered: int = 0
    left: int = 0
    longest_s: float = 0.0
    peak: int = 0
    stay_s: float = 0.0

    def enter(self) -> None:
        """One more is inside."""
        self.entered += 1
        self.present += 1
        self.peak = max(self.peak, self.present)

    def leave(self) -> None:
        """One has left."""
        self.left += 1
        self.present -= 1

    def stay(self, seconds: float) -> None:
        """One has been inside for so long."""
        self.longest_s = max(self.longest_s, seconds)
        self.stay_s = max(self.stay_s, seconds)

    def take(self) -> tuple[int, float]:
        """`peak` and `stay_s`, which then begin again."""
        found = (self.peak, self.stay_s)
        self.peak, self.stay_s = self.present, 0.0
        return found


@dataclass(slots=True)
class LineCounts:
    """How often one label has crossed a line; `inward` is from left to right."""

    inward: int = 0
    outward: int = 0


@dataclass(slots=True)
class Counts:
    """The counters by zone or line, then by label."""

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
        """The counts of `pack`'s list. Raises ValueError or TypeError for anything else."""
        zones, lines = packed
        return cls(
            {str(name): {str(label): _zone(c) for label, c in labels.items()} for name, labels in zones.items()},
            {str(name): {str(label): _line(c) for label, c in labels.items()} for name, labels in lines.items()},
        )


def _zone(packed: list[Any]) -> LabelCounts:
    present, entered, left, longest_s = packed
    inside = _count(present)
    return LabelCounts(inside, _count(entered), _count(left), min(_number(longest_s), float(_MAX_COUNT)), inside)


def _line(packed: list[Any]) -> LineCounts:
    inward, outward = packed
    return LineCounts(_count(inward), _count(outward))


def _count(value: object) -> int:
    return int(min(_number(value), _MAX_COUNT))


def _number(value: object) -> float:
    # Not a number compares as nothing.
    if type(value) not in (int, float) or not value >= -_MAX_COUNT:  # type: ignore[operator]
        raise ValueError("expected a number of counts")
    return max(0, value)  # type: ignore[call-overload, no-any-return]


def _counted(labels: dict[str, Any], label: str) -> str:
    return label if label in labels or len(labels) < MAX_COUNTED_LABELS else OTHER
