"""The whole chain of one build, as real processes: cameras' streams, Redis, one pod of face-0005, and who watches.

Used by `cameras`. A build before the camera pool runs a camera stream service for each camera; this one runs a source
worker, with cameras in the registry. CPU time is that of each process, without its start.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.bench.record import cpu_s, pss_mb
from tests.support.camera_pool import CameraPool, children_of
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for

MODEL = "face-detection-retail-0005_FP32"
TYPE = "face"
# Above the cameras' own rate, so that no frame is over the cap.
CAP_FPS = 60
READY_S = 90
PARTS = ("source", "redis", "pod")


@dataclass(frozen=True)
class Sample:
    """CPU milliseconds of each part for one frame, and the share of the cameras' frames that were inferred."""

    ms: Mapping[str, float]
    inferred: float

    @property
    def sum(self) -> float:
        """Of the whole chain."""
        return sum(self.ms.values())


class Cameras:
    """Running cameras of one build; `add` starts more."""

    def add(self, urls: Sequence[str]) -> None:
        """Starts cameras with these URLs."""
        raise NotImplementedError

    def pids(self) -> list[int]:
        """All processes of the source side."""
        raise NotImplementedError

    def metric(self, name: str) -> float:
        """The sum of a metric over all cameras."""
        raise NotImplementedError


class PooledCameras(Cameras):
    """Cameras of one source worker of this build."""

    def __init__(self, stack: ExitStack, chain: Chain, fields: Mapping[str, Any]) -> None:
        environ = {"CAMERA_PROCESSES": str(fields["processes"])} if "processes" in fields else {}
        self._pool = stack.enter_context(CameraPool(chain.valkey, chain.folder, environ))
        self._worker = self._pool.worker()
        stack.callback(self._worker.terminate)
        # The next worker of this chain must not find them.
        stack.callback(self._remove)
        self._fields = {name: value for name, value in fields.items() if name != "processes"}
        self._count = 0

    def add(self, urls: Sequence[str]) -> None:
        for url in urls:
            self._pool.put(name_of(self._count), url, types=(TYPE,), fps=CAP_FPS, **self._fields)
            self._count += 1

    def _remove(self) -> None:
        for number in range(self._count):
            self._pool.remove(name_of(number))

    def pids(self) -> list[int]:
        assert self._worker.process is not None
        return [self._worker.process.pid, *children_of(self._worker)]

    def metric(self, name: str) -> float:
        return self._worker.metric(name)


class SingleCameras(Cameras):
    """A camera stream service for each camera, of any build."""

    def __init__(self, stack: ExitStack, chain: Chain) -> None:
        self._stack, self._chain = stack, chain
        self._services: list[ServiceProcess] = []

    def add(self, urls: Sequence[str]) -> None:
        for url in urls:
            environ = {
                **{"QUEUE_URL": self._chain.valkey.url, "INFER_TYPE": TYPE, "CAMERA_FPS": str(CAP_FPS)},
                **{"STREAM_NAME": name_of(len(self._services)), "CAMERA": url},
            }
            name = f"camera-{time.monotonic_ns()}"
            service = ServiceProcess("camera", environ, self._chain.folder, name, self._chain.checkout).start()
            self._stack.callback(service.terminate)
            self._services.append(service)

    def pids(self) -> list[int]:
        return [each.process.pid for each in self._services if each.process is not None]

    def metric(self, name: str) -> float:
        return sum(each.metric(name) for each in self._services)


def name_of(number: int) -> str:
    """The name of a camera."""
    return f"cam-{number}"


class Chain:
    """One build's Redis and pod, which run as long as the block; `cameras` come and go."""

    def __init__(self, folder: Path, models: Path, checkout: Path | None = None) -> None:
        """`checkout` is another build, with its own `.venv`; None is this one."""
        self.folder, self.checkout = folder, checkout
        self._models = models
        self._stack = ExitStack()
        self.valkey = EmbeddedValkey()

    def __enter__(self) -> Chain:
        self._stack.enter_context(self.valkey)
        environ = {
            **{"QUEUE_URL": self.valkey.url, "INFER_TYPE": TYPE, "LOG_LEVEL": "WARNING"},
            **{"INFER_MODEL_NAME": MODEL, "INFER_MODEL_PATH": str(self._models)},
        }
        self._pod = ServiceProcess("infer", environ, self.folder, f"pod-{self.valkey.port}", self.checkout).start()
        self._stack.callback(self._pod.terminate)
        self._pod.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def cameras(
        self, urls: Sequence[str], fields: Mapping[str, Any] | None = None, settle_s: float = 2.0
    ) -> Iterator[Cameras]:
        """Cameras that are live. With `fields` of a CameraSpec (and `processes`), a source worker runs them."""
        with ExitStack() as stack:
            found = SingleCameras(stack, self) if fields is None else PooledCameras(stack, self, fields)
            add(found, urls, settle_s)
            yield found

    def measure(
        self, cameras: Cameras, count: int, fps: float, seconds: float, *, watched: bool, gated: bool = False
    ) -> Sample:
        """Measures for so long; `count` cameras send `fps` frames a second each.

        For a `gated` scene the time is divided by the frames that its cameras sent, else by those pushed and inferred.
        """
        names = [keys.stream_id(name_of(number), TYPE) for number in range(count)]
        with watching(self.valkey.port, names) if watched else ExitStack():
            if watched:
                time.sleep(1.5)  # the pod asks once a second who watches
            before, began = self._counts(cameras), time.monotonic()
            time.sleep(seconds)
            after, spent_s = self._counts(cameras), time.monotonic() - began
        used = {part: 1000 * (after[part] - before[part]) for part in PARTS}
        due = count * fps * spent_s
        pushed, inferred = after["pushed"] - before["pushed"], after["inferred"] - before["inferred"]
        if not gated and min(pushed, inferred) <= 0:
            raise RuntimeError(f"{pushed:.0f} frames were pushed and {inferred:.0f} inferred")
        frames = dict.fromkeys(PARTS, due) if gated else {"source": pushed, "redis": pushed, "pod": inferred}
        return Sample({part: used[part] / frames[part] for part in PARTS}, inferred / due)

    def _counts(self, cameras: Cameras) -> dict[str, float]:
        assert self._pod.process is not None
        assert self.valkey.pid is not None
        return {
            "source": sum(map(cpu_s, cameras.pids())),
            "redis": cpu_s(self.valkey.pid),
            "pod": cpu_s(self._pod.process.pid),
            "pushed": cameras.metric("ei_frames_pushed_total"),
            "inferred": self._pod.metric("ei_frames_inferred_total"),
        }


def add(cameras: Cameras, urls: Sequence[str], settle_s: float) -> None:
    """Adds cameras and waits until all are live."""
    before = cameras.metric("ei_source_up") if cameras.pids() and _up(cameras) is not None else 0
    cameras.add(urls)
    wait_for(lambda: (_up(cameras) or 0) >= before + len(urls), READY_S, f"{len(urls)} live cameras", every_s=0.2)
    time.sleep(settle_s)


def _up(cameras: Cameras) -> float | None:
    with suppress(OSError):
        return cameras.metric("ei_source_up")
    return None


def memory_mb(chain: Chain, url: Callable[[int], str], fields: Mapping[str, Any] | None, few: int, many: int) -> float:
    """PSS of the source side for each further camera, from `few` cameras to `many`, in MB of 1e6 bytes."""
    with chain.cameras([url(number) for number in range(few)], fields, settle_s=4.0) as cameras:
        before = sum(map(pss_mb, cameras.pids()))
        add(cameras, [url(number) for number in range(few, many)], settle_s=6.0)
        return (sum(map(pss_mb, cameras.pids())) - before) / (many - few)


@contextmanager
def watching(port: int, streams: Sequence[str]) -> Iterator[None]:
    """Watches streams as a websocket server does: marks them, subscribes, and reads what is published."""
    with redis.Redis(port=port) as client, socket.create_connection(("127.0.0.1", port)) as connection:
        for each in streams:
            client.set(keys.watch(each), 1, ex=60)
        connection.sendall(f"SUBSCRIBE {' '.join(streams)}\r\n".encode())

        def read() -> None:
            with suppress(OSError):
                while connection.recv(1 << 20):
                    pass

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        yield
        connection.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        client.delete(*map(keys.watch, streams))
