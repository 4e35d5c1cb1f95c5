"""A camera pool on a real Valkey: cameras in its registry, and source workers as real processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import redis

from elastic_inference.adapters.camera_registry.camera_values import (
    CompleteCamera,
    read_status,
    secrets_value,
    spec_value,
    wanted_value,
)
from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.base import config
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec, CameraStatus
from elastic_inference.domain.frame import Frame
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for

T = TypeVar("T")


class CameraPool:
    """Ends its workers with the `with` block."""

    def __init__(self, valkey: EmbeddedValkey, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.client = redis.Redis(port=valkey.port, retry=None)
        self.client.hset(keys.CAMERA_WANTED, ":known", "1")
        self._environ = {
            "QUEUE_URL": valkey.url,
            "CAMERA_POOL": "true",
            "CAMERA_PROCESSES": "2",
            "SOURCE_STALL_S": "5",
            "CAMERA_NETWORKS": "127.0.0.1",
            "VIDEO_DIR": "/",
            **(environ or {}),
        }
        self._folder = folder
        self._revision = 0
        self._consumer: QueueConsumer | None = None
        self.workers: list[ServiceProcess] = []
        self.frames: dict[str, list[tuple[float, Frame]]] = {}

    def __enter__(self) -> CameraPool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
        self.client.close()

    def worker(self) -> ServiceProcess:
        """Starts one more."""
        name = f"worker-{len(self.workers)}"
        worker = ServiceProcess("camera", self._environ, self._folder, name).start()
        self.workers.append(worker)
        return worker

    def put(self, name: str, url: str, **fields: Any) -> None:
        """Adds a camera or changes it, as the owner does."""
        self._revision += 1
        spec = CameraSpec.model_validate({"name": name, "url": url, **fields})
        camera = CompleteCamera(self._revision, spec)
        secrets = secrets_value(camera)
        with self.client.pipeline() as pipe:
            pipe.hset(keys.CAMERA_SPECS, name, spec_value(camera))
            if secrets is not None:
                pipe.hset(keys.CAMERA_SECRETS, name, secrets)
            else:
                pipe.hdel(keys.CAMERA_SECRETS, name)
            pipe.hset(keys.CAMERA_WANTED, name, wanted_value(self._revision, 0.15))
            pipe.execute()

    def remove(self, name: str) -> None:
        """Removes a camera, as the owner does."""
        for key in (keys.CAMERA_SPECS, keys.CAMERA_SECRETS, keys.CAMERA_WANTED, keys.CAMERA_STATUS):
            self.client.hdel(key, name)

    def status(self, name: str) -> CameraStatus | None:
        """What the pool reports about a camera."""
        return read_status(self.client.hget(keys.CAMERA_STATUS, name))

    def wait_state(self, name: str, state: str, timeout_s: float = 40) -> CameraStatus:
        """Waits until a camera is in this state."""

        def found() -> CameraStatus | None:
            self.take()
            status = self.status(name)
            return status if status is not None and status.state.value == state else None

        try:
            status = wait_for(found, timeout_s, f"{name} {state}")
        except AssertionError as error:
            logs = "\n".join(worker.log()[-3000:] for worker in self.workers)
            raise AssertionError(f"{error}; {self.status(name)}; logs: {logs}") from None
        assert status is not None
        return status

    def take(self) -> None:
        """Takes what waits in the queue of `people`, as a pod does."""
        if self._consumer is None:
            self._consumer = QueueConsumer(self.client, "people", "pod", config.QueueRules())
            self._consumer.load_scripts()
        while found := self._consumer.pop(64, 0.0).frames:
            now = time.monotonic()
            for popped in found:
                self.frames.setdefault(popped.frame.name, []).append((now, popped.frame))

    def wait(self, condition: Callable[[], T], timeout_s: float = 30, what: str = "the condition") -> T:
        """As `wait_for`, while it takes what comes."""

        def found() -> T:
            self.take()
            return condition()

        return wait_for(found, timeout_s, what)

    def wait_frames(self, name: str, more: int, timeout_s: float = 40) -> list[tuple[float, Frame]]:
        """Waits for this many further frames; returns (when, frame) of each."""
        before = len(self.frames.get(name, []))

        def enough() -> bool:
            self.take()
            return len(self.frames.get(name, [])) >= before + more

        try:
            wait_for(enough, timeout_s, f"{more} more frames of {name}")
        except AssertionError as error:
            logs = "\n".join(worker.log()[-3000:] for worker in self.workers)
            raise AssertionError(f"{error}; logs: {logs}") from None
        return self.frames[name][before:]


def processes_of(worker: ServiceProcess) -> list[int]:
    """A worker's own process id, and those of its camera processes."""
    assert worker.process is not None
    return [worker.process.pid, *children_of(worker)]


def children_of(worker: ServiceProcess) -> list[int]:
    """The camera processes of a worker."""
    assert worker.process is not None
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == worker.process.pid:
            found.append(int(path.parent.name))
    return found


def opens(worker: ServiceProcess, port: int) -> int:
    """The camera process of a worker that has a connection to a camera's port, 0 if none has."""
    return next((pid for pid in children_of(worker) if _connected(pid, port)), 0)


def _connected(pid: int, port: int) -> bool:
    inodes = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.exists() or path.is_symlink()}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[2].endswith(f":{port:04X}") and f"socket:[{fields[9]}]" in inodes:
            return True
    return False
