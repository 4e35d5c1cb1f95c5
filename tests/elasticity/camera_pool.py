"""The camera pool grows and shrinks with its cameras, on a real cluster: `make test-elasticity ARGS=--camera-pool`.

Real RTSP cameras of this machine are Camera objects. First a few of them run on one worker, and show what one costs.
Then so many are added at once that they need several workers, and later they are removed again.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elastic_inference.adapters.camera_registry.camera_values import read_status
from elastic_inference.domain import keys
from tests.elasticity.cluster import CAMERA_POOL, NAMESPACE, QUEUE_NODE_PORT, Cluster, wait_until
from tests.elasticity.scenarios import GOES_S, TARGET
from tests.support.camera_site import CameraSite
from tests.support.pool_traffic import PoolTraffic, check_account

# No pod infers it: the run takes the frames, so that inference does not slow down what is measured.
TYPE = "pool-run"
FPS, KEY_FRAME_S, SIZE = 15, 1, "640x480"
FEW = 2
# Workers' worth of cameras, by what the first ones take.
WORTH = 2.0
LIVE_S, GAP_S, HOLD_S = 60.0, 1.0, 90.0
# To learn what a camera costs.
LEARNS_S = 45.0
# Seconds at the end of the time that they hold, from which follows what all cameras take.
SETTLED = 60


@dataclass(frozen=True)
class Second:
    """One second: workers wanted and Ready, cameras that exist and that are live, the ratio by Prometheus."""

    at_s: float
    replicas: int
    ready: int
    cameras: int
    live: int
    ratio: float | None


class CameraPool:
    """The pool of one installation and its cameras."""

    def __init__(self, cluster: Cluster, site: CameraSite, traffic: PoolTraffic) -> None:
        self._cluster, self._site = cluster, site
        self._redis = traffic.client()
        self._began = time.monotonic()
        self.names: list[str] = []
        self.seconds: list[Second] = []

    def have(self, count: int) -> None:
        """Adds or removes cameras, all at once."""
        names = [f"row-{number}" for number in range(count)]
        gone = [name for name in self.names if name not in names]
        if gone:
            self._cluster.kubectl("-n", NAMESPACE, "delete", "cameras", *gone, "--wait=false")
        made = [
            {
                "apiVersion": "elastic-inference.io/v1",
                "kind": "Camera",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"url": self._site.url(name), "types": [TYPE], "fps": FPS},
            }
            for name in names
            if name not in self.names
        ]
        if made:
            document = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
            self._cluster.kubectl("apply", "-f", "-", stdin=document)
        self.names = names

    def ended(self) -> bool:
        """Whether no worker has a camera any more."""
        rows: Any = self._redis.hkeys(keys.leases("cameras"))
        return not any(row.startswith(b"row-") for row in rows)

    def follow(self, seconds: float, until: Callable[[Second], bool] = lambda _: False) -> Second:
        """Records the pool each second for this long, or until a second that is looked for; returns the last one."""
        ends = time.monotonic() + seconds
        while True:
            self.seconds.append(self._second())
            if until(self.seconds[-1]) or time.monotonic() > ends:
                return self.seconds[-1]
            time.sleep(1)

    def _second(self) -> Second:
        found = self._cluster.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{CAMERA_POOL}")
        replicas, ready = -1, -1
        if isinstance(found, dict) and "spec" in found:
            replicas, ready = found["spec"].get("replicas", 1), found.get("status", {}).get("readyReplicas", 0)
        rows: Any = self._redis.hmget(keys.CAMERA_STATUS, self.names) if self.names else []
        states = [status.state.value for status in map(read_status, rows) if status is not None]
        ratios = [
            float(each["value"][1])
            for each in self._cluster.query(f'ei_scale_ratio{{namespace="{NAMESPACE}",pod=~"{CAMERA_POOL}-.*"}}')
        ]
        ratio = round(statistics.fmean(ratios), 3) if ratios else None
        at_s = round(time.monotonic() - self._began, 1)
        return Second(at_s, replicas, ready, len(self.names), states.count("live"), ratio)


def run(cluster: Cluster, node: str, window_s: float, folder: Path) -> int:
    """1 if a bar was missed. `node` has the node ports; the record goes into `folder`."""
    cluster.use("none")
    cluster.scale(0)
    cluster.scale_cameras()
    login = "admin", cluster.secret("admin-password")
    with (
        CameraSite(FPS, cluster.here(), key_frame_s=KEY_FRAME_S, size=SIZE) as site,
        PoolTraffic(QUEUE_NODE_PORT, TYPE, host=node, login=login) as traffic,
    ):
        pool = CameraPool(cluster, site, traffic)
        try:
            problems = _scenario(pool, traffic, window_s)
        finally:
            pool.have(0)
            folder.mkdir(parents=True, exist_ok=True)
            record = json.dumps([asdict(each) for each in pool.seconds], separators=(",", ":"))
            (folder / "camera-pool.json").write_text(record + "\n")
        wait_until(pool.ended, 60, "the end of all leases")
        traffic.check_epochs(TYPE)
        check_account(traffic)
    print(*problems, f"{len(problems)} bars missed", sep="\n")
    return 1 if problems else 0


def _scenario(pool: CameraPool, traffic: PoolTraffic, window_s: float) -> list[str]:
    pool.have(FEW)
    assert pool.follow(60, lambda each: each.live == FEW).live == FEW, "the first cameras are not live"
    pool.follow(LEARNS_S)
    ratios = [each.ratio for each in pool.seconds[-20:] if each.ratio]
    assert ratios, "no source worker reports a ratio"
    each_one = statistics.fmean(ratios) / FEW
    many = round(WORTH / each_one)
    print(f"a camera takes up to {each_one:.3f} of a worker: adding {many - FEW} at once", flush=True)

    up = pool.follow(0).at_s
    pool.have(many)
    pool.follow(LIVE_S + HOLD_S, lambda each: each.live == many)
    pool.follow(HOLD_S)
    problems = _grew([each for each in pool.seconds if each.at_s > up], up, many)

    down, since = pool.follow(0).at_s, time.time()
    pool.have(FEW)
    shrunk = pool.follow(window_s + GOES_S, lambda each: each.replicas == 1 == each.ready)
    pool.follow(15)
    gap_s = max(traffic.longest_gap(name, TYPE, since) for name in pool.names)
    print(f"one worker after {shrunk.at_s - down:.0f} s; longest time without a frame {gap_s:.2f} s", flush=True)
    if shrunk.replicas != 1:
        problems.append(f"expected one worker within {window_s + GOES_S:.0f} s: {shrunk}")
    if gap_s > GAP_S:
        problems.append(f"{gap_s:.1f} s without a frame of a camera, more than {GAP_S:g}, while workers ended")
    return problems


def _grew(seconds: list[Second], up: float, many: int) -> list[str]:
    """What went wrong after `many` cameras existed from the second `up` on."""
    # Two cameras on one worker also pay for what each worker takes, so what is needed shows when all of them run.
    taken = statistics.fmean(each.ratio * each.ready for each in seconds[-SETTLED:] if each.ratio)
    right = math.ceil(taken / TARGET - 1e-9)
    after = next((each for each in seconds if each.live == many and each.ready >= right), seconds[-1])
    peak = max(each.replicas for each in seconds)
    least = min(each.replicas for each in seconds if each.at_s >= after.at_s)
    print(
        f"all cameras take {taken:.2f} workers, so {right} are needed: Ready, and all cameras live, after "
        f"{after.at_s - up:.0f} s; at most {peak} workers",
        flush=True,
    )
    problems = []
    if not (after.live == many and after.ready >= right and after.at_s - up <= LIVE_S):
        problems.append(f"expected {right} workers and {many} live cameras within {LIVE_S:.0f} s: {after}")
    if peak > right + 1:
        problems.append(f"{peak} workers, though {right} are needed")
    if least < right:
        problems.append(f"only {least} workers later, though the cameras stayed")
    return problems
