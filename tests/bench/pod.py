"""Speed of a pod: frames a second from queue to published result, over OpenVINO's own asynchronous throughput.

The pod, Valkey and the feeder are processes of their own on the same cores, unless a case pins them apart. Each round
measures every way once, one after the other. `python -m tests.bench --only pod` runs it; `--case` picks cases.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np
import redis
import simplejpeg

from elastic_inference.commands.embedded_valkey import EmbeddedValkey, free_port
from elastic_inference.domain import keys
from elastic_inference.flows.inference.warm_up import synthetic_frame
from tests.bench.parts_alone import parts_cpu_ms
from tests.bench.pod_children import LOOP_TYPE, STREAMS, TYPE
from tests.bench.record import Context, Figure, LeftOut, alternate, cpu_s, median_figure, ratios, rss_mb

PART = "pod"
RULES = {"STREAM_QUEUE_DEPTH": "64", "MAX_FRAME_AGE_S": "60"}
MARGIN = 0.04


@dataclass(frozen=True)
class Case:
    """A model, the size of the pictures (w, h), and what the ratio must reach; None: the parts' ceiling less 0.04."""

    model: str
    size: tuple[int, int]
    minimum: float | None = None
    loop_minimum: float | None = None
    # Feeder and Valkey on the first core, the pod and OpenVINO alone on the others.
    apart: bool = False
    # Also: all streams watched, a legacy producer, openvino-model-api's pipeline.
    variants: bool = False
    rounds: int = 5

    @property
    def name(self) -> str:
        """As it is shown."""
        short = self.model.removesuffix("_INT8").removesuffix("_FP32").removesuffix("_FP16")
        precision = self.model[len(short) + 1 :] or "FP16"
        short = short.replace("-detection-retail", "").replace("person-vehicle-bike-detection-", "")
        return f"{short} {precision} {self.size[0]}x{self.size[1]}{', apart' if self.apart else ''}"


CASES = (
    Case("face-detection-retail-0005_FP32", (768, 432), 0.90, 1.4, variants=True),
    Case("face-detection-retail-0005_FP32", (1280, 720), 0.86, 1.4),
    Case("face-detection-retail-0005_INT8", (768, 432), None, 1.4),
    Case("face-detection-retail-0005_INT8", (1280, 720), None, 1.4),
    Case("person-vehicle-bike-detection-crossroad-0078_INT8", (768, 432), 0.95),
    Case("blazeface", (768, 432)),
    Case("face-detection-retail-0005_FP32", (768, 432), apart=True, rounds=3),
)


def run(context: Context, wanted: str = "", seconds: float = 2.0) -> Iterator[Figure | LeftOut]:
    """The figures of all cases whose name has `wanted` in it."""
    for case in CASES:
        if wanted and wanted not in case.name:
            continue
        models = context.embedded if case.model == "blazeface" else context.models
        if not _is_there(case, models):
            yield LeftOut(PART, f"{case.name}: the model is missing")
        elif case.apart and len(os.sched_getaffinity(0)) < 2:
            yield LeftOut(PART, f"{case.name}: one core only")
        else:
            yield from run_case(case, models, context, context.seconds(seconds))


def _is_there(case: Case, models: Path) -> bool:
    return (models / case.model.rpartition("_")[0]).is_dir() if "_" in case.model else (models / case.model).is_dir()


def run_case(case: Case, models: Path, context: Context, seconds: float) -> Iterator[Figure]:
    """One case's figures."""
    pictures = load_pictures(case.size, context.videos)
    cores = sorted(os.sched_getaffinity(0))
    feeder_cores, pod_cores = (cores[:1], cores[1:]) if case.apart else (cores, cores)
    rounds = context.rounds(case.rounds)
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedValkey())
        assert server.pid is not None
        os.sched_setaffinity(server.pid, feeder_cores)
        names = ("alone", "loop", "pipeline") if case.variants and _has_model_api() else ("alone", "loop")
        children = {
            name: stack.enter_context(Measured(name, case.model, models, server, pod_cores))
            for name in (names[:1] if case.apart else names)
        }
        feeders = {
            "scripts": stack.enter_context(Feeder(server, pictures, feeder_cores)),
            **(
                {"plain": stack.enter_context(Feeder(server, pictures, feeder_cores, plain=True))}
                if case.variants
                else {}
            ),
            **(
                {"loop": stack.enter_context(Feeder(server, pictures, feeder_cores, plain=True, kind=LOOP_TYPE))}
                if not case.apart
                else {}
            ),
        }
        pod = stack.enter_context(running_pod(server, case.model, models, pod_cores))
        ways: dict[str, Any] = {
            "alone": lambda: children["alone"].measure(seconds),
            "pod": lambda: pod.measure(feeders["scripts"], seconds),
        }
        for name in names[1:]:
            if name in children:
                ways[name] = lambda name=name: feeders["loop"].during(lambda: children[name].measure(seconds))
        if case.variants:
            ways["watched"] = lambda: pod.measure(feeders["scripts"], seconds, watched=True)
            ways["plain"] = lambda: pod.measure(feeders["plain"], seconds)
        for way in ways.values():
            way()  # warms up
        children["alone"].cpu_ms.clear()
        pod.shares.clear()
        fps = dict(zip(ways, alternate(rounds, *ways.values()), strict=True))
        resident = rss_mb(pod.process.pid)
    alone_ms = statistics.median(children["alone"].cpu_ms)
    shares = {name: round(statistics.median(share[name] for share in pod.shares), 3) for name in pod.shares[0]}
    parts = parts_cpu_ms(case.model, models, pictures)
    # The parts' own work at the rate at which all cores are busy, with and without Valkey's and the feeder's.
    around = sum(parts.values())
    ceiling = alone_ms / (alone_ms + (around if not case.apart else around - parts["server"] - parts["push"]))
    found = ratios(fps["pod"], fps["alone"])
    yield median_figure(
        PART,
        f"{case.name} over OpenVINO alone",
        found,
        minimum=case.minimum if case.minimum is not None or case.apart else round(ceiling - MARGIN, 3),
        details={
            "fps": round(statistics.median(fps["pod"]), 1),
            "alone_fps": round(statistics.median(fps["alone"]), 1),
            "ceiling_of_the_parts": round(ceiling, 3),
            "parts_cpu_ms": {name: round(value, 3) for name, value in parts.items()},
            "alone_cpu_ms_per_frame": round(alone_ms, 3),
            "cpu_ms_per_frame": shares,
            "over_alone_by_cpu_time": round(alone_ms / sum(shares.values()), 3),
            "resident_mb": round(resident, 1),
            "picture_bytes": round(statistics.mean(map(len, pictures))),
        },
    )
    for name, words, bar in (
        ("watched", "all watched, over OpenVINO alone", None),
        ("plain", "legacy producer, over OpenVINO alone", None),
        ("loop", "straightforward loop over OpenVINO alone", None),
        ("pipeline", "model-api AsyncPipeline over OpenVINO alone", None),
    ):
        if name in fps:
            yield median_figure(PART, f"{case.name} {words}", ratios(fps[name], fps["alone"]), minimum=bar)
    if "loop" in fps:
        loop = ratios(fps["pod"], fps["loop"])
        yield median_figure(
            PART, f"{case.name} over the straightforward loop", loop, unit="times", minimum=case.loop_minimum
        )


def _has_model_api() -> bool:
    from importlib.util import find_spec

    return find_spec("model_api") is not None


def load_pictures(size: tuple[int, int], videos: Path, count: int = 32) -> list[bytes]:
    """JPEGs of quality 80 of this size (w, h): frames of the first clip of `videos`, or made-up ones."""
    clips = sorted(each for each in videos.iterdir() if each.suffix in (".mp4", ".gif")) if videos.is_dir() else []
    if not clips:
        return [synthetic_frame(size, seed).data for seed in range(count)]
    clip = next((each for each in clips if "face" in each.name), clips[0])
    reader = cv2.VideoCapture(str(clip))
    pictures = []
    while len(pictures) < count:
        good, picture = reader.read()
        if not good:
            break
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        pictures.append(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), 80, "BGR", "420"))
    reader.release()
    return pictures


class Child:
    """A process of `pod_children`, pinned to cores before it starts a thread; ready when entered."""

    def __init__(self, arguments: list[str], cores: list[int], data: bytes | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.pod_children", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509  no thread of ours runs yet
        )
        assert self.process.stdin is not None
        if data is not None:
            self.process.stdin.write(data)
            self.process.stdin.close()
        self.answer()

    def answer(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process {self.process.args} ended early")
        found: dict[str, Any] = json.loads(line)
        return found

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.send_signal(signal.SIGCONT)
        self.process.wait(20)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


class Measured(Child):
    """A child that measures when asked."""

    def __init__(self, part: str, model: str, models: Path, server: EmbeddedValkey, cores: list[int]) -> None:
        super().__init__([part, "--models", str(models), "--model", model, "--redis", str(server.port)], cores)
        self.cpu_ms: list[float] = []

    def __enter__(self) -> Measured:
        return self

    def ask(self, seconds: float) -> dict[str, Any]:
        """Its figures over so many seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n".encode())
        self.process.stdin.flush()
        return self.answer()

    def measure(self, seconds: float) -> float:
        """Frames a second."""
        found = self.ask(seconds)
        self.cpu_ms.append(found["cpu_ms"])
        return float(found["fps"])


class Feeder(Child):
    """Keeps frames waiting in the queue of a type while it is let run."""

    def __init__(
        self, server: EmbeddedValkey, pictures: list[bytes], cores: list[int], *, plain: bool = False, kind: str = TYPE
    ) -> None:
        plainly = ["--plain"] if plain else []
        with redis.Redis(port=server.port) as client:
            from elastic_inference.adapters.frame_queue import QueueConsumer
            from elastic_inference.base.config import QueueRules

            QueueConsumer(client, kind, "bench", QueueRules()).load_scripts()
        super().__init__(
            ["feed", "--redis", str(server.port), "--kind", kind, *plainly], cores, msgpack.packb(pictures)
        )
        self.process.send_signal(signal.SIGSTOP)

    def __enter__(self) -> Feeder:
        return self

    def during(self, measure: Any) -> Any:
        """What `measure` gives while this feeds."""
        self.process.send_signal(signal.SIGCONT)
        try:
            return measure()
        finally:
            self.process.send_signal(signal.SIGSTOP)


class Pod:
    """The running service, seen from outside."""

    def __init__(self, server: EmbeddedValkey, port: int, process: subprocess.Popen[bytes]) -> None:
        self._server = server
        self._port = port
        self.process = process
        # CPU time for each frame, ms, of pod, server and feeder.
        self.shares: list[dict[str, float]] = []

    def metric(self, name: str) -> float:
        """The sum of a metric's samples in `/metrics`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name
        )

    def measure(self, feeder: Feeder, seconds: float, *, watched: bool = False) -> float:
        """Frames inferred and published a second, while the queue is never empty."""
        with redis.Redis(port=self._server.port) as client:
            for index in range(STREAMS if watched else 0):
                client.set(keys.watch(keys.stream_id(f"cam-{index}", TYPE)), 1, ex=60)
            found: float = feeder.during(lambda: self._measure(feeder, seconds, watched=watched))
            for index in range(STREAMS if watched else 0):
                client.delete(keys.watch(keys.stream_id(f"cam-{index}", TYPE)))
            deadline = time.monotonic() + 10
            while client.llen(keys.legacy_queue(TYPE)) + client.llen(keys.tokens(TYPE)) and time.monotonic() < deadline:
                time.sleep(0.02)
        return found

    def _measure(self, feeder: Feeder, seconds: float, *, watched: bool) -> float:
        name = "ei_frames_inferred_total"
        deadline = time.monotonic() + 10
        before = self.metric(name)
        # What is watched is asked each second.
        time.sleep(1.2 if watched else 0.1)
        while self.metric(name) < before + 30 and time.monotonic() < deadline:
            time.sleep(0.05)
        pids = {"pod": self.process.pid, "server": self._server.pid or 0, "feeder": feeder.process.pid}
        first, cpu, began = self.metric(name), {who: cpu_s(pid) for who, pid in pids.items()}, time.monotonic()
        time.sleep(seconds)
        frames, ended = self.metric(name) - first, time.monotonic()
        if frames <= 0:
            raise RuntimeError("the pod inferred nothing")
        if not watched:
            self.shares.append({who: (cpu_s(pid) - cpu[who]) * 1000 / frames for who, pid in pids.items()})
        return frames / (ended - began)


@contextmanager
def running_pod(server: EmbeddedValkey, model: str, models: Path, cores: list[int]) -> Iterator[Pod]:
    """The inference service as a process, ready."""
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from elastic_inference.flows.inference.inference_service import main; sys.exit(main())",
        ],
        env={
            **os.environ,
            **RULES,
            **{"QUEUE_URL": server.url, "INFER_TYPE": TYPE, "INFER_MODEL_NAME": model},
            **{"INFER_MODEL_PATH": str(models), "METRICS_PORT": str(port), "LOG_LEVEL": "WARNING"},
        },
        preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509  no thread of ours runs yet
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                    break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield Pod(server, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
