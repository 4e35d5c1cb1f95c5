"""The frame queue: producers push, pods pop, the gateway watches. See doc/redis.md."""

from elastic_inference.adapters.frame_queue.consumer import QueueConsumer
from elastic_inference.adapters.frame_queue.monitor import QueueMonitor, SourceInfo
from elastic_inference.adapters.frame_queue.pop_batch import (
    MAX_POP_BYTES,
    InvalidFrame,
    PopBatch,
    PoppedFrame,
)
from elastic_inference.adapters.frame_queue.producer import PushOutcome, QueueProducer

__all__ = [
    "MAX_POP_BYTES",
    "InvalidFrame",
    "PopBatch",
    "PoppedFrame",
    "PushOutcome",
    "QueueConsumer",
    "QueueMonitor",
    "QueueProducer",
    "SourceInfo",
]
