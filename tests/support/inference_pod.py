"""The inference service as a process, and a feeder of frames, for integration tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from tests.support.ports import free_port
from tests.support.service_command import service_command
from tests.support.waiting import TIME_FACTOR, wait_for

SCRIPT = Path(sys.executable).with_name("ei-inference-service")


class Pod:
    """One running service."""

    def __init__(
        self,
        environ: Mapping[str, str],
        log: Path,
        cgroup: Path | None = None,
        constants: Mapping[str, float] | None = None,
    ) -> None:
        """`cgroup`: a folder of cgroup v1 whose quota the process gets before it starts.

        `constants`: see `service_command`.
        """
        self.port = free_port()
        self.log = log
        command = service_command("inference", constants) if constants else [str(SCRIPT)]
        if cgroup is not None:
            command = ["sh", "-c", f'echo $$ > "{cgroup}/cgroup.procs" && exec "$0" "$@"', *command]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **environ, "METRICS_PORT": str(self.port)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def get(self, path: str) -> tuple[int, str]:
        """(status, body); status 0 while nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> bool:
        """Whether it is ready. Raises AssertionError if it has ended."""
        assert self.process.poll() is None, self.log.read_text()
        return self.get("/readyz")[0] == 200

    def missing(self) -> dict[str, str]:
        """What it waits for, by part."""
        found: dict[str, str] = json.loads(self.get("/readyz")[1])["missing"]
        return found

    def wait_ready(self, timeout_s: float = 120.0) -> Pod:
        """Waits until it is ready."""
        wait_for(self.ready, timeout_s, f"readiness ({self.log.name})")
        return self

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name with these labels."""
        return self.metrics(name, **labels)[0]

    def metrics(self, *names: str, **labels: str) -> tuple[float, ...]:
        """The sum of the samples with these labels for each name, all from one scrape."""
        status, text = self.get("/metrics")
        assert status == 200
        sums = dict.fromkeys(names, 0.0)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in sums and labels.items() <= sample.labels.items():
                    sums[sample.name] += sample.value
        return tuple(sums.values())

    def stop(self, timeout_s: float = 20.0) -> int:
        """Sends SIGTERM, waits, and returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s * TIME_FACTOR)


@contextmanager
def running_pod(
    server: EmbeddedValkey,
    folder: Path,
    models: Path,
    *,
    cgroup: Path | None = None,
    constants: Mapping[str, float] | None = None,
    **settings: str,
) -> Iterator[Pod]:
    """A pod of the type `face` with face-detection-retail-0005 FP32. It is ended when the block ends."""
    environ = {
        "QUEUE_URL": server.url,
        "INFER_TYPE": "face",
        "INFER_MODEL_NAME": "face-detection-retail-0005_FP32",
        "INFER_MODEL_PATH": str(models),
        **settings,
    }
    number = len(list(folder.glob("pod-*.log")))
    pod = Pod(environ, folder / f"pod-{number}.log", cgroup, constants)
    try:
        yield pod
    finally:
        if pod.process.poll() is None:
            pod.process.terminate()
            try:
                pod.process.wait(25)
            except subprocess.TimeoutExpired:
                pod.process.kill()
                pod.process.wait()


class Feeder:
    """Pushes frames of several streams to the type `face`."""

    def __init__(self, server: EmbeddedValkey, streams: int = 1, **rules: float) -> None:
        self.rules = config.QueueRules(**rules)
        target = config.RedisTarget(url=Secret(server.url))
        key = keys.legacy_queue("face")
        self._producers = {
            f"cam-{index}": QueueProducer(connect(target, key=key), "face", f"cam-{index}", self.rules)
            for index in range(streams)
        }
        self._seq = dict.fromkeys(self._producers, 0)
        self.pushed = 0

    def push(self, data: bytes, width: int, height: int, stream: str = "cam-0") -> None:
        """One frame."""
        seq = self._seq[stream] = self._seq[stream] + 1
        outcome = self._producers[stream].push(Frame(stream, "face", data, seq, 1.79e9, 1.0, width, height))
        assert outcome.pushed, outcome
        self.pushed += 1

    def pace(self, fps: float, seconds: float, data: bytes, size: tuple[int, int], arrivals: Iterator[float]) -> None:
        """Pushes for `seconds` at `fps`, the streams in turn; `arrivals` are the gaps, in units of the mean gap."""
        names = list(self._producers)
        began = time.monotonic()
        due = 0.0
        turn = 0
        while (now := time.monotonic() - began) < seconds:
            if due > now:
                time.sleep(min(due - now, 0.05))
                continue
            self.push(data, *size, stream=names[turn % len(names)])
            turn += 1
            due += next(arrivals) / fps

    def close(self) -> None:
        """Closes the connections."""
        for producer in self._producers.values():
            producer.close()
