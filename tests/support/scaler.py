"""KEDA's side of the external scaler protocol: Google's gRPC client, and the messages that KEDA sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc

from elastic_inference.domain.scaler_messages import (
    SERVICE,
    ScaledObjectRef,
    metrics_request_message,
    parse_is_active,
    parse_metric,
    scaled_object_message,
)

DEADLINE_S = 20.0


def reference(infer_type: str = "people", target: str = "0.8") -> ScaledObjectRef:
    """What a ScaledObject of `kubernetes/scale/keda-push` sends."""
    metadata = {"scalerAddress": "ei-scaler-svc.video.svc:8010", "inferType": infer_type, "target": target}
    return ScaledObjectRef(f"ei-infer-{infer_type}-app", "video", metadata)


class KedaClient:
    """Calls the methods as KEDA does; errors are `grpc.RpcError`. Close it at the end."""

    def __init__(self, port: int, credentials: grpc.ChannelCredentials | None = None) -> None:
        address = f"localhost:{port}"
        # Each client gets a connection of its own, as each KEDA has.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = (
            grpc.insecure_channel(address, options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options)
        )

    def __enter__(self) -> KedaClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def call(self, method: str, message: bytes) -> bytes:
        """One call with one response, of raw messages."""
        found = self.channel.unary_unary(f"/{SERVICE}/{method}")(message, timeout=DEADLINE_S, wait_for_ready=True)
        assert isinstance(found, bytes)
        return found

    def is_active(self, infer_type: str = "people") -> bool:
        return parse_is_active(self.call("IsActive", scaled_object_message(reference(infer_type))))

    def target(self, infer_type: str = "people", target: str = "0.8") -> dict[str, float]:
        return parse_metric(self.call("GetMetricSpec", scaled_object_message(reference(infer_type, target))))

    def value(self, infer_type: str = "people", metric: str = "ei_scale_ratio") -> float:
        found = parse_metric(self.call("GetMetrics", metrics_request_message(reference(infer_type), metric)))
        return found[metric]

    def stream(self, infer_type: str = "people") -> Any:
        """The open call of StreamIsActive; iterate over `states` of it."""
        method = self.channel.unary_stream(f"/{SERVICE}/StreamIsActive")
        return method(scaled_object_message(reference(infer_type)), wait_for_ready=True)


def states(call: Any) -> Iterator[bool]:
    """What a stream says, one state after the other."""
    return (parse_is_active(message) for message in call)
