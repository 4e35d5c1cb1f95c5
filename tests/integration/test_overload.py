"""More frames than a real pod can infer: both streams get their fair share, Redis stays small, the account adds up."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.result import parse_result
from elastic_inference.flows.inference.warm_up import synthetic_frame
from tests.support.inference_pod import Feeder, running_pod
from tests.support.ratio import SIZE, can_make_cgroups, quota_cgroup
from tests.support.waiting import wait_for

pytestmark = pytest.mark.load

SECONDS = 8.0


def test_two_streams_share_a_pod_that_can_infer_a_third(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path
) -> None:
    if not can_make_cgroups():
        pytest.skip("a CPU quota needs root and cgroup v1 here")
    image = synthetic_frame(SIZE).data
    # A fifth of a core infers some 20 frames a second with face-detection-retail-0005.
    with quota_cgroup(0.2) as cgroup, running_pod(valkey, tmp_path, shared_models, cgroup=cgroup) as pod:
        pod.wait_ready(120)
        feeder = Feeder(valkey, streams=2)
        ended = threading.Event()

        def push() -> None:
            due = {"cam-0": time.monotonic(), "cam-1": time.monotonic()}
            while not ended.wait(max(0.0, min(due.values()) - time.monotonic())):
                name = min(due, key=lambda each: due[each])
                feeder.push(image, *SIZE, stream=name)
                due[name] += {"cam-0": 1 / 60, "cam-1": 1 / 10}[name]

        thread = threading.Thread(target=push)
        thread.start()
        with redis.Redis(port=valkey.port) as client:

            def inferred() -> Counter[str]:
                entries = client.xrange(keys.results("face"))
                return Counter(parse_result(fields[b"json"]).stream.partition(":")[0] for _, fields in entries)

            try:
                wait_for(lambda: len(inferred()) == 2, 30, "results of both streams")
                before, began, largest = inferred(), time.monotonic(), 0
                while (spent_s := time.monotonic() - began) < SECONDS:
                    largest = max(largest, int(client.info("memory")["used_memory"]))
                    time.sleep(0.2)
                after = inferred()
            finally:
                ended.set()
                thread.join()
            slow, fast = ((after[name] - before[name]) / spent_s for name in ("cam-1", "cam-0"))
            assert slow + fast < 40, "the pod was not overloaded"
            assert slow >= 0.8 * min(10.0, (slow + fast) / 2)
            assert largest < 16 * 1024 * 1024

            def accounted() -> bool:
                counted = pod.metric("ei_frames_inferred_total") + pod.metric("ei_frames_dropped_total")
                return counted == feeder.pushed

            wait_for(accounted, 30, "every frame to be inferred or counted as dropped")
        feeder.close()
