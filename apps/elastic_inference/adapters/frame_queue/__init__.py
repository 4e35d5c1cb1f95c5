"""The frame queue: producers push, pods pop, the gateway reads, housekeeping cleans up. See `doc/redis.md`."""

from elastic_inference.adapters.frame_queue.consumer import QueueConsumer
from elastic_inference.adapters.frame_queue.janitor import Janitor
from elastic_inference.adapters.frame_queue.pop_batch import MAX_POP_BYTES, InvalidFrame, PopBatch, PoppedFrame
from elastic_inference.adapters.frame_queue.producer import QueueProducer
from elastic_inference.adapters.frame_queue.push_many import PushUnderway, push_many
from elastic_inference.adapters.frame_queue.push_request import PushLease, PushOutcome
from elastic_inference.adapters.frame_queue.reader import KnownTypes, QueueReader, SourceInfo
from elastic_inference.adapters.frame_queue.relief import MemoryRelief
from elastic_inference.adapters.frame_queue.sweeper import Sweeper
from elastic_inference.adapters.frame_queue.wanted_sizes import ask_sizes

__all__ = [
    "MAX_POP_BYTES",
    "InvalidFrame",
    "Janitor",
    "KnownTypes",
    "MemoryRelief",
    "PopBatch",
    "PoppedFrame",
    "PushLease",
    "PushOutcome",
    "PushUnderway",
    "QueueConsumer",
    "QueueProducer",
    "QueueReader",
    "SourceInfo",
    "Sweeper",
    "ask_sizes",
    "push_many",
]
