"""Speed of a pod: frames a second from queue to published result, over OpenVINO's own asynchronous throughput.

`make bench` calls `run`. By hand: `.venv/bin/python tests/bench/pod.py --models FOLDER [--videos FOLDER] [--rounds N]
[--seconds S] [--apart] [--watched] [--plain] [--case NAME]`. The pod, Valkey and the feeder are processes of their own
on the same cores; each round measures OpenVINO alone, the straightforward loop and the pod, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np
import redis
import simplejpeg
from pydantic import SecretStr

from elastic_inference import config, keys
from elastic_inference.embedded_valkey import EmbeddedValkey, free_port
from elastic_inference.frame import Frame
from elastic_inference.frame_queue import QueueProducer
from elastic_inference.inference.worker import made_up_frame
from elastic_inference.redis_connection import connect

TYPE = "bench"
STREAMS = 8
# Deep enough that the feeder need not hurry, shallow enough that Valkey's memory stays in the cache's reach.
WAITING = 32
RULES = {"STREAM_QUEUE_DEPTH": "64", "MAX_FRAME_AGE_S": "60"}
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Case:
    """One row: a model of the models folder, the size of the pictures, and the bar of its ratio."""

    model: str
    size: tuple[int, int]
    bar: float | None


CASES = (
    Case("face-detection-retail-0005_FP32", (768, 432), 0.90),
    Case("face-detection-retail-0005_FP32", (1280, 720), 0.86),
    Case("face-detection-retail-0005_INT8", (768, 432), None),
    Case("face-detection-retail-0005_INT8", (1280, 720), None),
    Case("person-vehicle-bike-detection-crossroad-0078_INT8", (768, 432), 0.95),
)


def run(
    models: Path,
    videos: Path | None = None,
    rounds: int = 5,
    seconds: float = 4.0,
    cases: tuple[Case, ...] = CASES,
    *,
    apart: bool = False,
    watched: bool = False,
    plain: bool = False,
    with_loop: bool = True,
) -> list[dict[str, Any]]:
    """Records {name, ratio, spread, fps, alone_fps, loop_ratio, bar, …}, medians of alternating rounds.

    `apart` pins feeder and Valkey to the first core and the pod to the others; `watched` publishes every picture;
    `plain` feeds by plain RPUSH instead of the push script.
    """
    return [
        _run_case(case, models, videos, rounds, seconds, apart=apart, watched=watched, plain=plain, with_loop=with_loop)
        for case in cases
    ]


def _run_case(
    case: Case,
    models: Path,
    videos: Path | None,
    rounds: int,
    seconds: float,
    *,
    apart: bool,
    watched: bool,
    plain: bool,
    with_loop: bool,
) -> dict[str, Any]:
    pictures = load_pictures(case.size, videos)
    cores = sorted(os.sched_getaffinity(0))
    feeder_cores, pod_cores = (cores[:1], cores[1:]) if apart and len(cores) > 1 else (cores, cores)
    with EmbeddedValkey() as server:
        os.sched_setaffinity(server.pid or 0, feeder_cores)
        with running_pod(server, case.model, models, pod_cores) as pod:
            alone = Alone(case.model, models, pod_cores, pictures[0])
            loop = StraightLoop(alone, server, pictures)
            pairs: list[tuple[float, float, float]] = []
            for number in range(rounds + 1):
                steps: list[Any] = [
                    lambda: alone.measure(seconds),
                    lambda: pod.measure(pictures, seconds, feeder_cores, watched=watched, plain=plain),
                    lambda: loop.measure(seconds) if with_loop else 0.0,
                ]
                order = (0, 1, 2) if number % 2 == 0 else (1, 0, 2)
                figures = {at: steps[at]() for at in order}
                if number:  # the first round warms up
                    pairs.append((figures[1], figures[0], figures[2]))
            resident_mb = pod.resident_mb()
            cpu = pod.cpu_per_frame_ms()
    ratios = sorted(mine / bare for mine, bare, _ in pairs)
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return {
        "name": f"pod, {case.model}, {case.size[0]}x{case.size[1]}",
        "ratio": round(statistics.median(ratios), 3),
        "spread": round(quartiles[2] - quartiles[0], 3),
        "bar": case.bar,
        "fps": round(statistics.median(mine for mine, _, _ in pairs), 1),
        "alone_fps": round(statistics.median(bare for _, bare, _ in pairs), 1),
        "loop_ratio": round(statistics.median(straight / bare for _, bare, straight in pairs), 3),
        "over_loop": round(statistics.median(mine / straight for mine, _, straight in pairs), 2) if with_loop else None,
        "cpu_ms_per_frame": cpu,
        "alone_cpu_ms_per_frame": alone.cpu_per_frame_ms(),
        "resident_mb": resident_mb,
        "picture_bytes": round(statistics.mean(map(len, pictures))),
    }


def load_pictures(size: tuple[int, int], videos: Path | None, count: int = 32) -> list[bytes]:
    """JPEGs of quality 80 of this size (w, h): frames of the first clip of `videos`, or made-up ones."""
    clips = sorted(each for each in videos.iterdir() if each.suffix in (".mp4", ".gif")) if videos else []
    if not clips:
        return [made_up_frame(size, seed).data for seed in range(count)]
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


class Alone:
    """OpenVINO by itself, as `benchmark_app` measures it: requests that start again as they end, one fixed input."""

    def __init__(self, model: str, models: Path, cores: list[int], picture: bytes) -> None:
        self._command = [sys.executable, __file__, "alone", "--models", str(models), "--case", model]
        self._cores = cores
        self._cpu: list[float] = []

    def cpu_per_frame_ms(self) -> float:
        """CPU time for each frame, ms, median of the rounds."""
        return round(statistics.median(self._cpu), 2)

    def measure(self, seconds: float) -> float:
        """Frames a second."""
        done = subprocess.run(
            [*self._command, "--seconds", str(seconds)],
            check=True,
            capture_output=True,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, self._cores),
        )
        fps, cpu_ms = done.stdout.split()[-2:]
        self._cpu.append(float(cpu_ms))
        return float(fps)


class StraightLoop:
    """What the known demos do: pop, full decode, synchronous inference, draw, encode, publish; one thread."""

    def __init__(self, alone: Alone, server: EmbeddedValkey, pictures: list[bytes]) -> None:
        self._alone = alone
        self._server = server
        self._pictures = pictures

    def measure(self, seconds: float) -> float:
        """Frames a second, fed by plain RPUSH from a process of its own."""
        command = [each if each != "alone" else "loop" for each in self._alone._command]
        with feeding(self._server, self._pictures, self._alone._cores, plain=True, kind="loop"):
            done = subprocess.run(
                [*command, "--seconds", str(seconds), "--redis", str(self._server.port)],
                check=True,
                capture_output=True,
                text=True,
            )
        with redis.Redis(port=self._server.port) as client:
            client.delete(keys.plain_queue("loop"))
        return float(done.stdout.split()[-1])


class Pod:
    """The running service, seen from outside."""

    def __init__(self, server: EmbeddedValkey, port: int, process: subprocess.Popen[bytes]) -> None:
        self._server = server
        self._port = port
        self.process = process
        self._cpu: list[float] = []

    def metric(self, name: str) -> float:
        """The sum of a metric's samples in `/metrics`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name
        )

    def measure(
        self, pictures: list[bytes], seconds: float, feeder_cores: list[int], *, watched: bool, plain: bool
    ) -> float:
        """Frames inferred and published a second, while the queue is never empty."""
        with redis.Redis(port=self._server.port) as client:
            if watched:
                for index in range(STREAMS):
                    client.set(keys.watch(keys.stream_id(f"cam-{index}", TYPE)), 1, ex=3600)
            with feeding(self._server, pictures, feeder_cores, plain=plain, kind=TYPE):
                deadline = time.monotonic() + 10
                before = self.metric("ei_frames_inferred_total")
                while self.metric("ei_frames_inferred_total") < before + 20 and time.monotonic() < deadline:
                    time.sleep(0.05)
                first, first_cpu, began = self._counters()
                time.sleep(seconds)
                last, last_cpu, ended = self._counters()
            client.delete(keys.tokens(TYPE), keys.plain_queue(TYPE))
        if last > first:
            self._cpu.append((last_cpu - first_cpu) * 1000 / (last - first))
        return (last - first) / (ended - began)

    def _counters(self) -> tuple[float, float, float]:
        frames = self.metric("ei_frames_inferred_total")
        ticks = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        cpu = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        return frames, cpu, time.monotonic()

    def resident_mb(self) -> float:
        """Resident memory, MB."""
        return round(self.metric("process_resident_memory_bytes") / 1e6, 1)

    def cpu_per_frame_ms(self) -> float:
        """CPU time of the pod for each frame, ms, median of the rounds."""
        return round(statistics.median(self._cpu), 2) if self._cpu else 0.0


@contextmanager
def running_pod(server: EmbeddedValkey, model: str, models: Path, cores: list[int]) -> Iterator[Pod]:
    """The inference service as a process, ready."""
    port = free_port()
    environ = {
        **os.environ,
        **RULES,
        "QUEUE_URL": server.url,
        "INFER_TYPE": TYPE,
        "INFER_MODEL_NAME": model,
        "INFER_MODEL_PATH": str(models),
        "METRICS_PORT": str(port),
        "LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen(
        [str(BIN / "ei-inference-service")],
        env=environ,
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


@contextmanager
def feeding(
    server: EmbeddedValkey, pictures: list[bytes], cores: list[int], *, plain: bool, kind: str
) -> Iterator[None]:
    """A feeder process that keeps WAITING frames in the queue of `kind`."""
    process = subprocess.Popen(
        [
            sys.executable,
            __file__,
            "feed",
            "--redis",
            str(server.port),
            "--case",
            kind,
            *(["--plain"] if plain else []),
        ],
        stdin=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509  no thread of ours runs yet
    )
    assert process.stdin is not None
    process.stdin.write(msgpack.packb(pictures))
    process.stdin.close()
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _feed(port: int, kind: str, *, plain: bool) -> None:
    pictures = msgpack.unpackb(sys.stdin.buffer.read())
    size = (0, 0)
    target = config.RedisTarget(url=SecretStr(f"redis://127.0.0.1:{port}/0"))
    rules = config.QueueRules(stream_queue_depth=64)
    client = connect(target)
    producers = [QueueProducer(connect(target), kind, f"cam-{index}", rules) for index in range(STREAMS)]
    messages = [
        msgpack.packb({"name": f"cam-{at % STREAMS}", "category": kind, "data": picture})
        for at, picture in enumerate(pictures)
    ]
    turn = 0
    while True:
        waiting = client.llen(keys.plain_queue(kind) if plain else keys.tokens(kind))
        room = WAITING - waiting
        if room < WAITING // 2:
            time.sleep(0.005)
            continue
        if plain:
            client.rpush(keys.plain_queue(kind), *(messages[(turn + at) % len(messages)] for at in range(room)))
            turn += room
            continue
        for _ in range(room // 4):
            frames = [
                Frame(
                    f"cam-{turn % STREAMS}",
                    kind,
                    pictures[(turn * 4 + at) % len(pictures)],
                    turn * 4 + at,
                    0.0,
                    0.0,
                    *size,
                )
                for at in range(4)
            ]
            producers[turn % STREAMS].push_batch(frames)
            turn += 1


def _compiled(models: Path, name: str, hint: str) -> tuple[Any, Any, Any]:
    from elastic_inference.catalogue import find_model
    from elastic_inference.inference.adapters import AdapterOptions, make_adapter
    from elastic_inference.inference.runtime import load_openvino

    openvino = load_openvino()
    spec = find_model(name, models, TYPE)
    core = openvino.Core()
    adapter = make_adapter(spec.adapter or "ssd", AdapterOptions(labels=spec.labels))
    prepared = adapter.prepare(core.read_model(spec.path))
    return core.compile_model(prepared.model, "CPU", {"PERFORMANCE_HINT": hint}), prepared, adapter


def _alone(models: Path, name: str, seconds: float) -> tuple[float, float]:
    from openvino import AsyncInferQueue

    compiled, prepared, _adapter = _compiled(models, name, "THROUGHPUT")
    requests = AsyncInferQueue(compiled, 0)
    picture = np.random.default_rng(1).integers(0, 256, (1, prepared.height, prepared.width, 3), np.uint8)
    for request in requests:
        request.set_input_tensor(type(request.get_input_tensor())(picture.copy()))
    for _ in range(4 * len(requests)):
        requests.start_async()
    requests.wait_all()
    began, used, count = time.monotonic(), time.process_time(), 0
    while time.monotonic() - began < seconds:
        requests.start_async()
        count += 1
    requests.wait_all()
    return count / (time.monotonic() - began), (time.process_time() - used) * 1000 / count


def _loop(models: Path, name: str, seconds: float, port: int) -> float:
    compiled, prepared, adapter = _compiled(models, name, "LATENCY")
    from elastic_inference.inference.adapters import fit, place

    request = compiled.create_infer_request()
    client = redis.Redis(port=port)
    count = 0
    began = None
    while began is None or time.monotonic() - began < seconds:
        _key, message = client.blpop([keys.plain_queue("loop")])
        fields = msgpack.unpackb(message)
        picture = cv2.imdecode(np.frombuffer(fields["data"], np.uint8), cv2.IMREAD_COLOR)
        results = request.infer({prepared.input_name: fit(picture, prepared)})
        height, width = picture.shape[:2]
        for found in adapter.decode(list(results.values()), place(width, height, prepared), 0.5):
            x_min, y_min, x_max, y_max = found.box
            corners = (int(x_min * width), int(y_min * height)), (int(x_max * width), int(y_max * height))
            cv2.rectangle(picture, *corners, (0, 255, 0), 2)
            cv2.putText(picture, found.label, corners[0], cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 255, 0), 2)
        _good, encoded = cv2.imencode(".jpg", picture)
        client.publish("loop", encoded.tobytes())
        if began is None:
            began = time.monotonic()
        else:
            count += 1
    return count / (time.monotonic() - began)


def main() -> None:
    """Parses the command line; `alone`, `loop` and `feed` are the children's parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", default="run", choices=("run", "alone", "loop", "feed"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--case", help="part of the case's name (run), the model (alone, loop), the type (feed)")
    parser.add_argument("--redis", type=int, default=0)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--watched", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--no-loop", action="store_true")
    given = parser.parse_args()
    if given.part == "feed":
        threading.current_thread().name = "feed"
        _feed(given.redis, given.case, plain=given.plain)
    elif given.part == "alone":
        print(*_alone(given.models, given.case, given.seconds))
    elif given.part == "loop":
        print(_loop(given.models, given.case, given.seconds, given.redis))
    else:
        cases = tuple(
            case for case in CASES if not given.case or given.case in f"{case.model} {case.size[0]}x{case.size[1]}"
        )
        options = {"apart": given.apart, "watched": given.watched, "plain": given.plain, "with_loop": not given.no_loop}
        for record in run(given.models, given.videos, given.rounds, given.seconds, cases, **options):
            print(json.dumps(record))


if __name__ == "__main__":
    main()
