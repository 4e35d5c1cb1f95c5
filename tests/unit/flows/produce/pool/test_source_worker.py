"""A source worker whose CPU quota changes while it runs."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry
from tests.support.system_tree import QuotaFile

from elastic_inference.base.config import CameraSettings, Secret
from elastic_inference.base.cpu_quota import CpuWatch
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.flows.produce.pool.source_worker import SourceWorker


def test_a_worker_offers_what_its_quota_allows_now(tmp_path: Path) -> None:
    quota = QuotaFile(tmp_path, 0.5)
    settings = CameraSettings(camera_pool=True, queue_url=Secret("redis://127.0.0.1:1/0"))
    lifecycle = Lifecycle("camera")
    worker = SourceWorker(settings, lifecycle, CollectorRegistry(), CpuWatch(tmp_path))
    assert worker.room() == (0.5, 1)
    quota.set(1.5)
    worker.follow_cpu(100.0)
    cores = len(os.sched_getaffinity(0))
    assert worker.room() == (min(1.5, cores), min(2, cores))
    quota.set(0.25)
    worker.follow_cpu(100.5)
    assert worker.room()[0] == min(1.5, cores), "it looks once a second"
    worker.follow_cpu(101.0)
    assert worker.room() == (0.25, 1)
    lifecycle.stop()
    worker.run()
