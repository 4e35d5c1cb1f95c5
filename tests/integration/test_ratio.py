"""The scale ratio of a real pod below and above its capacity, and what must not change it.

The bars are wide, since other work on the machine slows the pod; `tests/bench/ratio.py` has the exact ones.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.flows.inference.warm_up import synthetic_frame
from tests.support.background import repeating
from tests.support.inference_pod import Feeder, running_pod
from tests.support.ratio import SIZE, STREAMS, Arrivals, Level, can_make_cgroups, load, quota_cgroup
from tests.support.waiting import wait_for

pytestmark = pytest.mark.load

WINDOW_S = 3.0
SECONDS = 2.0
SETTINGS = {"METRICS_WINDOW_S": f"{WINDOW_S:g}"}
# How often a level may be measured again: other work on the machine slows the pod.
RETRIES = 3


@pytest.mark.parametrize(
    ("quota", "flood_fps", "share", "arrivals"),
    [(None, 450.0, 0.5, Arrivals.BURSTS), (0.5, 150.0, 0.5, Arrivals.STEADY)],
    ids=["none", "half"],
)
def test_the_ratio_is_demand_over_capacity(  # noqa: PLR0917  fixtures
    valkey: EmbeddedValkey,
    tmp_path: Path,
    shared_models: Path,
    quota: float | None,
    flood_fps: float,
    share: float,
    arrivals: Arrivals,
) -> None:
    if quota and not can_make_cgroups():
        pytest.skip("a CPU quota needs root and cgroup v1 here")
    left = RETRIES

    def measured(fps: float, arrivals: Arrivals = Arrivals.STEADY) -> Level:
        return load(valkey, fps, SECONDS, arrivals=arrivals, window_s=WINDOW_S)

    def capacity_under(fps: float) -> float:
        """The pod's capacity, measured with a flood of about `fps`; the ratio of that flood is checked too."""
        nonlocal left
        while True:
            level = measured(fps)
            overloaded = level.demand_fps > 1.2 * level.infer_fps
            if overloaded and level.ratio == pytest.approx(level.demand_fps / level.infer_fps, rel=0.2):
                return level.infer_fps
            left -= 1
            assert left >= 0, level
            fps *= 1.0 if overloaded else 1.5

    group = quota_cgroup(quota) if quota else nullcontext(None)
    with group as cgroup, running_pod(valkey, tmp_path, shared_models, cgroup=cgroup, **SETTINGS) as pod:
        pod.wait_ready(60)
        capacity_fps = capacity_under(1.5 * capacity_under(flood_fps))
        while True:
            level = measured(share * capacity_fps, arrivals)
            if level.ratio == pytest.approx(level.demand_fps / capacity_fps, abs=0.15):
                break
            left -= 1
            assert left >= 0, (capacity_fps, level)
            capacity_fps = capacity_under(1.5 * capacity_fps)


def test_drops_from_before_the_pod_started_do_not_count_as_demand(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path
) -> None:
    frame = synthetic_frame(SIZE)
    feeder = Feeder(valkey)
    for _ in range(1000):
        feeder.push(frame.data, *SIZE)
    feeder.close()
    with running_pod(valkey, tmp_path, shared_models) as pod:
        highest = 0.0

        def counted() -> bool:
            nonlocal highest
            if not pod.ready():
                return False
            highest = max(highest, pod.metric("ei_scale_ratio"))
            counts = pod.metric("ei_frames_dropped_total") + pod.metric("ei_frames_inferred_total")
            return counts == 1000

        wait_for(counted, 30, "all drops to be counted")
        # All frames that waited may have been too old; a few fresh ones give the rates something to measure.
        later = Feeder(valkey)

        def read() -> bool:
            later.push(frame.data, *SIZE)
            return pod.metric("ei_infer_fps") > 0

        wait_for(read, 20, "the rates", every_s=0.2)
        later.close()
        highest = max(highest, pod.metric("ei_scale_ratio"), pod.metric("ei_drop_fps"))
        assert highest < 1.0


def test_broken_frames_do_not_raise_the_ratio(valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path) -> None:
    """A few good frames alone, then beside many that fail at the pop, then beside many that cannot be decoded."""
    good = synthetic_frame(SIZE).data
    group = quota_cgroup(0.2) if can_make_cgroups() else nullcontext(None)
    with (
        group as cgroup,
        running_pod(valkey, tmp_path, shared_models, cgroup=cgroup, **SETTINGS) as pod,
        redis.Redis(port=valkey.port) as client,
    ):
        pod.wait_ready(60)
        feeder = Feeder(valkey, streams=STREAMS + 1)

        def garbage() -> None:
            client.rpush(keys.legacy_queue("face"), b"\xc1" + good)

        def truncated() -> None:
            feeder.push(good[: len(good) // 2], *SIZE, stream=f"cam-{STREAMS}")

        alone = load(valkey, 4, SECONDS, window_s=WINDOW_S).ratio
        with repeating(garbage, 300):
            with_garbage = load(valkey, 4, SECONDS, window_s=WINDOW_S).ratio
        with repeating(truncated, 20):
            with_truncated = load(valkey, 4, SECONDS, window_s=WINDOW_S).ratio
        feeder.close()
        assert pod.metric("ei_frames_invalid_total", reason="not_msgpack") > 200 * SECONDS
        assert pod.metric("ei_frames_invalid_total", reason="truncated") > 10 * SECONDS
        assert alone > 0
        assert with_garbage < alone + 0.1
        assert with_truncated < alone + 0.1
