"""Loads a pod with a share of what it can do and reads its scale ratio: for the ratio's test and its bench."""

from __future__ import annotations

import itertools
import os
import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from elastic_inference import keys
from elastic_inference.embedded_valkey import EmbeddedValkey
from elastic_inference.inference.worker import made_up_frame
from support.inference_pod import Feeder, Pod

SIZE = (768, 432)
STREAMS = 4
CGROUP = Path("/sys/fs/cgroup/cpu")
PERIOD_US = 100_000


@dataclass(frozen=True)
class Level:
    """What was asked of a pod and what it said: frames a second, and the ratio's mean, least and largest."""

    demand_fps: float
    infer_fps: float
    ratio: float
    least: float
    largest: float


def can_make_cgroups() -> bool:
    """Whether a CPU quota can be set here: cgroup v1, as root."""
    return os.access(CGROUP, os.W_OK) and (CGROUP / "cpu.cfs_quota_us").exists()


@contextmanager
def quota_cgroup(cores: float) -> Iterator[Path]:
    """A cgroup with this quota; the processes in it must have ended at the end."""
    folder = CGROUP / f"ei-test-{os.getpid()}-{round(cores * 1000)}"
    folder.mkdir()
    try:
        (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (folder / "cpu.cfs_quota_us").write_text(str(round(cores * PERIOD_US)))
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


def arrivals(randomly: bool, seed: int = 1) -> Iterator[float]:
    """Times between frames, in units of their mean."""
    generator = random.Random(seed)  # noqa: S311  a test's
    return iter(lambda: generator.expovariate(1.0), None) if randomly else itertools.repeat(1.0)


def load(server: EmbeddedValkey, pod: Pod, fps: float, seconds: float, *, randomly: bool = False) -> Level:
    """Pushes `fps` frames a second over STREAMS streams for a window and `seconds`, reads during the latter.

    The ratio is read in the pod's worker hash: a scrape costs the pod 2 ms or so, and four a second are a tenth of
    what a pod of 100m has.
    """
    frame = made_up_frame(SIZE)
    feeder = Feeder(server, streams=STREAMS)
    settle_s = 7.0
    thread = threading.Thread(target=feeder.pace, args=(fps, settle_s + seconds, frame.data, SIZE, arrivals(randomly)))
    thread.start()
    time.sleep(settle_s)
    began, pushed, inferred = time.monotonic(), feeder.pushed, pod.metric("ei_frames_inferred_total")
    ratios = []
    with redis.Redis(port=server.port, decode_responses=True) as client:
        (member,) = client.zrange(keys.WORKERS, 0, -1)
        worker = keys.worker_info(*member.split(":", 1))
        while thread.is_alive():
            ratios.append(float(client.hget(worker, "scale_ratio") or "nan"))
            thread.join(0.5)
    spent_s = time.monotonic() - began
    demand_fps = (feeder.pushed - pushed) / spent_s
    infer_fps = (pod.metric("ei_frames_inferred_total") - inferred) / spent_s
    feeder.close()
    return Level(demand_fps, infer_fps, statistics.mean(ratios), min(ratios), max(ratios))
