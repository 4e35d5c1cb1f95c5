"""What `pool_state` has read from Redis, and what `documents` makes the REST documents of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from elastic_inference.adapters.frame_queue import SourceInfo
from elastic_inference.adapters.stream_broker.records import StreamInfo, WorkerInfo


@dataclass(slots=True)
class PoolRecords:
    """What was last read from Redis.

    `sources`, `lengths` and `drop_fps` are by type. A length of None is unknown; `drop_fps` are drops of types without
    pods.
    """

    streams: Sequence[StreamInfo] = ()
    workers: Sequence[WorkerInfo] = ()
    sources: dict[str, Sequence[SourceInfo]] = field(default_factory=dict)
    lengths: dict[str, int | None] = field(default_factory=dict)
    drop_fps: dict[str, float] = field(default_factory=dict)
