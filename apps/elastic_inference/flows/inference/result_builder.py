"""Makes a result from a popped frame and its detections. Called by the workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elastic_inference.adapters.frame_queue import PoppedFrame
from elastic_inference.domain.result import Detection, Result
from elastic_inference.flows.inference.engine import Engine


@dataclass(frozen=True, slots=True)
class PodInfo:
    """Pod metadata attached to each result."""

    infer_type: str
    pod: str
    model: str
    precision: str


class ResultBuilder:
    """Builds the results of one pod. Thread-safe."""

    def __init__(self, info: PodInfo, engine: Engine, server_ms: Callable[[float], float | None]) -> None:
        """`server_ms` turns a monotonic time of this process into the Redis server's time; see `ResultPublisher`."""
        self.info = info
        self._engine = engine
        self._server_ms = server_ms

    def build(
        self, stream: str, popped: PoppedFrame, detections: Sequence[Detection], *, damaged: bool = False
    ) -> Result:
        """The result of a frame whose inference has just ended; `damaged` if a part of its image was missing."""
        info, frame = self.info, popped.frame
        popped_ms = self._server_ms(popped.popped_monotonic)
        return Result(
            stream=stream,
            type=info.infer_type,
            model=info.model,
            precision=info.precision,
            device=self._engine.device,
            order=popped.order,
            seq=frame.seq,
            ts=frame.ts,
            width=frame.width,
            height=frame.height,
            pod=info.pod,
            age_ms=frame.age_ms,
            queue_ms=popped.queue_ms,
            infer_ms=(time.monotonic() - popped.popped_monotonic) * 1000,
            detections=tuple(detections),
            arrived_ms=None if popped_ms is None else popped_ms - popped.queue_ms,
            attributes={"damaged": True} if damaged else {},
        )
