"""Speed of a pod: frames a second from queue to published result, divided by OpenVINO's own asynchronous throughput.

The pod, Valkey and the feeder are processes on the same cores, unless a case pins them apart. Each round measures
every variant once, one after another. `python -m tests.bench --only pod` runs it; `--case` picks cases.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.flows.inference.warm_up import synthetic_frame
from tests.bench.parts_alone import parts_cpu_ms
from tests.bench.pod_children import LOOP_TYPE
from tests.bench.pod_processes import Feeder, Measured, Pod, running_pod
from tests.bench.record import Context, Figure, LeftOut, alternate, median_figure, ratios, rss_mb

PART = "pod"
MARGIN = 0.04


@dataclass(frozen=True)
class Case:
    """A model, the size of the frames (w, h), and the bar of the ratio; None: the ceiling of the parts minus MARGIN."""

    model: str
    size: tuple[int, int]
    minimum: float | None = None
    loop_minimum: float | None = None
    # Feeder and Valkey on the first core; the pod, or OpenVINO alone, on the others.
    apart: bool = False
    # Of this build's CPU time beyond the engine's own, divided by that of the build before (see `pod_cost`).
    beyond_maximum: float | None = None
    # Also: all streams watched, a legacy producer, openvino-model-api's pipeline.
    variants: bool = False
    rounds: int = 5

    @property
    def name(self) -> str:
        """As shown in the table."""
        short = self.model.removesuffix("_INT8").removesuffix("_FP32").removesuffix("_FP16")
        precision = self.model[len(short) + 1 :] or "FP16"
        short = short.replace("-detection-retail", "").replace("person-vehicle-bike-detection-", "")
        return f"{short} {precision} {self.size[0]}x{self.size[1]}{', apart' if self.apart else ''}"


CASES = (
    Case("face-detection-retail-0005_FP32", (768, 432), 0.90, 1.4, beyond_maximum=0.75, variants=True),
    Case("face-detection-retail-0005_FP32", (1280, 720), 0.86, 1.4, beyond_maximum=0.9),
    Case("face-detection-retail-0005_INT8", (768, 432), None, 1.4, beyond_maximum=0.75),
    Case("face-detection-retail-0005_INT8", (1280, 720), None, 1.4, beyond_maximum=0.9),
    Case("person-vehicle-bike-detection-crossroad-0078_INT8", (768, 432), 0.95),
    Case("blazeface", (768, 432), beyond_maximum=0.9),
    Case("face-detection-retail-0005_FP32", (768, 432), apart=True, rounds=3),
)


def run(context: Context, wanted: str = "", seconds: float = 2.0) -> Iterator[Figure | LeftOut]:
    """The figures of all cases whose name contains `wanted`."""
    for case in CASES:
        if wanted and wanted not in case.name:
            continue
        models = context.embedded if case.model == "blazeface" else context.models
        if not has_model(case, models):
            yield LeftOut(PART, f"{case.name}: the model is missing")
        elif case.apart and len(os.sched_getaffinity(0)) < 2:
            yield LeftOut(PART, f"{case.name}: one core only")
        else:
            yield from CaseRun(case, models, context, context.seconds(seconds)).figures()


def has_model(case: Case, models: Path) -> bool:
    """Whether the model of the case is there."""
    return (models / case.model.rpartition("_")[0]).is_dir() if "_" in case.model else (models / case.model).is_dir()


class CaseRun:
    """One case: its processes, its rounds, and its figures."""

    def __init__(self, case: Case, models: Path, context: Context, seconds: float) -> None:
        self._case, self._models = case, models
        self._seconds, self._rounds = seconds, context.rounds(case.rounds)
        self._jpegs = load_jpegs(case.size, context.videos)
        cores = sorted(os.sched_getaffinity(0))
        self._feeder_cores, self._pod_cores = (cores[:1], cores[1:]) if case.apart else (cores, cores)
        self._children: dict[str, Measured] = {}
        self._feeders: dict[str, Feeder] = {}

    def figures(self) -> Iterator[Figure]:
        """Starts all processes, measures in alternating rounds, and compares."""
        with ExitStack() as stack:
            server = stack.enter_context(EmbeddedValkey())
            assert server.pid is not None
            os.sched_setaffinity(server.pid, self._feeder_cores)
            self._start_others(stack, server)
            pod = stack.enter_context(running_pod(server, self._case.model, self._models, self._pod_cores))
            ways = self._ways(pod)
            for way in ways.values():
                way()  # warms up
            self._children["alone"].cpu_ms.clear()
            pod.shares.clear()
            fps = dict(zip(ways, alternate(self._rounds, *ways.values()), strict=True))
            resident_mb = rss_mb(pod.process.pid)
        yield self._over_alone(fps, pod.shares, resident_mb)
        for name, words in (
            ("watched", "all watched, over OpenVINO alone"),
            ("legacy", "legacy producer, over OpenVINO alone"),
            ("loop", "straightforward loop over OpenVINO alone"),
            ("pipeline", "model-api AsyncPipeline over OpenVINO alone"),
        ):
            if name in fps:
                yield median_figure(PART, f"{self._case.name} {words}", ratios(fps[name], fps["alone"]))
        if "loop" in fps:
            title, bar = f"{self._case.name} over the straightforward loop", self._case.loop_minimum
            yield median_figure(PART, title, ratios(fps["pod"], fps["loop"]), unit="times", minimum=bar)

    def _start_others(self, stack: ExitStack, server: EmbeddedValkey) -> None:
        case = self._case
        names = ["alone"] if case.apart else ["alone", "loop"]
        if case.variants and _has_model_api():
            names.append("pipeline")
        for name in names:
            child = Measured(name, case.model, self._models, server, self._pod_cores)
            self._children[name] = stack.enter_context(child)
        forms: dict[str, dict[str, Any]] = {"scripts": {}}
        if case.variants:
            forms["legacy"] = {"legacy": True}
        if not case.apart:
            forms["loop"] = {"legacy": True, "kind": LOOP_TYPE}
        for name, form in forms.items():
            feeder = Feeder(server, self._jpegs, self._feeder_cores, **form)
            self._feeders[name] = stack.enter_context(feeder)

    def _ways(self, pod: Pod) -> dict[str, Callable[[], float]]:
        """What is measured in each round, by name."""
        children, feeders, seconds = self._children, self._feeders, self._seconds
        ways: dict[str, Callable[[], float]] = {
            "alone": lambda: children["alone"].measure(seconds),
            "pod": lambda: pod.measure(feeders["scripts"], seconds),
        }
        for name in [each for each in children if each != "alone"]:
            ways[name] = lambda name=name: feeders["loop"].during(lambda: children[name].measure(seconds))
        if self._case.variants:
            ways["watched"] = lambda: pod.measure(feeders["scripts"], seconds, watched=True)
            ways["legacy"] = lambda: pod.measure(feeders["legacy"], seconds)
        return ways

    def _over_alone(self, fps: dict[str, list[float]], shares: list[dict[str, float]], resident_mb: float) -> Figure:
        case = self._case
        alone_ms = statistics.median(self._children["alone"].cpu_ms)
        cpu_ms = {name: round(statistics.median(share[name] for share in shares), 3) for name in shares[0]}
        parts = parts_cpu_ms(case.model, self._models, self._jpegs)
        # All cores are busy: the engine's share of the CPU time is the ceiling. Apart, Valkey and feeder do not count.
        around = sum(parts.values()) - (parts["server"] + parts["push"] if case.apart else 0.0)
        ceiling = alone_ms / (alone_ms + around)
        minimum = case.minimum if case.minimum is not None or case.apart else round(ceiling - MARGIN, 3)
        details = {
            "fps": round(statistics.median(fps["pod"]), 1),
            "alone_fps": round(statistics.median(fps["alone"]), 1),
            "ceiling_of_the_parts": round(ceiling, 3),
            "parts_cpu_ms": {name: round(value, 3) for name, value in parts.items()},
            "alone_cpu_ms_per_frame": round(alone_ms, 3),
            "cpu_ms_per_frame": cpu_ms,
            "over_alone_by_cpu_time": round(alone_ms / sum(cpu_ms.values()), 3),
            "resident_mb": round(resident_mb, 1),
            "jpeg_bytes": round(statistics.mean(map(len, self._jpegs))),
        }
        found = ratios(fps["pod"], fps["alone"])
        return median_figure(PART, f"{case.name} over OpenVINO alone", found, minimum=minimum, details=details)


def _has_model_api() -> bool:
    return find_spec("model_api") is not None


def load_jpegs(size: tuple[int, int], videos: Path, count: int = 32) -> list[bytes]:
    """JPEGs of quality 80 of this size (w, h): frames of the first clip of `videos`, or synthetic ones."""
    clips = sorted(each for each in videos.iterdir() if each.suffix in (".mp4", ".gif")) if videos.is_dir() else []
    if not clips:
        return [synthetic_frame(size, seed).data for seed in range(count)]
    clip = next((each for each in clips if "face" in each.name), clips[0])
    reader = cv2.VideoCapture(str(clip))
    jpegs = []
    while len(jpegs) < count:
        good, image = reader.read()
        if not good:
            break
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        jpegs.append(simplejpeg.encode_jpeg(np.ascontiguousarray(image), 80, "BGR", "420"))
    reader.release()
    return jpegs
