"""The stream broker: results to whoever watches, and the registry of streams and workers, in Redis.

`publisher` is the pod's side (threads), `registry` that of the gateway and the relay (asyncio); `records` is what
both write and read, `stream_meter` and `watching` are their bookkeeping without any I/O.
"""

from elastic_inference.adapters.stream_broker.publisher import ResultPublisher
from elastic_inference.adapters.stream_broker.records import StreamInfo, WorkerInfo
from elastic_inference.adapters.stream_broker.registry import StreamRegistry

__all__ = ["ResultPublisher", "StreamInfo", "StreamRegistry", "WorkerInfo"]
