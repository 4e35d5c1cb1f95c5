"""The frame queue: producers push, pods pop, the gateway reads, housekeeping cleans up. See `doc/redis.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elastic_inference.base.late_names import late_names

if TYPE_CHECKING:
    from elastic_inference.adapters.frame_queue.consumer import QueueConsumer
    from elastic_inference.adapters.frame_queue.crowd_control import CrowdControl
    from elastic_inference.adapters.frame_queue.janitor import Janitor
    from elastic_inference.adapters.frame_queue.pop_batch import MAX_POP_BYTES, InvalidFrame, PopBatch, PoppedFrame
    from elastic_inference.adapters.frame_queue.producer import QueueProducer
    from elastic_inference.adapters.frame_queue.push_request import PushLease, PushOutcome
    from elastic_inference.adapters.frame_queue.push_round import PushUnderway, push_many
    from elastic_inference.adapters.frame_queue.queue_reader import KnownTypes, QueueReader, SourceInfo
    from elastic_inference.adapters.frame_queue.relief import MemoryRelief
    from elastic_inference.adapters.frame_queue.sweeper import Sweeper
    from elastic_inference.adapters.frame_queue.wanted_sizes import ask_sizes

__all__ = [
    "MAX_POP_BYTES",
    "CrowdControl",
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

# Modules are loaded at first use: a pod does not need the code of the producers and the janitor.
__getattr__ = late_names(
    __name__,
    {
        "MAX_POP_BYTES": ".pop_batch",
        "CrowdControl": ".crowd_control",
        "InvalidFrame": ".pop_batch",
        "Janitor": ".janitor",
        "KnownTypes": ".queue_reader",
        "MemoryRelief": ".relief",
        "PopBatch": ".pop_batch",
        "PoppedFrame": ".pop_batch",
        "PushLease": ".push_request",
        "PushOutcome": ".push_request",
        "PushUnderway": ".push_round",
        "QueueConsumer": ".consumer",
        "QueueProducer": ".producer",
        "QueueReader": ".queue_reader",
        "SourceInfo": ".queue_reader",
        "Sweeper": ".sweeper",
        "ask_sizes": ".wanted_sizes",
        "push_many": ".push_round",
    },
)
