"""Loads a pod with a share of its capacity and reads its scale ratio, for the test and the benchmark of the ratio."""

from __future__ import annotations

import enum
import itertools
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.flows.inference.warm_up import synthetic_frame
from tests.support.inference_pod import Feeder

SIZE = (768, 432)
STREAMS = 4
CGROUP = Path("/sys/fs/cgroup/cpu")
PERIOD_US = 100_000
# Until the pod has reported the first frames of a level.
SETTLE_S = 2.0
# Fewer than the queues of the streams hold, so that a pod that keeps up drops none.
BURST = 8


class Arrivals(enum.Enum):
    """When frames arrive: evenly, at random (a Poisson process), or BURST of them together."""

    STEADY = "steady"
    RANDOM = "random"
    BURSTS = "bursts"


@dataclass(frozen=True)
class Level:
    """The load of a pod, frames a second, and its answer: the mean, lowest and highest ratio.

    `demand_fps` counts frames pushed, `infer_fps` results in the broker: neither relies on the pod.
    """

    demand_fps: float
    infer_fps: float
    ratio: float
    lowest: float
    highest: float


def can_make_cgroups() -> bool:
    """Whether a CPU quota can be set here: cgroup v1, as root."""
    return os.access(CGROUP, os.W_OK) and (CGROUP / "cpu.cfs_quota_us").exists()


@contextmanager
def quota_cgroup(cores: float) -> Iterator[Path]:
    """A cgroup with this quota. Its processes must have ended when the block ends."""
    folder = CGROUP / f"ei-test-{os.getpid()}-{round(cores * 1000)}"
    folder.mkdir()
    try:
        (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        set_quota(folder, cores)
        yield folder
    finally:
        deadline = time.monotonic() + 5
        while True:
            try:
                folder.rmdir()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def set_quota(folder: Path, cores: float) -> None:
    """Changes the quota of a cgroup, as Kubernetes does when it resizes a pod."""
    (folder / "cpu.cfs_quota_us").write_text(str(round(cores * PERIOD_US)))


def gaps(arrivals: Arrivals, seed: int = 1) -> Iterator[float]:
    """Times between frames, in units of their mean."""
    if arrivals is Arrivals.RANDOM:
        generator = random.Random(seed)  # noqa: S311  a test's
        return iter(lambda: generator.expovariate(1.0), None)
    if arrivals is Arrivals.BURSTS:
        return itertools.cycle([0.0] * (BURST - 1) + [float(BURST)])
    return itertools.repeat(1.0)


@contextmanager
def watch(server: EmbeddedValkey) -> Iterator[Callable[[], tuple[float, int]]]:
    """Reads the only pod's ratio from its worker hash, and how many results it has published, without asking the pod.

    A scrape costs the pod about 2 ms, and four a second are a tenth of what a pod of 100m has.
    """
    with redis.Redis(port=server.port, decode_responses=True) as client:
        (member,) = client.zrange(keys.WORKERS, 0, -1)
        infer_type, _, pod = member.partition(":")

        def look() -> tuple[float, int]:
            ratio = client.hget(keys.worker_info(infer_type, pod), "scale_ratio") or "nan"
            key = keys.results(infer_type)
            return float(ratio), client.xinfo_stream(key)["entries-added"] if client.exists(key) else 0

        yield look


def load(
    server: EmbeddedValkey,
    fps: float,
    seconds: float,
    *,
    arrivals: Arrivals = Arrivals.STEADY,
    window_s: float = 5.0,
) -> Level:
    """Pushes `fps` frames a second in STREAMS streams, waits for one window, then reads the ratio for `seconds`.

    Frames are counted over that window too, since the first readings cover it.
    """
    frame = synthetic_frame(SIZE)
    feeder = Feeder(server, streams=STREAMS)
    duration_s = SETTLE_S + window_s + seconds
    thread = threading.Thread(target=feeder.pace, args=(fps, duration_s, frame.data, SIZE, gaps(arrivals)))
    thread.start()
    time.sleep(SETTLE_S)
    ratios = []
    with watch(server) as look:
        began, pushed, (_, published) = time.monotonic(), feeder.pushed, look()
        time.sleep(window_s)
        while thread.is_alive():
            ratios.append(look()[0])
            thread.join(0.5)
        spent_s = time.monotonic() - began
        infer_fps = (look()[1] - published) / spent_s
    demand_fps = (feeder.pushed - pushed) / spent_s
    feeder.close()
    return Level(demand_fps, infer_fps, statistics.mean(ratios), min(ratios), max(ratios))
