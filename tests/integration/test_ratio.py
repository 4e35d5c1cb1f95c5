"""The scale ratio of a real pod at about half and several times its capacity, and what must not move it.

The bars are wide, since other work on the machine takes from the pod; `tests/bench/ratio.py` measures the exact ones.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import redis

from elastic_inference import keys
from elastic_inference.embedded_valkey import EmbeddedValkey
from elastic_inference.inference.worker import made_up_frame
from support.inference_pod import Feeder, running_pod
from support.ratio import SIZE, can_make_cgroups, load, quota_cgroup
from support.waiting import wait_for

pytestmark = pytest.mark.alone

SECONDS = 5.0


@pytest.mark.parametrize(("quota", "flood_fps"), [(None, 450.0), (0.5, 120.0)])
def test_the_ratio_is_demand_over_capacity(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path, quota: float | None, flood_fps: float
) -> None:
    if quota and not can_make_cgroups():
        pytest.skip("a CPU quota needs root and cgroup v1 here")
    group = quota_cgroup(quota) if quota else nullcontext(None)
    with group as cgroup, running_pod(valkey, tmp_path, shared_models, cgroup=cgroup) as pod:
        pod.wait_ready(60)
        flood = load(valkey, pod, flood_fps, SECONDS)
        assert flood.demand_fps > 1.2 * flood.infer_fps, "the flood was none"
        assert flood.ratio == pytest.approx(flood.demand_fps / flood.infer_fps, rel=0.2)
        half = load(valkey, pod, flood.infer_fps / 2, SECONDS)
        assert half.infer_fps == pytest.approx(half.demand_fps, rel=0.1)
        assert 0.3 < half.ratio < 0.75


def test_drops_that_piled_up_while_no_pod_ran_are_no_demand(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path
) -> None:
    frame = made_up_frame(SIZE)
    feeder = Feeder(valkey)
    for _ in range(1000):
        feeder.push(frame.data, *SIZE)
    feeder.close()
    with running_pod(valkey, tmp_path, shared_models) as pod:
        largest = 0.0

        def taken_over() -> bool:
            nonlocal largest
            if not pod.ready():
                return False
            largest = max(largest, pod.metric("ei_scale_ratio"))
            counts = pod.metric("ei_frames_dropped_total") + pod.metric("ei_frames_inferred_total")
            return counts == 1000

        wait_for(taken_over, 30, "the counting of what was dropped")
        # Those that waited may all have been too old: a few fresh ones give the rates something to read.
        later = Feeder(valkey)

        def read() -> bool:
            later.push(frame.data, *SIZE)
            return pod.metric("ei_infer_fps") > 0

        wait_for(read, 20, "a reading of the rates", every_s=0.2)
        later.close()
        largest = max(largest, pod.metric("ei_scale_ratio"), pod.metric("ei_drop_fps"))
        assert largest < 1.0


def test_broken_frames_do_not_raise_the_ratio(valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path) -> None:
    frame = made_up_frame(SIZE)
    with running_pod(valkey, tmp_path, shared_models) as pod, redis.Redis(port=valkey.port) as client:
        pod.wait_ready()
        feeder = Feeder(valkey, streams=4)
        for index in range(400):
            feeder.push(frame.data[: len(frame.data) // 2], *SIZE, stream=f"cam-{index % 4}")
            wait_for(lambda: client.llen(keys.tokens("face")) < 4, 10, "room in the queue")
        feeder.close()
        wait_for(lambda: pod.metric("ei_frames_invalid_total", reason="truncated") == 400, 20, "the counting")
        assert pod.metric("ei_scale_ratio") == 0
        assert pod.metric("ei_drop_fps") == 0
        assert pod.metric("ei_infer_fps") == 0
