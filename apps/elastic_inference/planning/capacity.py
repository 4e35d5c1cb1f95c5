"""From cameras to pods, cores, Redis bandwidth and shards, network and relay replicas. Pure arithmetic.

Every figure has its formula beside it; `doc/capacity.md` explains them. Rates are per second, sizes in bytes, MB is
10^6 bytes. The measured inputs come from `make bench` on a machine like those of the cluster.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

# Wire bytes beyond the picture, counted on the protocol: the frame's message and the commands of push and pop.
FRAME_OVERHEAD_BYTES = 600
# One result as JSON in the `results_<type>` stream, and each detection in it.
RESULT_BYTES = 450
DETECTION_BYTES = 95
# Documented limits of one Kubernetes cluster (Kubernetes documentation, "Considerations for large clusters").
CLUSTER_PODS = 150_000
CLUSTER_NODES = 5_000
NODE_PODS = 110


@dataclass(frozen=True)
class Demand:
    """What the cameras send and what people watch.

    `fps` and `frame_bytes` are those of one camera; `types` is how many inference types get each frame;
    `watched_part` is the part of the streams that has a viewer; `viewers` open websockets in all.
    """

    cameras: int
    fps: float = 15.0
    frame_bytes: int = 50_000
    types: int = 1
    detections: float = 3.0
    viewers: int = 10
    watched_streams: int = 10


@dataclass(frozen=True)
class Measured:
    """What the machines can do.

    `fps_per_core` frames a second that a pod infers per CPU core, decoding included; `producer_fps_per_core` frames
    that a producer decodes and encodes; `shard_mb_s` what one Redis process takes in and gives out together;
    `shard_frames_s` frames that it queues; `relay_frames_s` frames to viewers by one websocket server; `gateway_mb_s`
    what one gateway tunnels; `network_mb_s` of a node.
    """

    fps_per_core: float
    producer_fps_per_core: float = 250.0
    shard_mb_s: float = 800.0
    shard_frames_s: float = 12_000.0
    relay_frames_s: float = 6_000.0
    gateway_mb_s: float = 400.0
    network_mb_s: float = 1_100.0


@dataclass(frozen=True)
class Layout:
    """How the pool is cut: cores of a pod and of a node, and the autoscaler's target for the ratio."""

    pod_cores: float = 1.0
    node_cores: float = 8.0
    target: float = 0.8


@dataclass(frozen=True)
class Sheet:
    """The plan; `types_needed` is into how many types the cameras must be spread so that each fits one Redis shard."""

    frames_s: float
    pods: int
    pool_cores: float
    producer_cores: float
    redis_in_mb_s: float
    redis_out_mb_s: float
    redis_shards: int
    types_needed: int
    relay_replicas: int
    gateway_replicas: int
    viewer_mb_s: float
    nodes: int
    nodes_by: str
    bottlenecks: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


def result_bytes(detections: float) -> float:
    """Bytes that one result costs in Redis when nobody watches."""
    return RESULT_BYTES + DETECTION_BYTES * detections


def plan(demand: Demand, measured: Measured, layout: Layout) -> Sheet:
    """The sheet for a demand."""
    frames_s = demand.cameras * demand.fps * demand.types
    pods = max(1, demand.types, math.ceil(frames_s / (measured.fps_per_core * layout.pod_cores * layout.target) - 1e-9))
    producer_cores = demand.cameras * demand.fps / measured.producer_fps_per_core
    message = demand.frame_bytes + FRAME_OVERHEAD_BYTES
    watched_frames_s = min(demand.watched_streams, demand.cameras * demand.types) * demand.fps
    relay_frames_s = demand.viewers * demand.fps
    relays = max(1, math.ceil(relay_frames_s / measured.relay_frames_s))
    published = watched_frames_s * (message + result_bytes(demand.detections))
    redis_in = frames_s * (message + result_bytes(demand.detections)) + published
    redis_out = frames_s * message + published * relays
    shards = max(
        1,
        math.ceil((redis_in + redis_out) / 1e6 / measured.shard_mb_s),
        math.ceil(frames_s / measured.shard_frames_s),
    )
    viewer_mb_s = relay_frames_s * message / 1e6
    gateways = max(1, math.ceil(viewer_mb_s / measured.gateway_mb_s))
    needs = {
        "cores": (pods * layout.pod_cores + producer_cores) / layout.node_cores,
        "pods": (pods + demand.cameras) / NODE_PODS,
        # Each byte leaves one node and enters another; what viewers get passes relay and gateway.
        "network": 2 * ((redis_in + redis_out) / 1e6 + 2 * viewer_mb_s) / measured.network_mb_s,
    }
    nodes_by = max(needs, key=lambda need: needs[need])
    per_type = math.ceil(shards / demand.types)
    return Sheet(
        frames_s=frames_s,
        pods=pods,
        pool_cores=pods * layout.pod_cores,
        producer_cores=producer_cores,
        redis_in_mb_s=redis_in / 1e6,
        redis_out_mb_s=redis_out / 1e6,
        redis_shards=shards,
        types_needed=max(demand.types, per_type * demand.types),
        relay_replicas=relays,
        gateway_replicas=gateways,
        viewer_mb_s=viewer_mb_s,
        nodes=max(1, math.ceil(needs[nodes_by])),
        nodes_by=nodes_by,
        bottlenecks=_bottlenecks(demand, measured, layout),
    )


def _bottlenecks(demand: Demand, measured: Measured, layout: Layout) -> tuple[str, ...]:
    """What gives way first as cameras are added, up to the demand, in order, each with its cure."""
    per_camera = demand.fps * demand.types
    message = demand.frame_bytes + FRAME_OVERHEAD_BYTES
    shard_mb_s = (2 * message + result_bytes(demand.detections)) * per_camera / 1e6
    type_mb_s = shard_mb_s / demand.types
    pod_fps = measured.fps_per_core * layout.pod_cores * layout.target
    cameras_at = [
        (
            pod_fps / demand.fps,
            "one inference pod a type is full: the autoscaler adds pods",
        ),
        (
            layout.node_cores
            / (per_camera / measured.fps_per_core / layout.target + demand.fps / measured.producer_fps_per_core),
            "one node's cores are full: add nodes",
        ),
        (
            min(measured.shard_mb_s / shard_mb_s, measured.shard_frames_s / per_camera),
            "one Redis process is full: a Redis Cluster, types spread over its shards",
        ),
        (
            min(measured.shard_mb_s / type_mb_s, measured.shard_frames_s / demand.fps),
            "one type fills one shard (a type's keys share a slot): split the type by site, such as people-north "
            "and people-south",
        ),
        (
            CLUSTER_PODS / (1 + per_camera / pod_fps),
            "one pod a camera reaches the pods of one Kubernetes cluster: producers outside it, or a cluster a site",
        ),
        (
            CLUSTER_NODES
            * layout.node_cores
            / (per_camera / measured.fps_per_core / layout.target + demand.fps / measured.producer_fps_per_core),
            "the nodes of one Kubernetes cluster: a cluster a site, or accelerators",
        ),
        (
            5_000.0,
            "one list of all streams grows past a browser's ease: one gateway a site, and a search in front of them",
        ),
    ]
    reached = sorted((at, text) for at, text in cameras_at if at < demand.cameras)
    return tuple(f"from {math.floor(at) + 1} cameras: {text}" for at, text in reached)
