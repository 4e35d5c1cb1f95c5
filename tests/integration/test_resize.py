"""A real pod whose CPU quota changes while it infers: the ratio follows, no frame is uncounted or out of order."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.result import parse_result
from elastic_inference.flows.inference.warm_up import synthetic_frame
from tests.support.inference_pod import Feeder, running_pod
from tests.support.ratio import SIZE, can_make_cgroups, quota_cgroup, set_quota, watch
from tests.support.waiting import wait_for

WINDOW_S = 2.0
STREAMS = 3
# So few that the pod keeps up even on a busy machine: only then does the ratio depend on the quota alone.
FPS = 3.0


def test_a_pod_follows_its_quota_up_and_down(valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path) -> None:
    if not can_make_cgroups():
        pytest.skip("a CPU quota needs root and cgroup v1 here")
    image = synthetic_frame(SIZE).data
    window = {"METRICS_WINDOW_S": f"{WINDOW_S:g}"}
    with quota_cgroup(1.0) as cgroup, running_pod(valkey, tmp_path, shared_models, cgroup=cgroup, **window) as pod:
        pod.wait_ready(120)
        feeder, ended = Feeder(valkey, streams=STREAMS), threading.Event()

        def push() -> None:
            names = itertools.cycle([f"cam-{index}" for index in range(STREAMS)])
            while not ended.wait(1 / FPS):
                feeder.push(image, *SIZE, stream=next(names))

        def lowest_after_a_window() -> float:
            """CPU time that others take makes a ratio higher, never lower."""
            time.sleep(1.0 + WINDOW_S)
            ratios = []
            for _ in range(4):
                ratios.append(look()[0])
                time.sleep(0.5)
            return min(ratios)

        thread = threading.Thread(target=push)
        thread.start()
        try:
            with watch(valkey) as look:
                wait_for(lambda: look()[0] > 0, 30, "a ratio")
                set_quota(cgroup, 0.2)
                small = lowest_after_a_window()
                set_quota(cgroup, 2.0)
                wait_for(lambda: look()[0] < 0.5 * small, 60, "a lower ratio")
                if len(os.sched_getaffinity(0)) > 1:
                    wait_for(lambda: "2 requests at a time" in pod.log.read_text(), 60, "a second stream")
                large = lowest_after_a_window()
                set_quota(cgroup, 0.2)
                wait_for(lambda: look()[0] > 2 * large, 60, "a higher ratio")
        finally:
            ended.set()
            thread.join()
        feeder.close()
        names = ("ei_frames_inferred_total", "ei_frames_dropped_total")
        wait_for(lambda: sum(pod.metrics(*names)) == feeder.pushed, 30, "every frame to be counted")
        assert pod.metric("ei_frames_lost_total") == 0
        assert pod.stop() == 0
    orders = defaultdict(list)
    with redis.Redis(port=valkey.port) as client:
        for _, fields in client.xrange(keys.results("face")):
            result = parse_result(fields[b"json"])
            orders[result.stream].append(result.order)
    assert len(orders) == STREAMS
    assert all(each == sorted(set(each)) for each in orders.values())
