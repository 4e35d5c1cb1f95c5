"""CPU and memory of each service, and bytes to Redis, while nothing happens and while nobody watches.

One system of real services as a user has it: Valkey, one pod, websocket server, gateway, a camera stream service whose
camera is unreachable, later a file stream service at 15 fps.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.bench.producers import CLIP
from tests.bench.record import Context, Figure, LeftOut, cpu_s, rss_mb
from tests.support.ports import free_port
from tests.support.raw_viewer import RawViewer
from tests.support.system import ServiceProcess, System
from tests.support.waiting import wait_for

PART = "idle"
MODEL = "face-detection-retail-0005_FP32"
FPS = 15
STREAM = "lane:face:inferred"


def run(context: Context, seconds: float = 12.0) -> Iterator[Figure | LeftOut]:
    """The figures."""
    if not (context.models / MODEL.rpartition("_")[0]).is_dir() or not (context.videos / CLIP).is_file():
        yield LeftOut(PART, f"{MODEL} or the clip {CLIP} is missing")
        return
    seconds = context.seconds(seconds)
    with System() as system:
        pod = system.infer("face", {"INFER_MODEL_NAME": MODEL, "INFER_MODEL_PATH": str(context.models)})
        relay, gateway, housekeeping = system.websocket_server(), system.gateway(), system.housekeeping()
        unreachable = {
            "CAMERA": f"http://127.0.0.1:{free_port()}/video",
            "STREAM_NAME": "down",
            "INFER_TYPE": "face",
        }
        camera = system.service("camera", unreachable)
        for each in (pod, relay, gateway, housekeeping):
            each.wait_ready()
        pids = {"inference": _pid(pod), "websocket server": _pid(relay), "gateway": _pid(gateway)}
        pids |= {"housekeeping": _pid(housekeeping)}
        pids |= {"unreachable camera": _pid(camera), "Valkey": system.valkey.pid or 0}
        time.sleep(6)  # the services' own start, and the pod's first window
        for name, percent in _cpu_percent(pids, seconds).items():
            yield Figure(PART, f"no frames: CPU of {name}", percent, "% of a core", maximum=1.0)

        frames = pod.metric("ei_frames_inferred_total")
        film = system.file(context.videos / CLIP, "face", "lane", {"VIDEO_FPS": str(FPS)}).wait_ready()
        pids["file, 15 fps"] = _pid(film)
        wait_for(lambda: pod.metric("ei_frames_inferred_total") > frames + 20, 30, "frames to be inferred")
        with redis.Redis(port=system.valkey.port) as client:
            time.sleep(6)  # a former viewer is forgotten after 5 s
            yield from _unwatched(pod, client, pids, seconds)
            yield from _watched(system, pod, client, seconds)
        del pids["Valkey"]
        yield from _memory(pids)


def _unwatched(
    pod: ServiceProcess, client: redis.Redis, pids: dict[str, int], seconds: float
) -> Iterator[Figure | LeftOut]:
    before = _sent(pod, client)
    percents = _cpu_percent(pids, seconds)
    after = _sent(pod, client)
    detections = _detections(client)
    for name, percent in percents.items():
        yield Figure(PART, f"15 fps, nobody watches: CPU of {name}", percent, "% of a core")
    yield Figure(
        PART,
        "nobody watches: bytes to Redis per inferred frame",
        round((after[1] - before[1]) / (after[0] - before[0])),
        "B",
        maximum=round(1000 + 100 * detections),
        details={"detections_per_frame": round(detections, 2)},
    )


def _watched(system: System, pod: ServiceProcess, client: redis.Redis, seconds: float) -> Iterator[Figure]:
    viewer = RawViewer(system.gateway_port, f"/{STREAM}", timeout_s=30)
    _read_for(viewer, 1.5)
    before = _sent(pod, client)
    _read_for(viewer, seconds / 2)
    after = _sent(pod, client)
    per_frame = round((after[1] - before[1]) / (after[0] - before[0]))
    yield Figure(PART, "one viewer: bytes to Redis per inferred frame", per_frame, "B")
    with urllib.request.urlopen(f"{system.gateway_url}/api/streams/{STREAM}/snapshot.jpg", timeout=10):
        pass
    viewer.close()


def _read_for(viewer: RawViewer, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        viewer.read()


def _memory(pids: dict[str, int]) -> Iterator[Figure]:
    for name, pid in pids.items():
        maximum = 400 if name == "inference" else 80
        yield Figure(PART, f"resident memory of {name}", round(rss_mb(pid), 1), "MB", maximum=maximum)


def _pid(service: ServiceProcess) -> int:
    assert service.process is not None
    return service.process.pid


def _cpu_percent(pids: dict[str, int], seconds: float) -> dict[str, float]:
    before, began = {name: _run_s(pid) for name, pid in pids.items()}, time.monotonic()
    time.sleep(seconds)
    spent = time.monotonic() - began
    return {name: round((_run_s(pid) - before[name]) / spent * 100, 2) for name, pid in pids.items()}


def _run_s(pid: int) -> float:
    """CPU seconds of all threads; to the nanosecond if the kernel provides it, so that idling shows."""
    try:
        tasks = Path(f"/proc/{pid}/task")
        return sum(int((tasks / task / "schedstat").read_text().split()[0]) for task in os.listdir(tasks)) / 1e9
    except OSError:
        return cpu_s(pid)


def _sent(pod: ServiceProcess, client: redis.Redis) -> tuple[float, float]:
    """(frames inferred, bytes that the pod's connections have sent to Redis)."""
    inferred = pod.metric("ei_frames_inferred_total")
    told = [each for each in client.client_list() if str(each["name"]).startswith("ei-infer")]
    return inferred, float(sum(int(each["tot-net-in"]) for each in told))


def _detections(client: redis.Redis) -> float:
    """Detections per frame, the mean of the newest hundred."""
    entries = client.xrevrange("results_face", count=100)
    counts = [len(json.loads(fields[b"json"])["detections"]) for _, fields in entries]
    return sum(counts) / max(len(counts), 1)
