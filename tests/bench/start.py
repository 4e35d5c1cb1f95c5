"""What a start costs: CPU seconds of each service from exec until /readyz answers 200.

Pods start under a quota of 100m where the machine lets us set one (as root, with cgroup v1), since that is what an
autoscaler waits for. With `--before` another build starts in the same rounds. CPU seconds hardly depend on what else
runs; seconds by the clock do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.producers import CLIP
from tests.bench.record import Context, Figure, LeftOut, alternate, cpu_s, median_figure, ratios
from tests.support.mjpeg_server import MjpegServer
from tests.support.ratio import can_make_cgroups, quota_cgroup
from tests.support.system import ServiceProcess, System

PART = "start"
QUOTA = 0.1
ROUNDS = 5
BLAZEFACE, FACE = "blazeface_FP16", "face-detection-retail-0005_FP32"
# The bars of a pod over the build before, with a model that was kept compiled and without.
KEPT, COMPILED = 0.5, 0.7


# Bytecode is written by a build's first start, as it is in an image.
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True)
class Case:
    """A service with its settings; the build before starts without `new` settings. `bar` is over that build."""

    name: str
    kind: str
    settings: Mapping[str, str]
    new: Mapping[str, str]
    bar: float
    # None in a build that did not have the service.
    before: bool = True


def figures(context: Context) -> Iterator[Figure | LeftOut]:
    """The figures."""
    limited = can_make_cgroups()
    if not limited:
        yield LeftOut(PART, "pods under 100m need root and cgroup v1; they are measured without a quota")
    with System() as system, MjpegServer() as camera, tempfile.TemporaryDirectory(prefix="ei-bench-") as cache:
        for case in _cases(context, Path(cache), camera.url):
            if isinstance(case, LeftOut):
                yield case
            else:
                yield from _measured(case, context, system, limited and case.kind == "infer")


def _cases(context: Context, cache: Path, url: str) -> Iterator[Case | LeftOut]:
    for model, folder in ((BLAZEFACE, context.embedded), (FACE, context.models)):
        if not (folder / model.rpartition("_")[0]).is_dir():
            yield LeftOut(PART, f"{model}: the model is missing")
            continue
        settings = {"INFER_TYPE": "face", "INFER_MODEL_NAME": model, "INFER_MODEL_PATH": str(folder)}
        yield Case(f"{model}, compiled", "infer", settings, {}, COMPILED)
        yield Case(f"{model}, kept compiled", "infer", settings, {"MODEL_CACHE_DIR": str(cache)}, KEPT)
    camera = {"CAMERA": url, "STREAM_NAME": "gate", "INFER_TYPE": "face"}
    yield Case("camera", "camera", camera, {}, COMPILED)
    film = {"VIDEO_FILE": str(context.videos / CLIP), "STREAM_NAME": "lane", "INFER_TYPE": "face"}
    if (context.videos / CLIP).is_file():
        yield Case("file", "file", film, {}, COMPILED)
    yield Case("websocket server", "websocket", {"WEBSOCKET_PORT": "0"}, {}, COMPILED)
    yield Case("gateway", "gateway", {"GATEWAY_PORT": "0"}, {}, COMPILED)
    yield Case("housekeeping", "housekeeping", {}, {}, COMPILED, before=False)
    yield Case("event service", "events", {}, {}, COMPILED, before=False)


def _measured(case: Case, context: Context, system: System, limited: bool) -> Iterator[Figure]:
    def start(checkout: Path | None, settings: Mapping[str, str]) -> float:
        return _cpu_of_a_start(
            case.kind, {**ENVIRONMENT, "QUEUE_URL": system.valkey.url, **settings}, system.folder, checkout, limited
        )

    mine = {**case.settings, **case.new}
    start(None, mine)  # writes the model cache, and reads the files once
    quota = f" at {QUOTA:g} cores" if limited else ""
    if context.before is None or not case.before:
        values = [start(None, mine) for _ in range(context.rounds(ROUNDS))]
        yield median_figure(PART, f"{case.name}{quota}", values, unit="CPU s")
        return
    before = context.before
    start(before, case.settings)
    now, then = alternate(context.rounds(ROUNDS), lambda: start(None, mine), lambda: start(before, case.settings))
    yield median_figure(PART, f"{case.name}{quota}", now, unit="CPU s")
    yield median_figure(PART, f"{case.name}{quota}, over the build before", ratios(now, then), maximum=case.bar)


def _cpu_of_a_start(
    kind: str, settings: Mapping[str, str], folder: Path, checkout: Path | None, limited: bool
) -> float:
    group: Any = quota_cgroup(QUOTA) if limited else nullcontext(None)
    with group as cgroup:
        service = ServiceProcess(kind, settings, folder, f"start-{kind}", checkout, cgroup=cgroup)
        service.start()
        try:
            # Each request costs the service a millisecond or two, and a pod under 100m has a hundred of them a second.
            service.wait_ready(every_s=1.0 if limited else 0.05)
            assert service.process is not None
            return cpu_s(service.process.pid)
        finally:
            if cgroup is not None:
                (cgroup / "cpu.cfs_quota_us").write_text("-1")
            service.kill()
