"""The camera pool beside the build before it: CPU of the whole chain for one frame, and memory of one more camera.

`python -m tests.bench --only cameras [--before FOLDER]` runs it, for at most six minutes. RTSP cameras of H.264 at
15 fps on loopback, Redis, one pod of face-0005, and for watched streams a reader. Rounds alternate between the builds.
Without another build, the ratios are left out.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.bench import camera_peers
from tests.bench.camera import CLIP
from tests.bench.camera_chain import MODEL, Chain, Sample, memory_mb
from tests.bench.camera_videos import FPS, SIZES, videos
from tests.bench.pod_processes import Measured
from tests.bench.record import Context, Figure, LeftOut, median_figure
from tests.support.ports import free_port
from tests.support.rtsp_cameras import RtspCameras
from tests.support.rtsp_server import available

PART = "cameras"
CAMERAS = 8
# No round begins later than this after the first one.
ROUNDS_WITHIN_S = 180.0
Key = tuple[str, bool]


class Way(NamedTuple):
    """One thing that is measured. With `fields` a source worker runs the cameras, else a service for each."""

    name: str
    before: bool
    scene: str
    fields: dict[str, Any] | None
    watched: tuple[bool, ...] = (False,)
    settle_s: float = 2.5


# After the last change of the scene, the gate needs some seconds.
_GATED = {"gate": "motion", "size": "auto"}
_NOW = (
    Way("full size", False, "moving", {"size": "source"}, (False, True)),
    Way("auto", False, "moving", {"size": "auto"}, settle_s=4.0),
    Way("quiet, gated", False, "quiet", _GATED, settle_s=8.0),
)
_BEFORE = (
    Way("before", True, "moving", None, (False, True)),
    Way("before, quiet", True, "quiet", None),
)
_SINGLE = Way("a service for each", False, "moving", None)

# What is divided by what, which part of the chain (None: all of it), and the bar.
_RATIOS: tuple[tuple[str, Key, Key, str | None, float], ...] = (
    ("full size, watched", ("full size", True), ("before", True), None, 0.88),
    ("full size, watched: source side", ("full size", True), ("before", True), "source", 0.78),
    ("size auto, nobody watches", ("auto", False), ("before", False), None, 0.68),
    ("size auto, nobody watches: source side", ("auto", False), ("before", False), "source", 0.60),
    ("quiet scene, gated", ("quiet, gated", False), ("before, quiet", False), None, 0.10),
)
_MEMORY_BARS = {"1080p": 32.0, "720p": 16.0}


def figures(context: Context) -> Iterator[Figure | LeftOut]:
    """The table's lines."""
    if not (context.models / MODEL.rpartition("_")[0]).is_dir() or not (context.videos / CLIP).is_file():
        yield LeftOut(PART, f"{MODEL} or the clip {CLIP} is missing")
    elif not available() or shutil.which("ffmpeg") is None:
        yield LeftOut(PART, "ffmpeg or GStreamer's RTSP server, which are the cameras, are missing")
    else:
        with tempfile.TemporaryDirectory(prefix="ei-bench-") as folder:
            yield from _Run(context, Path(folder)).figures()


class _Run:
    """One run: its cameras, its chains, and its samples by size, way and whether watched."""

    def __init__(self, context: Context, folder: Path) -> None:
        self._context, self._folder = context, folder
        cores = len(os.sched_getaffinity(0))
        # What fits: without AVX-512 the former chain needs 0.65 cores for each camera of 1080p.
        self._count = max(2, min(CAMERAS, cores))
        self._seconds = context.seconds(4.0)
        self._samples: dict[tuple[str, str, bool], list[Sample]] = {}

    def figures(self) -> Iterator[Figure | LeftOut]:
        context = self._context
        before: Path | None = None
        try:
            before = context.before or camera_peers.build_before()
        except camera_peers.Unavailable as error:
            yield LeftOut(PART, f"the build before: {error}")
        with ExitStack() as stack:
            clips = videos(context.videos / CLIP)
            server = RtspCameras(free_port(), self._folder, clips, CAMERAS)
            self._cameras = stack.enter_context(server)
            with ExitStack() as chains:
                now = chains.enter_context(Chain(self._folder, context.models))
                then = before and chains.enter_context(Chain(self._folder, context.models, before))
                self._measure("1080p", now, then, context.rounds(3))
                yield from self._ratios()
                yield from self._absolute("1080p")
                self._measure("720p", now, None, 1)
                yield from self._absolute("720p")
                yield from self._memory(now, then)
            yield from self._alone()
            yield from self._roboflow()

    def _measure(self, size: str, now: Chain, then: Chain | None, rounds: int) -> None:
        ways = [*_NOW, *(_BEFORE if then is not None else ())]
        if size != "1080p":
            ways = [way._replace(watched=(False,)) for way in ways]
        began = time.monotonic()
        for number in range(rounds):
            if time.monotonic() - began > ROUNDS_WITHIN_S:
                break  # a busy machine: the whole part must not take all day
            scenes = [way for way in ways if way.scene == "moving" or number < 2]
            for way in scenes if number % 2 == 0 else reversed(scenes):
                self._one(size, way, then if way.before and then is not None else now)
            if number == 0 and size == "1080p":
                self._one(size, _SINGLE, now)

    def _one(self, size: str, way: Way, chain: Chain) -> None:
        urls = [self._url(size, way.scene, number) for number in range(self._count)]
        with chain.cameras(urls, way.fields, way.settle_s) as cameras:
            for watched in way.watched:
                gated = way.scene == "quiet" and not way.before
                found = chain.measure(cameras, self._count, FPS, self._seconds, watched=watched, gated=gated)
                self._samples.setdefault((size, way.name, watched), []).append(found)

    def _url(self, size: str, scene: str, number: int) -> str:
        return self._cameras.url(f"{size}-{scene}", number)

    def _ratios(self) -> Iterator[Figure]:
        for name, mine, other, part, bar in _RATIOS:
            pairs = zip(self._samples[("1080p", *mine)], self._samples.get(("1080p", *other), ()), strict=False)
            found = [_of(one, part) / _of(two, part) for one, two in pairs]
            if found:
                yield median_figure(PART, f"1080p, {name}: CPU over the build before", found, maximum=bar)

    def _absolute(self, wanted: str) -> Iterator[Figure]:
        for (size, way, watched), found in self._samples.items():
            if size != wanted:
                continue
            parts = {part: round(statistics.median(each.ms[part] for each in found), 3) for part in found[0].ms}
            yield median_figure(
                PART,
                f"{size}, {way}{', watched' if watched else ''}: CPU for one frame",
                [each.sum for each in found],
                unit="ms",
                details={**parts, "inferred": round(statistics.median(each.inferred for each in found), 3)},
            )

    def _memory(self, now: Chain, then: Chain | None) -> Iterator[Figure]:
        many = 4 if self._context.quick else CAMERAS
        for size in SIZES:

            def url(number: int, size: str = size) -> str:
                return self._url(size, "slow", number)

            name = f"{size}: memory for one more camera"
            mine = memory_mb(now, url, {"size": "source", "processes": 1}, 1, many)
            yield Figure(PART, name, round(mine, 1), "MB", maximum=_MEMORY_BARS[size])
            if then is not None:
                yield Figure(PART, f"{name}, before", round(memory_mb(then, url, None, 1, 3), 1), "MB")

    def _alone(self) -> Iterator[Figure]:
        def decoding(size: str) -> Callable[[], float]:
            return lambda: camera_peers.decode_alone_ms(self._url(size, "moving", 0), self._seconds)

        for size in SIZES:
            found = [decoding(size)() for _ in range(2)]
            yield median_figure(PART, f"{size}: decoding alone, CPU for one frame", found, unit="ms")
        cores = sorted(os.sched_getaffinity(0))
        with EmbeddedValkey() as valkey, Measured("alone", MODEL, self._context.models, valkey, cores) as child:
            for _ in range(2):
                child.measure(1.5)
            yield median_figure(PART, "inference alone, CPU for one frame", child.cpu_ms, unit="ms")

    def _roboflow(self) -> Iterator[Figure | LeftOut]:
        if self._context.quick:
            return
        urls = [self._url("1080p", "moving", number) for number in range(2)]
        try:
            found = camera_peers.roboflow(self._context.models, MODEL, urls, 2 * self._seconds)
        except camera_peers.Unavailable as error:
            yield LeftOut(PART, str(error))
            return
        details = {"fps": round(found["fps"], 1), "pss_mb": round(found["pss_mb"])}
        name = "1080p, Roboflow's InferencePipeline: CPU for one frame"
        yield Figure(PART, name, round(found["cpu_ms"], 2), "ms", details=details)
        ratios = [each.sum / found["cpu_ms"] for each in self._samples[("1080p", "auto", False)]]
        yield median_figure(PART, "1080p, size auto: CPU over Roboflow's InferencePipeline", ratios, maximum=0.9)


def _of(sample: Sample, part: str | None) -> float:
    return sample.sum if part is None else sample.ms[part]
