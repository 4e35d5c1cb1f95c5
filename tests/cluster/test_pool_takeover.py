"""24 cameras on three source workers of a real cluster: one is killed, one joins, one drains, one is frozen."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from elastic_inference.adapters.camera_registry.camera_values import read_status
from elastic_inference.domain import keys
from tests.cluster.conftest import CAMERA_POOL, PATIENCE_S, Installation
from tests.cluster.node_processes import signal_pod
from tests.support.camera_site import CameraSite
from tests.support.pool_traffic import PoolTraffic, Switch, check_account
from tests.support.takeover import FROZEN_S, check_gaps, check_takeover
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2700)]
NAMES = [f"row-{number}" for number in range(24)]
# No pod infers it: the test takes its frames, so that inference does not slow down what is measured.
TYPE = "takeover"
FPS, KEY_FRAME_S = 5, 2
# A pod that starts on a node with two cores holds up everything else, also cameras that stay where they are.
STARVED_S = 4.0
# A camera that still moves may have left a worker before that is killed, drained or frozen.
SETTLED_S = 5.0
# Inference of these streams takes a small node's CPU, and far more of it than the workers' requests leave them.
SAMPLES = [f"ei-sample-{kind}-deployment" for kind in ("car", "face", "object", "people")]


class Site:
    """The installed pool, its cameras and its traffic."""

    def __init__(self, installed: Installation, cameras: CameraSite, traffic: PoolTraffic) -> None:
        self.installed = installed
        self.cameras = cameras
        self.traffic = traffic
        self._redis = traffic.client()
        # Another run may have left them; then the first frames would get other numbers.
        self._redis.delete(*(keys.push_epoch(TYPE, name) for name in NAMES))

    def apply(self) -> None:
        """Makes the cameras, all at once."""
        made = [
            {
                "apiVersion": "elastic-inference.io/v1",
                "kind": "Camera",
                "metadata": {"name": name, "labels": {"row": "takeover"}},
                "spec": {"url": self.cameras.url(name), "types": [TYPE], "fps": FPS},
            }
            for name in NAMES
        ]
        document = {"apiVersion": "v1", "kind": "List", "items": made}
        self.installed.kubectl.run("apply", "-f", "-", stdin=json.dumps(document))

    def remove(self) -> None:
        """Removes the cameras; returns when no worker has one any more."""
        self.installed.kubectl.run("delete", "cameras", "-l", "row=takeover", "--ignore-not-found")
        wait_for(lambda: not set(NAMES) & self._leased(), 60, "the workers to end the cameras", every_s=0.2)

    def scale(self, pods: int) -> None:
        """Asks for this many workers."""
        self.installed.kubectl.run("scale", f"deployment/{CAMERA_POOL}", f"--replicas={pods}")

    def scale_samples(self, pods: int) -> None:
        """Asks for this many pods of each sample stream."""
        self.installed.kubectl.run("scale", "deployment", "-l", f"app in ({','.join(SAMPLES)})", f"--replicas={pods}")

    def workers(self) -> dict[str, list[str]]:
        """The live cameras of each worker."""
        found: dict[str, list[str]] = {}
        rows: Any = self._redis.hmget(keys.CAMERA_STATUS, NAMES)
        for name, row in zip(NAMES, rows, strict=True):
            status = read_status(row)
            if status is not None and status.state.value == "live" and status.worker:
                found.setdefault(status.worker, []).append(name)
        return found

    def wait_spread(self, workers: int, minimum: int) -> dict[str, list[str]]:
        """Waits until `workers` workers share all cameras, each at least `minimum`; returns who has which."""

        def spread() -> dict[str, list[str]]:
            found = self.workers()
            counts = [len(each) for each in found.values()]
            return found if sum(counts) == len(NAMES) and len(counts) == workers and min(counts) >= minimum else {}

        try:
            return wait_for(spread, PATIENCE_S, f"{workers} workers with {minimum} cameras each", every_s=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.workers()}; {self.installed.kubectl.run('get', 'pods')}") from None

    def wait_settled(self, workers: int, minimum: int) -> dict[str, list[str]]:
        """As `wait_spread`, once no camera has moved for a while."""
        found, since = self.wait_spread(workers, minimum), time.time()

        def still() -> bool:
            nonlocal found, since
            now = self.workers()
            if now != found:
                found, since = now, time.time()
            return time.time() - since > SETTLED_S

        wait_for(still, PATIENCE_S, "the cameras to stay where they are", every_s=0.2)
        return found

    def switches(self, since: float) -> dict[str, Switch]:
        """The last change of worker of each camera since then."""
        return self.traffic.last_switches(NAMES, TYPE, since)

    def wait_switched(self, names: list[str], since: float) -> None:
        """Waits until another lease goes on with each of these cameras."""
        wait_for(lambda: self.switches(since).keys() >= set(names), 90, "other workers to take over", every_s=0.1)

    def _leased(self) -> set[str]:
        rows: Any = self._redis.hkeys(keys.leases("cameras"))
        return {row.decode() for row in rows}


@pytest.fixture
def site(installed: Installation) -> Iterator[Site]:
    login = "admin", installed.passwords["admin-password"]
    with (
        CameraSite(FPS, installed.here, key_frame_s=KEY_FRAME_S, size="320x240") as cameras,
        PoolTraffic(installed.queue_port, TYPE, host=installed.node, login=login) as traffic,
    ):
        found = Site(installed, cameras, traffic)
        found.scale_samples(0)
        try:
            yield found
        finally:
            found.remove()
            found.scale(1)
            found.scale_samples(1)
            installed.kubectl.wait_rolled_out()
            left = ("pods", "-l", f"app={CAMERA_POOL}")
            wait_for(lambda: len(installed.kubectl.get(*left)["items"]) == 1, 60, "the other workers to end", every_s=1)


def test_24_cameras_survive_a_kill_a_join_a_drain_and_a_freeze(site: Site) -> None:
    site.scale(3)
    site.installed.kubectl.wait_rolled_out()
    site.apply()
    kill(site)

    # The container starts again, and is a new worker.
    joins = time.time()
    site.wait_spread(3, minimum=4)
    site.scale(4)
    site.wait_spread(4, minimum=3)
    check_hand_over(site, "workers joined", joins)

    drain(site)
    freeze(site)
    site.remove()
    site.traffic.check_epochs(TYPE)
    check_account(site.traffic)


def kill(site: Site) -> None:
    victim, mine = site.wait_settled(3, minimum=4).popitem()
    began = time.time()
    signal_pod(site.installed, victim, signal.SIGKILL)
    site.wait_switched(mine, began)
    check_takeover(site.cameras, mine, site.switches(began), began)


def check_hand_over(site: Site, what: str, since: float) -> None:
    gaps = site.traffic.check_switches(what, site.switches(since), TYPE, since)
    check_gaps(*gaps, STARVED_S)


def drain(site: Site) -> None:
    victim, mine = next(iter(site.wait_settled(4, minimum=3).items()))
    began = time.time()
    # The deployment starts another one meanwhile.
    site.installed.kubectl.run("delete", "pod", victim, "--wait=false")
    site.wait_switched(mine, began)
    check_hand_over(site, "a worker drained", began)


def freeze(site: Site) -> None:
    victim, mine = max(site.wait_settled(4, minimum=3).items(), key=lambda each: len(each[1]))
    began = time.time()
    signal_pod(site.installed, victim, signal.SIGSTOP)
    try:
        site.wait_switched(mine, began)
        wait_for(lambda: time.time() - began > FROZEN_S, 60, "the end of the freeze", every_s=0.2)
    finally:
        signal_pod(site.installed, victim, signal.SIGCONT)
    site.traffic.wait_more(mine[0], TYPE, 2 * FPS)
    print(f"a worker with {len(mine)} cameras was frozen for {FROZEN_S:.0f} s")
