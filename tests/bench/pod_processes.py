"""The processes of the pod's benchmark: the pod itself, its feeder, and the loops that it is compared with.

Used by `pod` and `latency`. Each process is pinned to its cores before it starts a thread.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import redis

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.base.config import QueueRules
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.bench.pod_children import STREAMS, TYPE
from tests.bench.record import cpu_s
from tests.support.ports import free_port

COMMAND = (
    sys.executable,
    "-c",
    "import sys; from elastic_inference.commands.services import inference; sys.exit(inference())",
)
RULES = {"STREAM_QUEUE_DEPTH": "64", "MAX_FRAME_AGE_S": "60"}


class Child:
    """A process of `pod_children`, pinned to its cores before it starts a thread. Ready when entered."""

    def __init__(self, arguments: list[str], cores: list[int], data: bytes | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.pod_children", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509  this process has no threads yet
        )
        assert self.process.stdin is not None
        if data is not None:
            self.process.stdin.write(data)
            self.process.stdin.close()
        self.answer()

    def answer(self) -> dict[str, Any]:
        """Its next answer."""
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
        """Its figures over `seconds`."""
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
    """Keeps frames waiting in the queue of a type. It is paused except in `during`."""

    def __init__(
        self, server: EmbeddedValkey, jpegs: list[bytes], cores: list[int], *, legacy: bool = False, kind: str = TYPE
    ) -> None:
        form = ["--legacy"] if legacy else []
        with redis.Redis(port=server.port) as client:
            QueueConsumer(client, kind, "bench", QueueRules()).load_scripts()
        super().__init__(["feed", "--redis", str(server.port), "--kind", kind, *form], cores, msgpack.packb(jpegs))
        self.process.send_signal(signal.SIGSTOP)

    def __enter__(self) -> Feeder:
        return self

    def during(self, measure: Any) -> Any:
        """Calls `measure` while this feeds."""
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
        # CPU ms per frame of pod, server and feeder, one entry per measurement.
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
        # The pod asks once a second who watches.
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
def running_pod(
    server: EmbeddedValkey, model: str, models: Path, cores: list[int], command: Sequence[str] = ()
) -> Iterator[Pod]:
    """The inference service as a process, ready; `command` starts another build."""
    port = free_port()
    process = subprocess.Popen(
        command or COMMAND,
        env={
            **os.environ,
            **RULES,
            **{"QUEUE_URL": server.url, "INFER_TYPE": TYPE, "INFER_MODEL_NAME": model},
            **{"INFER_MODEL_PATH": str(models), "METRICS_PORT": str(port), "LOG_LEVEL": "WARNING"},
        },
        preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509  this process has no threads yet
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
