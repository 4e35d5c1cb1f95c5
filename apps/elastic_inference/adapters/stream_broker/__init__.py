"""The stream broker in Redis: results for viewers, and the registry of streams and workers.

`publisher` is used by pods (threads), `registry` by the gateway and the relay (asyncio). Both share `records`.
`tombstones` is the message for frames without a result; `stream_meter` and `watching` keep state without any I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elastic_inference.base.late_names import late_names

if TYPE_CHECKING:
    from elastic_inference.adapters.stream_broker.publisher import ResultPublisher
    from elastic_inference.adapters.stream_broker.records import StreamInfo, WorkerInfo
    from elastic_inference.adapters.stream_broker.registry import StreamRegistry

__all__ = ["ResultPublisher", "StreamInfo", "StreamRegistry", "WorkerInfo"]

__getattr__ = late_names(
    __name__,
    {
        "ResultPublisher": ".publisher",
        "StreamInfo": ".records",
        "StreamRegistry": ".registry",
        "WorkerInfo": ".records",
    },
)
