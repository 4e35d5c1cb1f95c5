"""What the camera controller knows of the inference pods, on a real Valkey."""

from __future__ import annotations

import time

import redis
import redis.asyncio as aioredis

from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.flows.cameras.camera_controller import Pods
from tests.support.ports import free_port


async def test_the_controller_knows_which_types_have_pods(client: redis.Redis, valkey: EmbeddedValkey) -> None:
    broker = aioredis.Redis(port=valkey.port)
    pods = Pods(broker)
    assert await pods.types() == frozenset()
    output = ResultPublisher(client, "car", "pod-1", 100)
    output.report_worker(1, 0, 0, capacity_fps=20.0, device="CPU", model="m", precision="FP32")
    assert await pods.types() == {"car"}
    output.remove_worker()
    await broker.aclose()


async def test_a_broker_that_does_not_answer_delays_only_one_look() -> None:
    broker = aioredis.Redis(port=free_port())
    pods = Pods(broker)
    assert await pods.types() is None
    began = time.monotonic()
    assert await pods.types() is None
    assert time.monotonic() - began < 1
    await broker.aclose()
