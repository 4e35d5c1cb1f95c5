"""One stream behind several pods of uneven speed: results finish out of order, some frames are dropped, pods die.

A simulation without processes: arrivals with their times, then `Sequence` and `StreamAnalysis` as the event service
uses them. Frames that the queue drops are never numbered; those in the hands of a killed pod leave gaps.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from elastic_inference.domain.events.analysis import StreamAnalysis
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.result import Detection, Result
from elastic_inference.domain.sequence import Sequence as Order
from tests.support.results import make_result
from tests.tracking.scenes import FPS, FRAMES, read

STREAM = "street:people:inferred"
START_MS = 1_790_000_000_000.0
WINDOW_S = 1.0
_SLOWEST_MS = 120.0
_INFER_MS = 60.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A result as it reaches the event worker: when, the frame's number in the scene, its capture time."""

    at_ms: float
    frame: int
    captured_ms: float
    result: Result


@dataclass(frozen=True, slots=True)
class Tracked:
    """What a worker made of one frame: (box, track) of each detection that has one."""

    frame: int
    boxes: tuple[tuple[tuple[float, ...], str], ...]


def arrivals(pods: int, seed: int, drops: float = 0.05, killed: bool = False) -> list[Arrival]:
    """The results of the scene in the order in which the pods finish."""
    chance, scene = random.Random(seed), read("det")  # noqa: S311  no secret
    free_ms = [0.0] * pods
    slower_ms = [_SLOWEST_MS * n / max(pods - 1, 1) for n in range(pods)]
    dies_ms = START_MS + 1000.0 * FRAMES / FPS / 2 if killed else float("inf")
    found, order = [], 1000
    for number in range(1, FRAMES + 1):
        captured_ms = START_MS + (number - 1) * 1000.0 / FPS
        if chance.random() < drops:
            continue
        order += 1
        pod = min(range(pods), key=lambda each: (free_ms[each], chance.random()))
        took_ms = max(free_ms[pod], captured_ms)
        done_ms = took_ms + _INFER_MS + slower_ms[pod] + chance.uniform(0, 40)
        # Several frames are in flight in each pod, so it takes the next one long before it has finished this one.
        free_ms[pod] = took_ms + 20.0
        if pod == pods - 1 and took_ms <= dies_ms < done_ms:
            free_ms[pod] = float("inf")
            continue
        if free_ms[pod] > dies_ms and pod == pods - 1:
            free_ms[pod] = float("inf")
        detections = tuple(Detection("person", 1, min(c, 1.0), box) for _, c, box in scene[number])
        result = make_result(stream=STREAM, order=order, seq=number, detections=detections)
        found.append(Arrival(done_ms, number, captured_ms, result))
    return sorted(found, key=lambda each: each.at_ms)


def in_order(found: Iterable[Arrival], rules: CameraRules | None = None) -> list[Tracked]:
    """What one process makes of the same frames, each at once and in order."""
    stages = StreamAnalysis(STREAM, 1, rules or CameraRules())
    ordered = sorted(found, key=lambda each: each.frame)
    return [_tracked(each, stages.on_result(each.result, each.captured_ms)[0]) for each in ordered]


def behind_pods(found: Sequence[Arrival], takeover: bool = False) -> tuple[list[Tracked], int]:
    """(what the event workers make of it, late results); with a takeover, another worker resumes in the middle.

    The new worker has the state and the order of the last checkpoint, and reads again what arrived since the oldest
    result that was not analysed.
    """
    half = len(found) // 2 if takeover else len(found)
    worker = _Worker(1)
    worker.read(found[:half])
    if takeover:
        worker = worker.successor()
        worker.read(found[half:])
    worker.finish()
    return worker.made, worker.late


class _Worker:
    """An event worker that has one stream."""

    def __init__(self, epoch: int, state: bytes | None = None) -> None:
        self.made: list[Tracked] = []
        self._before = 0
        self._epoch = epoch
        self._stages = StreamAnalysis(STREAM, epoch, CameraRules(), state)
        self._order: Order[Arrival] = Order(WINDOW_S)
        self._last = 0
        self._held: dict[int, Arrival] = {}

    @property
    def late(self) -> int:
        """Results whose place had passed, those of former workers included."""
        return self._before + self._order.late

    def read(self, arrivals: Iterable[Arrival]) -> None:
        """Takes results as they arrive."""
        for each in arrivals:
            now_s = each.at_ms / 1000.0
            self._held[each.result.order] = each
            self._analyse(self._order.expire(now_s))
            self._analyse(self._order.push(each.result.order, each, now_s, identity=each.frame))

    def finish(self) -> None:
        """Waits until no result is held back."""
        self._analyse(self._order.expire(float("inf")))

    def successor(self) -> _Worker:
        """The worker that resumes at the checkpoint, in the next epoch."""
        worker = _Worker(self._epoch + 1, self._stages.state())
        worker.made, worker._last, worker._before = self.made, self._last, self.late
        worker.read(sorted(self._held.values(), key=lambda each: each.at_ms))
        return worker

    def _analyse(self, passed: Iterable[Arrival]) -> None:
        for each in passed:
            del self._held[each.result.order]
            if each.result.order > self._last:
                self._last = each.result.order
                self.made.append(_tracked(each, self._stages.on_result(each.result, each.captured_ms)[0]))


def same_after_mapping(one: Sequence[Tracked], other: Sequence[Tracked]) -> bool:
    """Whether both have the same boxes, and each id of one is one id of the other."""
    to: dict[str, str] = {}
    back: dict[str, str] = {}
    if [each.frame for each in one] != [each.frame for each in other]:
        return False
    for a, b in zip(one, other, strict=True):
        if [box for box, _ in a.boxes] != [box for box, _ in b.boxes]:
            return False
        for (_, left), (_, right) in zip(a.boxes, b.boxes, strict=True):
            if to.setdefault(left, right) != right or back.setdefault(right, left) != left:
                return False
    return True


def _tracked(arrival: Arrival, result: Result) -> Tracked:
    return Tracked(
        arrival.frame,
        tuple((each.box, str(each.attributes["track"])) for each in result.detections if "track" in each.attributes),
    )
