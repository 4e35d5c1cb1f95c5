"""What each camera costs: as measured, or else as expected from the measured ones. Pure; called by `writer`.

Statuses are input from outside: no value of them may change an estimate much.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from elastic_inference.domain.camera import COST_ESTIMATE, CameraSpec, CameraState, CameraStatus

# In CPU seconds a second. More counts as this: a wrong value must not keep a camera from running for good.
MAX_CAMERA_COST = 4.0
# Estimates lie between a sixteenth of the first one and four times that.
_LOWEST, _HIGHEST = COST_ESTIMATE / 16, 4 * COST_ESTIMATE
# A camera with more frames a second or larger frames than a measured one is expected to cost more, up to this factor.
_MOST_WORK = 8.0
# More measured cameras of a kind say nothing new.
_MAX_SAMPLES = 128
_RUNS = (CameraState.LIVE, CameraState.QUIET)


@dataclass(frozen=True, slots=True)
class Sample:
    """A camera that has been measured. `pixels` is the size of its frames, 0 if unknown."""

    cost: float
    fps: float
    pixels: int


class ExpectedCosts:
    """The costs of a pool's cameras."""

    def __init__(self) -> None:
        self._measured: dict[str, float] = {}

    def note(
        self, cameras: Iterable[CameraSpec], statuses: Mapping[str, CameraStatus]
    ) -> dict[str, tuple[float, bool]]:
        """(cost, whether it is known) of each camera, in CPU seconds a second.

        Known is what was measured, now or before a restart, a move or a pause, and what follows from other cameras. A
        cost that is not known is the first estimate, `COST_ESTIMATE`.
        """
        specs = {spec.name: spec for spec in cameras}
        found = {name: min(each.cost, MAX_CAMERA_COST) for name, each in statuses.items() if each.cost > 0}
        self._measured = {name: cost for name, cost in (self._measured | found).items() if name in specs}
        by_kind: dict[object, list[Sample]] = {}
        for name, status in statuses.items():
            spec = specs.get(name)
            if spec is not None and name in found and status.state in _RUNS:
                samples = by_kind.setdefault(_kind(spec), [])
                if len(samples) < _MAX_SAMPLES:
                    samples.append(Sample(found[name], spec.fps, (status.width or 0) * (status.height or 0)))
        every = [sample for samples in by_kind.values() for sample in samples]
        expected: dict[object, tuple[float, bool]] = {}
        costs = {}
        for name, spec in specs.items():
            if (cost := self._measured.get(name)) is not None:
                costs[name] = cost, True
                continue
            work = _kind(spec), spec.fps, spec.width, spec.height
            if work not in expected:
                samples = by_kind.get(_kind(spec), every[:_MAX_SAMPLES])
                expected[work] = _expect(spec, samples), bool(samples)
            costs[name] = expected[work]
        return costs


def _kind(spec: CameraSpec) -> object:
    return spec.gate, spec.size, spec.substream is not None, spec.is_file


def _expect(spec: CameraSpec, samples: Iterable[Sample]) -> float:
    """The median. The first estimate counts as one more sample, so that a single strange value is outvoted soon."""
    pixels = (spec.width or 0) * (spec.height or 0)
    costs = [COST_ESTIMATE]
    for sample in samples:
        work = spec.fps / sample.fps
        if pixels and sample.pixels:
            work *= max(1.0, pixels / sample.pixels)
        costs.append(max(_LOWEST, min(sample.cost * max(1.0, min(work, _MOST_WORK)), _HIGHEST)))
    return statistics.median(costs)
