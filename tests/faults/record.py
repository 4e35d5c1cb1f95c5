"""One row of the table of faults: the account of its frames, its bars and its verdict. Independent of the system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

BACK_WITHIN_S = 10.0
# The other streams may pause for this long: about ten times as long as on a quiet machine.
PAUSE_LIMIT_S = 3.0


@dataclass
class Account:
    """Frames since the start, or between two moments.

    `pushed` entered the queue, `refused` were discarded and counted by their producer. The rest are outcomes.
    """

    pushed: int = 0
    refused: int = 0
    inferred: int = 0
    dropped: int = 0
    invalid: int = 0
    lost: int = 0
    waiting: int = 0

    def since(self, before: Account) -> Account:
        """The frames between `before` and this account."""
        earlier = asdict(before)
        return Account(**{name: value - earlier[name] for name, value in asdict(self).items()})

    def missing(self) -> int:
        """Frames pushed without an outcome; below zero if there are more outcomes than frames."""
        return self.pushed - self.inferred - self.dropped - self.invalid - self.lost - self.waiting


def open_drops(counts: Any) -> int:
    """The drops in `{queue_<type>}:dropped`, which no pod has claimed yet."""
    found = (counts.get(reason, b"0") for reason in (b"queue_full", b"stale"))
    return sum(int(each) for each in found if each.isdigit())


class Unseen(NamedTuple):
    """What a service may have done after its counters were read and before it was killed: a busy machine takes seconds
    for that. `drops` are those that a pod has claimed, `frames` those that a camera has pushed."""

    drops: int
    frames: int


@dataclass
class Bar:
    """What must hold. `says` is the measured value. A missed bar fails the run only if `fails` is set.

    `own` bars belong to one fault alone.
    """

    what: str
    met: bool
    says: str = ""
    fails: bool = True
    own: bool = False

    def text(self) -> str:
        """In words."""
        return f"{self.what}: {self.says}" if self.says else self.what


@dataclass
class Allowance:
    """Outcomes that no counter can know, and why: frames or counts lost with a killed process, and the like."""

    missing: int = 0
    surplus: int = 0
    reasons: list[str] = field(default_factory=list)


@dataclass
class Row:
    """One fault. `pause_s` is the longest time without a result in any stream that it does not affect, if any."""

    group: str
    name: str
    back_s: float | None = None
    account: Account = field(default_factory=Account)
    allowance: Allowance = field(default_factory=Allowance)
    pause_s: float | None = None
    rss_mb: tuple[float, float] = (0.0, 0.0)
    descriptors: tuple[int, int] = (0, 0)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    took_s: float = 0.0
    skipped: str = ""

    def uncounted(self) -> int:
        """Frames that no counter has but that the fault explains; below zero if frames were counted twice."""
        missing = self.account.missing()
        if missing >= 0:
            return min(missing, self.allowance.missing)
        return -min(-missing, self.allowance.surplus)

    def unaccounted(self) -> int:
        """Frames that neither a counter nor the fault explains."""
        return self.account.missing() - self.uncounted()

    def missed(self) -> list[Bar]:
        """The bars that it missed."""
        return [bar for bar in self.bars if not bar.met]

    def fails(self) -> bool:
        """Whether this row fails the run."""
        return any(bar.fails for bar in self.missed())

    def verdict(self) -> str:
        """In words."""
        if self.skipped:
            return f"not tried: {self.skipped}"
        missed = [bar.text() for bar in self.missed()]
        return "missed: " + "; ".join(missed) if missed else "passed"

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON, with the figures that follow from it."""
        return {
            **asdict(self),
            "uncounted": self.uncounted(),
            "unaccounted": self.unaccounted(),
            "verdict": self.verdict(),
        }


def row_from_dict(document: Mapping[str, Any]) -> Row:
    """A row from its JSON."""
    known = {key: value for key, value in document.items() if key in Row.__dataclass_fields__}
    row = Row(**known)
    row.account = Account(**document["account"])
    row.allowance = Allowance(**document["allowance"])
    row.bars = [Bar(**each) for each in document["bars"]]
    row.rss_mb = (document["rss_mb"][0], document["rss_mb"][1])
    row.descriptors = (document["descriptors"][0], document["descriptors"][1])
    return row
