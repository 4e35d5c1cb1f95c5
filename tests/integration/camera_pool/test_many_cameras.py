"""Hundreds of cameras at once: added by the API, added and removed while the others run, and hundreds of bad ones."""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.adapters.leases.lease_rows import read_leases
from elastic_inference.adapters.redis_input import read_fields
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.bad_cameras import BadCamera
from tests.support.camera_pool import CameraPool, children_of, opens, processes_of
from tests.support.gateway import RunningGateway
from tests.support.many_cameras import ManyCameras
from tests.support.system import ServiceProcess, cpu_s
from tests.support.waiting import busy, wait_for

pytestmark = pytest.mark.load

ALL = "/api/cameras"
GROUP = "cameras"
COUNT, FPS = 200, 2
LIVE_S = 30.0
CHANGES_PER_S, CHANGING_S = 5, 10
# CPU of all source workers for each camera, in seconds a second: a quiet machine needs 0.0016.
MOST_CPU = 0.008
BAD = (("silent", "rtsp"), ("silent", "http"), ("rubbish", "rtsp"), ("rubbish", "http"), ("noise", "http"))


@pytest.fixture
def pool(valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[CameraPool]:
    with CameraPool(valkey, tmp_path) as found:
        yield found


def status_of(pid: int) -> Mapping[str, str]:
    """`/proc/<pid>/status`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


class Site:
    """Gateway and housekeeping beside a pool, and what the API says."""

    def __init__(self, pool: CameraPool, gateway: RunningGateway, cameras: ManyCameras) -> None:
        self.pool = pool
        self.gateway = gateway
        self.cameras = cameras

    def add(self, name: str) -> None:
        answer = self.gateway.ask(ALL, "POST", {"name": name, "url": self.cameras.url(name), "fps": FPS})
        assert answer.status == 201, answer.body

    def remove(self, name: str) -> None:
        assert self.gateway.ask(f"{ALL}/{name}", "DELETE").status == 204

    def live(self) -> set[str]:
        listed = self.gateway.ask(ALL).json["cameras"]
        return {camera["name"] for camera in listed if camera["status"]["state"] == "live"}

    def spread(self) -> tuple[float, float]:
        """(the fullest worker's load less the emptiest one's, the dearest camera), as the leases say."""
        client = self.pool.client
        clock: Any = client.time()
        leases, rows = (read_fields(client.hgetall(key)) for key in (keys.leases(GROUP), keys.lease_workers(GROUP)))
        held, workers = read_leases(leases, rows, clock[0] + clock[1] / 1e6)
        loads = dict.fromkeys(workers, 0.0)
        for lease in held.values():
            if lease.worker is not None:
                loads[lease.worker] += lease.cost
        return max(loads.values()) - min(loads.values()), max(lease.cost for lease in held.values())

    def cpu_s(self) -> float:
        return sum(cpu_s(pid) for worker in self.pool.workers for pid in processes_of(worker))


@pytest.fixture
def site(pool: CameraPool, valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Site]:
    environ = {"QUEUE_URL": valkey.url, "CAMERAS_FILE": str(tmp_path / "cameras.yaml")}
    housekeeping = ServiceProcess("housekeeping", environ, tmp_path, "housekeeping").start()
    try:
        for worker in (housekeeping, pool.worker(), pool.worker()):
            worker.wait_ready()
        with ManyCameras(FPS) as cameras, RunningGateway(valkey.url) as gateway:
            wait_for(lambda: gateway.ask(ALL).json["problem"] is None, 20, "the owner")
            yield Site(pool, gateway, cameras)
    finally:
        housekeeping.kill()


def test_two_hundred_cameras_come_at_once_and_others_come_and_go(site: Site) -> None:
    names = [f"camera-{number}" for number in range(COUNT)]
    began, slow = time.monotonic(), busy()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(site.add, names))
    wait_for(lambda: site.live() == set(names), LIVE_S * slow, "all cameras live", 0.5)
    assert time.monotonic() - began < LIVE_S * max(slow, busy())

    def even() -> bool:
        gap, dearest = site.spread()
        return gap <= dearest + 1e-6

    wait_for(even, 30 * slow, "loads within one camera's cost", 0.5)

    # Others come and go; what stays is neither opened again nor loses frames.
    staying, leaving = names[: COUNT // 2], names[COUNT // 2 :]
    site.pool.take()
    opened, seen = site.cameras.counts(), {name: len(site.pool.frames[name]) for name in staying}
    began, used = time.monotonic(), site.cpu_s()
    for number in range(CHANGING_S * CHANGES_PER_S):
        site.remove(leaving[number])
        site.add(f"new-{number}")
        site.pool.take()
        time.sleep(max(0.0, began + (number + 1) / CHANGES_PER_S - time.monotonic()))
    site.pool.take()
    lasted_s = time.monotonic() - began
    cost = (site.cpu_s() - used) / lasted_s / COUNT
    assert cost < MOST_CPU, f"{cost:.4f} CPU for each camera"
    got = {name: len(site.pool.frames[name]) - seen[name] for name in staying}
    assert min(got.values()) >= 0.8 * FPS * lasted_s, sorted(got.values())[:5]
    again = [name for name in staying if site.cameras.counts()[name].opened > opened[name].opened]
    assert len(again) <= 8, f"moved to another worker: {again}"
    expected = {*staying, *leaving[CHANGING_S * CHANGES_PER_S :], *(f"new-{n}" for n in range(number + 1))}
    wait_for(lambda: site.live() == expected, LIVE_S * slow, "the new ones live", 0.5)


def test_two_hundred_bad_cameras_cost_the_good_ones_nothing(pool: CameraPool) -> None:
    worker = pool.worker().wait_ready()
    good = [f"good-{number}" for number in range(4)]
    bad = {f"{kind}-{scheme}-{number}": scheme for number in range(COUNT // len(BAD)) for kind, scheme in BAD}
    with ManyCameras(5) as cameras:
        for name in good:
            # Above the camera's rate, so that no frame is over the cap.
            pool.put(name, cameras.url(name), fps=60)
        for name in good:
            pool.wait_state(name, "live")
        for name, scheme in bad.items():
            pool.put(name, cameras.url(name, scheme))
        words = {
            "silent": "did not answer in time",
            "rubbish-rtsp": "does not answer as RTSP does",
            "rubbish-http": "does not answer as HTTP does",
            "noise": "has sent no image for 5 s",
        }
        for name in bad:
            # A busy machine may reset a connection before: then it says that first.
            said = next(text for kind, text in words.items() if name.startswith(kind))
            pool.wait(functools.partial(says, pool, name, said), 60 * busy(), f"{name}: {said}")
        pids = processes_of(worker)
        pool.take()
        before = {name: len(pool.frames[name]) for name in good}
        sent, dropped = cameras.counts(), worker.metric("ei_frames_dropped_total")
        memory, began = [resident_mb(pid) for pid in pids], time.monotonic()
        pool.wait(lambda: time.monotonic() - began > 10, 60)
        sent_since = {name: cameras.counts()[name].sent - sent[name].sent for name in good}
        missing = {name: sent_since[name] - (len(pool.frames[name]) - before[name]) for name in good}
        # One is on its way at either end; a busy machine drops some, and counts them.
        assert max(missing.values()) <= 2 + worker.metric("ei_frames_dropped_total") - dropped, missing
        assert worker.ready()["ready"]
        for pid, mb in zip(pids, memory, strict=True):
            assert resident_mb(pid) < mb + 15
            assert resident_mb(pid) < 200
            # Two for each camera, and one that forwards.
            assert int(status_of(pid)["Threads"]) < 3 * COUNT + 20


def test_after_a_crash_the_other_cameras_are_back_within_two_seconds(pool: CameraPool) -> None:
    worker = pool.worker().wait_ready()
    good = [f"good-{number}" for number in range(8)]
    with ManyCameras(10) as cameras, BadCamera() as silent:
        for name in good:
            pool.put(name, cameras.url(name), fps=10)
        for name in good:
            pool.wait_state(name, "live")
            pool.wait_frames(name, 5)
        pool.put("bad", f"rtsp://127.0.0.1:{silent.port}/")
        for crash in (1, 2):
            victim = pool.wait(lambda: opens(worker, silent.port), 30 * busy(), "the bad one's opening")
            crashed = time.monotonic()
            os.kill(victim, signal.SIGSEGV)
            for name in good:
                pool.wait_frames(name, 3)
            back = max(next(at for at, _ in pool.frames[name] if at > crashed + 0.3) for name in good)
            assert back - crashed < 2.0 * busy(), f"crash {crash}"
            pool.wait(lambda gone=victim: gone not in children_of(worker))  # type: ignore[misc]
        assert "crashed 2 processes" in (pool.wait_state("bad", "quarantined").reason or "")


def says(pool: CameraPool, name: str, words: str) -> bool:
    """Whether a camera is not live for this reason."""
    status = pool.status(name)
    return status is not None and words in (status.reason or "")


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(status_of(pid)["VmRSS"].split()[0]) / 1024
