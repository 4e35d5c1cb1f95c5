"""24 cameras on three source workers: one is killed, one joins, one drains, one is frozen for long."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.camera import CameraStatus
from tests.support.camera_pool import CameraPool, children_of
from tests.support.camera_site import CameraSite
from tests.support.pool_traffic import PoolTraffic, Switch, check_account
from tests.support.system import ServiceProcess
from tests.support.takeover import FROZEN_S, GAP_S, check_gaps, check_takeover
from tests.support.waiting import wait_for

pytestmark = pytest.mark.load
NAMES = [f"camera-{number}" for number in range(24)]
TYPE = "people"
FPS, KEY_FRAME_S = 5, 2


class Site:
    """The pool, its cameras and its traffic."""

    def __init__(self, pool: CameraPool, cameras: CameraSite, traffic: PoolTraffic) -> None:
        self.pool = pool
        self.cameras = cameras
        self.traffic = traffic

    def workers(self) -> dict[str, str | None]:
        """Which worker reports each camera as live."""
        found: dict[str, CameraStatus | None] = {name: self.pool.status(name) for name in NAMES}
        return {name: each.worker for name, each in found.items() if each is not None and each.state.value == "live"}

    def of(self, worker: ServiceProcess) -> list[str]:
        """The cameras of a worker."""
        return [name for name, each in self.workers().items() if each == worker.pod]

    def wait_spread(self, *workers: ServiceProcess, minimum: int) -> None:
        """Waits until these share all cameras, each has at least `minimum`, and all deliver."""

        def spread() -> bool:
            counts = [len(self.of(each)) for each in workers]
            return sum(counts) == len(NAMES) and min(counts) >= minimum

        wait_for(spread, 60, f"each of {len(workers)} workers to have {minimum} cameras", every_s=0.2)
        self.wait_all()

    def wait_all(self) -> None:
        """Waits until each camera delivers."""
        before = {name: len(self.traffic.of(name, TYPE)) for name in NAMES}
        wait_for(lambda: all(len(self.traffic.of(name, TYPE)) > before[name] for name in NAMES), 60, "frames of all")

    def switches(self, since: float) -> dict[str, Switch]:
        """The last change of worker of each camera since then."""
        return self.traffic.last_switches(NAMES, TYPE, since)


@pytest.fixture
def site(valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Site]:
    environ = {"CAMERA_PROCESSES": "1"}
    with (
        CameraSite(FPS, key_frame_s=KEY_FRAME_S) as cameras,
        PoolTraffic(valkey.port, TYPE) as traffic,
        CameraPool(valkey, tmp_path, environ) as pool,
    ):
        for name in NAMES:
            pool.put(name, cameras.url(name), fps=FPS)
        yield Site(pool, cameras, traffic)


def signal_all(worker: ServiceProcess, number: signal.Signals) -> None:
    """Sends a signal to a worker and its camera processes."""
    assert worker.process is not None
    for pid in [worker.process.pid, *children_of(worker)]:
        os.kill(pid, number)


def test_24_cameras_survive_a_kill_a_join_a_drain_and_a_freeze(site: Site) -> None:
    pool, traffic = site.pool, site.traffic
    first, second, third = [pool.worker() for _ in range(3)]
    site.wait_spread(first, second, third, minimum=6)
    kill(site, first)
    site.wait_spread(second, third, minimum=10)

    joins = time.time()
    fourth = pool.worker().wait_ready()
    site.wait_spread(second, third, fourth, minimum=4)
    check_hand_over(site, "a worker joined", joins)

    drains, mine = time.time(), site.of(second)
    second.begin_stop()
    assert second.wait_end(60) == 0
    site.wait_spread(third, fourth, minimum=8)
    assert site.switches(drains).keys() >= set(mine)
    check_hand_over(site, "a worker drained", drains)

    freeze(site, third)
    for worker in (third, fourth):
        assert worker.terminate(60) == 0
    check_account(traffic)


def kill(site: Site, victim: ServiceProcess) -> None:
    mine, began = site.of(victim), time.time()
    assert mine
    signal_all(victim, signal.SIGKILL)
    wait_for(lambda: site.switches(began).keys() >= set(mine), 60, "the takeover")
    check_takeover(site.cameras, mine, site.switches(began), began)


def check_hand_over(site: Site, what: str, since: float) -> None:
    gaps = site.traffic.check_switches(what, site.switches(since), TYPE, since)
    check_gaps(*gaps, GAP_S)


def freeze(site: Site, worker: ServiceProcess) -> None:
    mine, began = site.of(worker), time.time()
    assert mine
    signal_all(worker, signal.SIGSTOP)
    wait_for(lambda: site.switches(began).keys() >= set(mine), 60, "the takeover")
    wait_for(lambda: time.time() - began > FROZEN_S, 60, "the end of the freeze", every_s=0.2)
    signal_all(worker, signal.SIGCONT)
    wait_for(lambda: site.traffic.wait_more(mine[0], TYPE, 2 * FPS), what="frames after it woke")
    site.traffic.check_epochs(TYPE)
