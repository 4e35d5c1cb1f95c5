"""One run of a scenario, second by second, and the figures that judge it. Independent of the cluster."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.elasticity.scenarios import pods

# If a change affects the pods, it shows within this time.
DIP_S = 15.0


@dataclass
class Sample:
    """One second. `ratio` is the mean over the pods by Prometheus, `seen` the autoscaler's; None if unknown."""

    at_s: float
    demand_fps: float
    capacity_fps: float
    ratio: float | None
    seen: float | None
    replicas: int
    ready: int
    drop_fps: float


@dataclass(frozen=True)
class Wake:
    """The moments in which a type without pods woke, in seconds of the run; None for what has not happened.

    First frame in the queue; Deployment asked for a pod; the first Ready pod's creation, and Ready; first result read.
    """

    frame_s: float | None
    asked_s: float | None
    created_s: float | None
    ready_s: float | None
    result_s: float | None

    def after_frame_s(self, at_s: float | None) -> float | None:
        """Seconds from the first frame to a moment; None if one of them is unknown."""
        return None if at_s is None or self.frame_s is None else at_s - self.frame_s

    def start_s(self) -> float | None:
        """The first pod's own start, from creation to Ready."""
        return None if self.ready_s is None or self.created_s is None else self.ready_s - self.created_s


@dataclass(frozen=True)
class Models:
    """At one moment: which model each pod runs (`ei_model_info`), and why the wished one failed, by the API."""

    at_s: float
    running: dict[str, str]
    failure: str | None = None


@dataclass
class Run:
    """A scenario's outcome. `expected` is the right number of pods after `changed_at_s`.

    `start_s` is the longest start, from creation to Ready, of the pods that came after the demand's first change; 0
    if there are none. `gaps` has, for each second, the largest gap in a stream that ended in it; `disordered` counts
    results that were not in their stream's order, or came twice. Both, and `models`, are for `model-switch`.
    """

    name: str
    autoscaler: str
    pod_fps: float
    start_s: float
    changed_at_s: float
    expected: int
    samples: list[Sample] = field(default_factory=list)
    pushed: int = 0
    inferred: int = 0
    lost: int = 0
    refused: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    simulated: dict[str, Any] = field(default_factory=dict)
    wake: Wake | None = None
    models: list[Models] = field(default_factory=list)
    gaps: dict[int, float] = field(default_factory=dict)
    disordered: int = 0

    def settled_s(self) -> float | None:
        """From the change until the expected number of pods was Ready and stayed so; None if it never was."""
        found: float | None = None
        for each in self.samples:
            if each.at_s < self._dip_s() or each.replicas < 0:
                continue
            if not each.replicas == each.ready == self.expected:
                found = None
            elif found is None:
                found = each.at_s - self.changed_at_s
        return found

    def reached_s(self) -> float | None:
        """From the change until the expected number was Ready for the first time."""
        for each in self.samples:
            if each.at_s >= self._dip_s() and each.replicas == each.ready == self.expected:
                return each.at_s - self.changed_at_s
        return None

    def _dip_s(self) -> float:
        """When the change shows in the pods: a killed one is counted for a second or two more."""
        for each in self.samples:
            late_s = each.at_s - self.changed_at_s
            if 0 <= late_s <= DIP_S and each.ready < self.expected:
                return each.at_s
        return self.changed_at_s

    def woken_s(self) -> float | None:
        """From the first demand to the first Ready pod of a type that had none; None if it had some, or got none."""
        asked_s = next((each.at_s for each in self.samples if each.demand_fps > 0), 0.0)
        if any(each.replicas for each in self.samples if each.at_s < asked_s) or not self.samples[0].at_s < asked_s:
            return None
        later = (each.at_s for each in self.samples if each.at_s >= asked_s and each.ready > 0)
        found = next(later, None)
        return None if found is None else found - asked_s

    def in_the_end(self) -> int:
        """Pods that were Ready in the last sample."""
        return self.samples[-1].ready

    def peak(self) -> int:
        """The highest number of pods that was wanted."""
        return max((each.replicas for each in self.samples), default=0)

    def overshoot(self) -> int:
        """Pods beyond both the first number and what the highest demand needs."""
        before = next((each.replicas for each in self.samples if each.replicas >= 0), 0)
        highest = max((each.demand_fps for each in self.samples), default=0.0) / self.pod_fps
        return max(0, self.peak() - max(self.expected, before, pods(highest)))

    def changes(self) -> list[tuple[float, int, int]]:
        """(second, from, to) of each change of the wanted number of pods."""
        known = [each for each in self.samples if each.replicas >= 0]
        return [
            (after.at_s, before.replicas, after.replicas)
            for before, after in itertools.pairwise(known)
            if before.replicas != after.replicas
        ]

    def oscillations(self) -> int:
        """Changes of direction. The scenario's `turns` are those of the demand itself."""
        signs = [1 if after > before else -1 for _, before, after in self.changes()]
        return sum(first != second for first, second in itertools.pairwise(signs))

    def unaccounted(self) -> int:
        """Frames pushed that were neither inferred nor counted as dropped or lost."""
        return self.pushed - self.inferred - self.lost - sum(self.dropped.values())

    def as_dict(self) -> Mapping[str, Any]:
        """Ready for JSON, with the figures."""
        return {
            **asdict(self),
            "settled_s": self.settled_s(),
            "reached_s": self.reached_s(),
            "peak": self.peak(),
            "overshoot": self.overshoot(),
            "oscillations": self.oscillations(),
            "changes": self.changes(),
            "unaccounted": self.unaccounted(),
        }


def from_dict(document: Mapping[str, Any]) -> Run:
    """A run from its JSON."""
    names = Run.__dataclass_fields__
    run = Run(**{key: value for key, value in document.items() if key in names})
    run.samples = [Sample(**each) for each in document["samples"]]
    if document.get("wake") is not None:
        run.wake = Wake(**document["wake"])
    run.models = [Models(**each) for each in document.get("models", ())]
    run.gaps = {int(second): gap for second, gap in document.get("gaps", {}).items()}
    return run
