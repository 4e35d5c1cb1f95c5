"""Faults of the camera pool: its workers, their camera processes, the owner of the cameras and Redis."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator

import yaml

from elastic_inference.adapters.camera_registry.camera_values import read_status
from elastic_inference.domain import keys
from tests.faults.load import FPS, TYPE
from tests.faults.processes import redis_emptied, redis_killed, sleep
from tests.faults.record import Account
from tests.faults.runner import Fault, Seen
from tests.faults.site import CAMERAS, PASSWORDS, STALL_S, Site
from tests.support.background import Background
from tests.support.camera_pool import children_of, processes_of
from tests.support.pool_traffic import FENCE
from tests.support.waiting import wait_for

POOL = "the camera pool"
OWNER = "housekeeping"
WORKERS = ("worker-1", "worker-2")
# Frames that enter a new Redis before they are counted there.
UNSEEN = int(4 * FPS)


class PushCounter(Background):
    """Counts the frames of leased streams that enter the queue, as MONITOR shows them.

    The counters of a worker end with its camera processes, and when a camera moves to another worker.
    """

    def __init__(self, port: int, password: str) -> None:
        super().__init__()
        self.pushed: Counter[str] = Counter()
        self._port, self._hello = port, f"AUTH admin {password}\r\nMONITOR\r\n".encode()
        self._last: dict[str, bytes] = {}

    def run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 5) as monitor:
                monitor.sendall(self._hello)
                # It shows something many times a second.
                monitor.settimeout(60)
                with monitor.makefile("rb") as lines:
                    for line in lines:
                        self._note(line)
                        if self._stop.is_set():
                            return
            self._stop.wait(0.02)

    def _note(self, line: bytes) -> None:
        if match := FENCE.match(line[:400]):
            name, number = match[3].decode(), match[5]
            # A new lease that asks for its first number moves the fence without a frame.
            self.pushed[name] += self._last.get(name) != number
            self._last[name] = number


class PoolSite(Site):
    """A site whose two cameras are in `cameras.yaml`: housekeeping owns them, two source workers share them."""

    def _add_housekeeping(self) -> None:
        self.add(OWNER, OWNER, {"CAMERAS_FILE": str(self.folder / "cameras.yaml")})

    def _add_cameras(self) -> None:
        self._pushes = self.beside(PushCounter(self.valkey.port, PASSWORDS["admin"]))
        cameras = [
            {"name": name, "url": server.url, "types": [TYPE], "fps": FPS} for name, server in self.sources.items()
        ]
        (self.folder / "cameras.yaml").write_text(yaml.safe_dump({"cameras": cameras}))
        login = {"QUEUE_USERNAME": "source", "QUEUE_PASSWORD": PASSWORDS["source"]}
        pool = {"CAMERA_POOL": "true", "CAMERA_PROCESSES": "1", "CAMERA_NETWORKS": "127.0.0.1"}
        for name in WORKERS:
            self.add("camera", name, {**login, **pool, "SOURCE_STALL_S": str(STALL_S)})

    def note_counters(self, name: str) -> Counter[str]:
        found = super().note_counters(name)
        if name in WORKERS:
            found["pushed"] = found["refused"] = 0
        return found

    def account(self) -> Account:
        found = super().account()
        found.pushed += self._pushes.pushed.total()
        return found

    def worker(self) -> str:
        """The worker that has the first camera now."""

        def found() -> str | None:
            status = read_status(self.admin.hget(keys.CAMERA_STATUS, CAMERAS[0]))
            return next((name for name in WORKERS if status and self.named(name).pod == status.worker), None)

        name = wait_for(found, 20, f"a worker for {CAMERAS[0]}")
        assert name is not None
        return name


def _pool(site: Site) -> PoolSite:
    assert isinstance(site, PoolSite)
    return site


def worker_killed(site: Site, seen: Seen) -> None:
    """SIGKILL of the worker that runs a camera, and a new one at once."""
    seen.others_go_on(*CAMERAS)
    site.restart(_pool(site).worker())


def camera_process_killed(site: Site, seen: Seen) -> None:
    """SIGKILL of a worker's camera process."""
    seen.others_go_on(*CAMERAS)
    for child in children_of(site.named(_pool(site).worker())):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def frozen(seconds: float, *, owner: bool) -> Callable[[Site, Seen], None]:
    """SIGSTOP of a worker with its camera processes, or of the owner too, for longer than a lease lasts."""

    def inject(site: Site, seen: Seen) -> None:
        seen.others_go_on(*CAMERAS)
        stopped = processes_of(site.named(_pool(site).worker()))
        with _stopped([*stopped, *([site.pid(OWNER)] if owner else [])]):
            sleep(1)
            began = time.monotonic()
            back = "the other worker delivers both cameras"
            seen.within(back, lambda: all(site.reader.back_at(name, began) for name in CAMERAS), 10)
            sleep(max(0.0, seconds - (time.monotonic() - began)))

    return inject


def owner_killed(site: Site, seen: Seen) -> None:
    """SIGKILL of housekeeping, which owns the cameras, and a new one at once."""
    seen.others_go_on()
    site.restart(OWNER)


def new_redis(inject: Callable[[Site, Seen], None]) -> Callable[[Site, Seen], None]:
    """A fault after which the first frames are not counted."""

    def inject_uncounted(site: Site, seen: Seen) -> None:
        inject(site, seen)
        seen.may_forge(UNSEEN, "frames that were pushed before they could be counted")

    return inject_uncounted


@contextlib.contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


FAULTS = tuple(
    Fault(POOL, name, inject, "pool")
    for name, inject in (
        ("a source worker killed", worker_killed),
        ("a camera process killed", camera_process_killed),
        ("a source worker frozen for 5 s", frozen(5.0, owner=False)),
        ("a source worker and the owner frozen for 20 s", frozen(20.0, owner=True)),
        ("the owner of the cameras killed", owner_killed),
        ("Redis killed under the pool", new_redis(redis_killed)),
        ("Redis emptied under the pool", redis_emptied),
    )
)
