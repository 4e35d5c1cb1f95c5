"""One figure of a benchmark with its bar, and the arithmetic of alternating rounds. Independent of parts and output."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

MISSED, MET, SHOWN = "missed", "met", ""


@dataclass(frozen=True)
class Figure:
    """A line of the table.

    `value` is a median if there is a `spread` (the distance between its quartiles); `minimum` or `maximum` is the bar.
    `rounds` are the single values, `details` are other measurements.
    """

    part: str
    name: str
    value: float
    unit: str = ""
    spread: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    rounds: tuple[float, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Whether the bar is met; a value that rounds to its bar meets it. Empty without a bar."""
        if self.minimum is not None:
            return MET if round(self.value, 3) >= self.minimum else MISSED
        if self.maximum is not None:
            return MET if round(self.value, 3) <= self.maximum else MISSED
        return SHOWN

    @property
    def bar(self) -> str:
        """The bar in words."""
        if self.minimum is not None:
            return f">= {self.minimum:g}"
        return "" if self.maximum is None else f"<= {self.maximum:g}"

    def as_json(self) -> dict[str, Any]:
        """For the JSON file."""
        return {**asdict(self), "verdict": self.verdict}


class LeftOut(NamedTuple):
    """A part that could not be measured here, and why."""

    part: str
    reason: str


@dataclass(frozen=True)
class Context:
    """The parts' input: folders of models and clips, and whether to measure for a short time only."""

    models: Path
    embedded: Path
    videos: Path
    quick: bool = False
    before: Path | None = None  # another build to compare with, with its own `.venv`

    def rounds(self, full: int) -> int:
        """The number of rounds: at least three, or two in a quick run."""
        return 2 if self.quick else max(3, full)

    def seconds(self, full: float) -> float:
        """Length of one measurement."""
        return full / 2 if self.quick else full


def spread_of(values: Sequence[float]) -> float:
    """Distance between the quartiles."""
    if len(values) < 2:
        return 0.0
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return upper - lower


def median_figure(part: str, name: str, values: Sequence[float], **rest: Any) -> Figure:
    """The median of rounds as a figure."""
    rounded = tuple(round(value, 4) for value in values)
    return Figure(
        part, name, round(statistics.median(values), 4), spread=round(spread_of(values), 4), rounds=rounded, **rest
    )


def alternate(rounds: int, *ways: Callable[[], float]) -> list[list[float]]:
    """Measures each variant once per round, in reverse order in odd rounds; returns a list per variant."""
    found: list[list[float]] = [[] for _ in ways]
    for number in range(rounds):
        order = range(len(ways)) if number % 2 == 0 else reversed(range(len(ways)))
        for at in order:
            found[at].append(ways[at]())
    return found


def ratios(mine: Sequence[float], bare: Sequence[float]) -> list[float]:
    """Mine divided by bare, round by round."""
    return [one / other for one, other in zip(mine, bare, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, its ended threads included, by the scheduler's own count."""
    return time.clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid(3) does


def waited_s(pid: int) -> float:
    """Seconds that the threads of a process were ready and had no core: how much other programs held it up."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[1]) for each in tasks) / 1e9


def rss_mb(pid: int) -> float:
    """Resident memory of a process, MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def pss_mb(pid: int) -> float:
    """Proportional memory of a process, MB: what it shares with others counts in shares."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0]) * 1024 / 1e6


def descriptors(pid: int) -> int:
    """Open file descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))
