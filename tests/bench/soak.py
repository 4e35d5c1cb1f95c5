"""The whole system under steady load for minutes: memory, descriptors and latency must not grow.

`python -m tests.bench.soak`: two videos at 15 and 30 fps, one pod, websocket server, gateway, a viewer through the
gateway, a slow one, one that reconnects every two seconds, and a snapshot every five.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.bench.idle import CLIP, MODEL
from tests.bench.machine import describe
from tests.bench.plots import lines
from tests.bench.record import cpu_s, descriptors, percentile, rss_mb
from tests.support.raw_viewer import RawViewer
from tests.support.system import System

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE_S = 5.0
# Growth at the start of a process does not count: the first fifth is left out, at most two minutes.
SETTLE_SHARE, SETTLE_MAXIMUM_S = 0.2, 120.0
STREAMS = {"slow": 15, "fast": 30}


@dataclass
class Watched:
    """Samples of what a process uses: (minutes, value)."""

    pid: int
    rss: list[tuple[float, float]] = field(default_factory=list)
    files: list[tuple[float, float]] = field(default_factory=list)
    cpu: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """One quantity that must not grow: its medians in the first and the last third, and the limit."""

    what: str
    first: float
    last: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether it stayed within the limit."""
        return self.last <= self.allowed


def thirds(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """Medians of the first and of the last third."""
    size = max(1, len(samples) // 3)
    values = [value for _, value in samples]
    return statistics.median(values[:size]), statistics.median(values[-size:])


def judge(processes: dict[str, Watched], latency: list[tuple[float, float]]) -> list[Verdict]:
    """Memory may grow by 3 % and 2 MB, descriptors by 2, the median latency by half and 5 ms."""
    found = []
    for name, each in processes.items():
        first, last = thirds(each.rss)
        found.append(Verdict(f"resident memory of {name}, MB", first, last, first * 1.03 + 2))
        first, last = thirds(each.files)
        found.append(Verdict(f"descriptors of {name}", first, last, first + 2))
    first, last = thirds(latency)
    found.append(Verdict("latency capture to viewer, median of 5 s, ms", first, last, first * 1.5 + 5))
    return found


class Viewers:
    """Viewers of four kinds; records the latency that the steady one sees."""

    def __init__(self, gateway_port: int, clock_offset_ms: float) -> None:
        self._port = gateway_port
        self._offset_ms = clock_offset_ms
        self._ended = threading.Event()
        self.seen_ms: list[float] = []
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._guard, args=(each,), daemon=True)
            for each in (self._steady, self._slow, self._coming_and_going, self._snapshots)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stops all viewers."""
        self._ended.set()
        for thread in self._threads:
            thread.join(10)

    def _guard(self, watch: Callable[[], None]) -> None:
        try:
            watch()
        except (OSError, EOFError, AssertionError) as error:
            if not self._ended.is_set():
                self.failures.append(f"{watch.__name__.strip('_')}: {error}")

    def _open(self, name: str, query: str) -> RawViewer:
        return RawViewer(self._port, f"/{name}:face:inferred{query}", timeout_s=30)

    def _steady(self) -> None:
        with self._open("fast", "?format=frame") as viewer:
            while not self._ended.is_set():
                _, payload = viewer.read()
                document = json.loads(payload[4 : 4 + int.from_bytes(payload[:4], "big")])
                now_ms = time.time() * 1000 + self._offset_ms
                self.seen_ms.append(now_ms - document["arrived_ms"] + document["age_ms"])

    def _slow(self) -> None:
        with self._open("fast", "") as viewer:
            while not self._ended.wait(0.2):
                viewer.read()

    def _coming_and_going(self) -> None:
        while not self._ended.is_set():
            with self._open("slow", "?format=frame") as viewer:
                for _ in range(20):
                    viewer.read()

    def _snapshots(self) -> None:
        url = f"http://127.0.0.1:{self._port}/api/streams/slow:face:inferred/snapshot.jpg"
        while not self._ended.wait(5):
            with urllib.request.urlopen(url, timeout=20) as answer:
                answer.read()


def soak(models: Path, videos: Path, minutes: float) -> dict[str, Any]:
    """Runs the soak; returns samples and verdicts."""
    with System() as system:
        pod = system.infer("face", {"INFER_MODEL_NAME": MODEL, "INFER_MODEL_PATH": str(models)}).wait_ready()
        relay, gateway = system.websocket_server().wait_ready(), system.gateway().wait_ready()
        housekeeping = system.housekeeping().wait_ready()
        services = {"inference": pod, "websocket server": relay, "gateway": gateway, "housekeeping": housekeeping}
        for name, fps in STREAMS.items():
            video = system.file(videos / CLIP, "face", name, {"VIDEO_FPS": str(fps)}).wait_ready()
            services[f"file, {fps} fps"] = video
        processes = {name: Watched(each.process.pid) for name, each in services.items() if each.process is not None}
        processes["Valkey"] = Watched(system.valkey.pid or 0)
        with redis.Redis(port=system.valkey.port) as client:
            seconds, micros = client.time()
            offset_ms = seconds * 1000 + micros / 1000 - time.time() * 1000
        time.sleep(2)
        viewers = Viewers(system.gateway_port, offset_ms)
        settle_s = min(minutes * 60 * SETTLE_SHARE, SETTLE_MAXIMUM_S)
        began = time.monotonic()
        latency: list[tuple[float, float]] = []
        frames = pod.metric("ei_frames_inferred_total")
        used = {name: cpu_s(each.pid) for name, each in processes.items()}
        try:
            while (now := time.monotonic() - began) < minutes * 60:
                time.sleep(SAMPLE_S - (now % SAMPLE_S))
                now = time.monotonic() - began
                seen, viewers.seen_ms = viewers.seen_ms, []
                for name, each in processes.items():
                    spent = cpu_s(each.pid)
                    if now >= settle_s:
                        each.rss.append((now / 60, rss_mb(each.pid)))
                        each.files.append((now / 60, descriptors(each.pid)))
                        each.cpu.append((now / 60, (spent - used[name]) / SAMPLE_S * 100))
                    used[name] = spent
                if now >= settle_s and seen:
                    latency.append((now / 60, percentile(seen, 0.5)))
                if int(now / SAMPLE_S) % 12 == 0:
                    worst = percentile(seen, 0.99) if seen else float("nan")
                    memory = ", ".join(f"{name} {rss_mb(each.pid):.0f}" for name, each in processes.items())
                    print(f"  {now / 60:5.1f} min: latency p99 {worst:.0f} ms; MB: {memory}", flush=True)
        finally:
            viewers.close()
        frames = pod.metric("ei_frames_inferred_total") - frames
    return {
        "minutes": minutes,
        "frames": round(frames),
        "failures": viewers.failures,
        "latency": latency,
        "processes": {
            name: {"rss_mb": each.rss, "descriptors": each.files, "cpu_percent": each.cpu}
            for name, each in processes.items()
        },
        "verdicts": judge(processes, latency),
    }


def main() -> int:
    """0 if nothing grew, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="at least 2 for a meaningful result")
    parser.add_argument("--models", type=Path, help="folder of models (EI_TEST_MODELS, or shared/models beside this)")
    parser.add_argument("--videos", type=Path, help="folder of clips (EI_TEST_VIDEOS, or shared/videos beside this)")
    parser.add_argument("--out", type=Path, help="folder for JSON and plots (from 10 minutes: doc/benchmarks)")
    options = parser.parse_args()
    shared = REPOSITORY.parent / "shared"
    models = options.models or Path(os.environ.get("EI_TEST_MODELS", shared / "models"))
    videos = options.videos or Path(os.environ.get("EI_TEST_VIDEOS", shared / "videos"))
    for needed in (models / MODEL.rpartition("_")[0], videos / CLIP):
        if not needed.exists():
            print(f"{needed} is missing; see --models and --videos", file=sys.stderr)
            return 2
    machine = describe()
    try:
        found = soak(models, videos, options.minutes)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    verdicts = found["verdicts"]
    for each in verdicts:
        words = "flat" if each.flat else f"NOT FLAT (at most {each.allowed:.1f})"
        print(f"  {each.what:48} first third {each.first:8.1f}, last third {each.last:8.1f}  {words}")
    for failure in found["failures"]:
        print(f"  a viewer failed: {failure}")
    flat = all(each.flat for each in verdicts) and not found["failures"]
    print(f"{found['frames']} frames in {options.minutes:g} min: {'flat' if flat else 'NOT FLAT'}")
    folder = options.out or (REPOSITORY / "doc" / "benchmarks" if options.minutes >= 10 else None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        told = [{**asdict(each), "flat": each.flat} for each in verdicts]
        document = {"machine": machine, **found, "verdicts": told}
        (folder / "soak.json").write_text(json.dumps(document, indent=None) + "\n")
        series = {name: each["rss_mb"] for name, each in found["processes"].items()}
        (folder / "soak-memory.svg").write_text(lines("soak: resident memory", "MB", series))
        (folder / "soak-latency.svg").write_text(
            lines("soak: capture to viewer through the gateway", "ms", {"median of 5 s": found["latency"]})
        )
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
