"""Made-up clips: what a detector would see of people who walk, as the results of one stream."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.events.analysis import StreamAnalysis
from elastic_inference.domain.events.event import Event
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.result import Detection, Result
from tests.support.results import make_result

STREAM = "cam:people:inferred"
START_MS = 1_790_000_000_000.0
XY = tuple[float, float]
Walk = Callable[[float], XY | None]  # where somebody's foot is at a time, or None where nobody sees it


def person(foot: XY, confidence: float = 0.9, height: float = 0.3) -> Detection:
    """A person whose foot is there."""
    x, y = foot
    return Detection("person", 1, confidence, (x - height / 6, y - height, x + height / 6, y))


def path(points: Sequence[tuple[float, float, float]]) -> Walk:
    """A walk through (time, x, y), straight between them, nobody before and after."""

    def where(at_s: float) -> XY | None:
        for (t0, x0, y0), (t1, x1, y1) in itertools.pairwise(points):
            if t0 <= at_s <= t1:
                share = (at_s - t0) / (t1 - t0)
                return x0 + share * (x1 - x0), y0 + share * (y1 - y0)
        return None

    return where


def clip(walks: Iterable[Walk], seconds: float, fps: float = 10.0) -> Iterator[tuple[Result, float]]:
    """(result, time in ms) of each frame."""
    walkers = list(walks)
    for n in range(int(seconds * fps) + 1):
        feet = [foot for walk in walkers if (foot := walk(n / fps)) is not None]
        yield frame(n + 1, map(person, feet)), START_MS + n * 1000.0 / fps


def frame(order: int, detections: Iterable[Detection]) -> Result:
    """A result of the stream."""
    return make_result(stream=STREAM, order=order, detections=tuple(detections))


def analysis(rules: Mapping[str, Any] | CameraRules, epoch: int = 1, state: bytes | None = None) -> StreamAnalysis:
    """An analysis of the stream; `rules` as in a camera's specification."""
    made = rules if isinstance(rules, CameraRules) else camera_rules(rules)
    return StreamAnalysis(STREAM, epoch, made, state)


def camera_rules(rules: Mapping[str, Any]) -> CameraRules:
    """The rules of the zones and lines of a camera's specification."""
    return CameraSpec.model_validate({"name": "cam", "url": "rtsp://10.0.0.7/", **rules}).rules


def play(stages: StreamAnalysis, frames: Iterable[tuple[Result, float]]) -> list[Event]:
    """The events of a clip."""
    return [event for result, at_ms in frames for event in stages.on_result(result, at_ms)[1]]
