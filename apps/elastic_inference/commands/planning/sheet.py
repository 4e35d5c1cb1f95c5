"""The capacity planner's inputs and its sheet: cameras become pods, cores, bandwidth and replicas. Pure arithmetic.

`doc/capacity.md` has each formula, and the origin of each measured default. Rates are per second, sizes in bytes; MB is
10^6 bytes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

# Bytes on the wire beyond the image, counted on the protocol: the frame's message, and the commands of push and pop.
FRAME_OVERHEAD_BYTES = 600
# One result as JSON in the stream `results_<type>`, and each detection in it.
RESULT_BYTES = 450
DETECTION_BYTES = 95
# The documented limit of one node (Kubernetes documentation, "Considerations for large clusters").
NODE_PODS = 110
# Default of the websocket server's and the gateway's MAX_VIEWERS.
SERVER_VIEWERS = 1_000


@dataclass(frozen=True)
class Demand:
    """What the cameras send and how much of it is watched."""

    cameras: int
    # Frames per second and bytes per frame of one camera.
    fps: float = 15.0
    frame_bytes: int = 50_000
    # Inference types that get each frame.
    types: int = 1
    # Per frame.
    detections: float = 3.0
    # Open websockets, and how many different streams they show.
    viewers: int = 10
    watched_streams: int = 10

    @property
    def streams(self) -> int:
        """Streams that are inferred."""
        return self.cameras * self.types

    @property
    def frames_s(self) -> float:
        """Frames to infer per second."""
        return self.streams * self.fps


@dataclass(frozen=True)
class RedisRates:
    """What one Redis process can do."""

    shard_mb_s: float = 800.0
    """Received and sent together."""
    shard_frames_s: float = 12_000.0
    """Frames queued, their results included."""


@dataclass(frozen=True)
class Measured:
    """What the machines can do; the rates of processes are per core."""

    fps_per_core: float
    """Frames that a pod infers, decoding included."""
    producer_fps_per_core: float = 240.0
    """Frames that a producer decodes and encodes."""
    source_ms: float = 7.7
    """CPU milliseconds of a source worker of the camera pool for one frame."""
    redis: RedisRates = RedisRates()
    relay_frames_s: float = 4_800.0
    """Frames from one websocket server to its viewers."""
    gateway_mb_s: float = 400.0
    """What one gateway tunnels."""
    network_mb_s: float = 1_100.0
    """The link of a node, each way."""


@dataclass(frozen=True)
class NodePlan:
    """Cores of a pod, of a source worker and of a node, and the autoscalers' target for the ratio."""

    pod_cores: float = 1.0
    source_cores: float = 2.0
    node_cores: float = 8.0
    target: float = 0.8


@dataclass(frozen=True)
class Bottleneck:
    """`full` becomes a bottleneck at `at` cameras or viewers (`of` says which), and `cure` removes it."""

    at: int
    of: str
    full: str
    cure: str

    @property
    def when(self) -> str:
        """In words: `1 camera`, `2,500 viewers`."""
        return f"{self.at:,} {self.of[:-1] if self.at == 1 else self.of}"


@dataclass(frozen=True)
class Sheet:
    """The plan."""

    frames_s: float
    pods: int
    # The sum of the pods' ratios divided by the target.
    pods_unrounded: float
    pool_cores: float
    producer_cores: float
    # CPU that the cameras take as a pool, in cores, and the source workers for it; instead of producers.
    source_cpu: float
    source_workers: int
    # Cores of Redis, websocket servers and gateways.
    service_cores: float
    redis_in_mb_s: float
    redis_out_mb_s: float
    # Redis servers for the queues, and the nearest limit if a single Redis serves queue and broker.
    redis_shards: int
    redis_by: str
    # The types after splitting, so that each fits one shard, and the nearest limit of a shard.
    types_needed: int
    type_by: str
    # 0 if one Redis serves queue and broker; the nearest limit of a broker.
    brokers: int
    broker_by: str
    relay_replicas: int
    gateway_replicas: int
    viewer_mb_s: float
    # What all nodes send together, the traffic to viewers included.
    network_mb_s: float
    all_pods: int
    nodes: int
    # The nearest limit of the nodes, and how many nodes each limit requires.
    nodes_by: str
    nodes_for: dict[str, int]
    # In the order in which they are met, up to the demand and then up to twice the demand.
    bottlenecks: tuple[Bottleneck, ...] = ()
    next_bottlenecks: tuple[Bottleneck, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


def result_bytes(detections: float) -> float:
    """Bytes that one result costs in Redis if nobody watches."""
    return RESULT_BYTES + DETECTION_BYTES * detections


def calculate(demand: Demand, measured: Measured, layout: NodePlan) -> Sheet:
    """The sheet without its bottlenecks.

    Raises ValueError if a pod does not fit a node, or one camera's frames do not fit a Redis server.
    """
    viewers = _viewers(demand, measured)
    redis = _redis(demand, measured, viewers.relays)
    types = redis.types
    pods_unrounded = demand.frames_s / (measured.fps_per_core * layout.pod_cores * layout.target)
    pods = types * round_up(pods_unrounded / types)
    producer_cores = demand.cameras * demand.fps / measured.producer_fps_per_core
    source_cpu = demand.cameras * demand.fps * measured.source_ms / 1000
    service_cores = redis.cores + viewers.relay_cores + viewers.gateway_cores
    all_pods = pods + demand.cameras + redis.shards + redis.brokers + viewers.relays + viewers.gateways
    # Frames for viewers travel from the websocket server to the gateway, and from there to the viewers.
    network_mb_s = redis.total.in_mb_s + redis.total.out_mb_s + 2 * viewers.mb_s
    needs = {
        "cores": max(
            pods / _pods_per_node(layout),
            (pods * layout.pod_cores + producer_cores + service_cores) / layout.node_cores,
        ),
        "pods": all_pods / NODE_PODS,
        "network": network_mb_s / measured.network_mb_s,
    }
    nodes_by = max(needs, key=lambda need: needs[need])
    return Sheet(
        frames_s=demand.frames_s,
        pods=pods,
        pods_unrounded=pods_unrounded,
        pool_cores=pods * layout.pod_cores,
        producer_cores=producer_cores,
        source_cpu=source_cpu,
        source_workers=round_up(source_cpu / (layout.source_cores * layout.target)),
        service_cores=service_cores,
        redis_in_mb_s=redis.total.in_mb_s,
        redis_out_mb_s=redis.total.out_mb_s,
        redis_shards=redis.shards,
        redis_by=redis.total_by,
        types_needed=types,
        type_by=redis.type_by,
        brokers=redis.brokers,
        broker_by=redis.broker_by,
        all_pods=all_pods,
        network_mb_s=network_mb_s,
        relay_replicas=viewers.relays,
        gateway_replicas=viewers.gateways,
        viewer_mb_s=viewers.mb_s,
        nodes=round_up(needs[nodes_by]),
        nodes_by=nodes_by,
        nodes_for={need: round_up(part) for need, part in needs.items()},
    )


@dataclass(frozen=True)
class _Viewers:
    """Traffic to viewers, and the websocket servers and gateways for it."""

    mb_s: float
    relays: int
    relay_cores: float
    gateways: int
    gateway_cores: float


def _viewers(demand: Demand, measured: Measured) -> _Viewers:
    mb_s = demand.viewers * demand.fps * (demand.frame_bytes + FRAME_OVERHEAD_BYTES) / 1e6
    relay_cores = demand.viewers * demand.fps / measured.relay_frames_s
    gateway_cores = mb_s / measured.gateway_mb_s
    minimum = max(mb_s / measured.network_mb_s, demand.viewers / SERVER_VIEWERS)
    relays, gateways = (round_up(max(cores, minimum)) for cores in (relay_cores, gateway_cores))
    return _Viewers(mb_s, relays, relay_cores, gateways, gateway_cores)


@dataclass(frozen=True)
class _Load:
    """The load of a Redis server."""

    in_mb_s: float
    out_mb_s: float
    frames_s: float

    def filled(self, measured: Measured) -> tuple[float, str]:
        """The part of one server that this fills, and its nearest limit. A node's link has two directions."""
        parts = {
            "its process's MB/s": (self.in_mb_s + self.out_mb_s) / measured.redis.shard_mb_s,
            "its process's frames per second": self.frames_s / measured.redis.shard_frames_s,
            "its node's network": max(self.in_mb_s, self.out_mb_s) / measured.network_mb_s,
        }
        by = max(parts, key=lambda each: parts[each])
        return parts[by], by


@dataclass(frozen=True)
class _Redis:
    """The Redis servers; `total` is what they carry together."""

    total: _Load
    total_by: str
    types: int
    type_by: str
    shards: int
    brokers: int
    broker_by: str
    cores: float


def _redis(demand: Demand, measured: Measured, relays: int) -> _Redis:
    queue_mb_s = demand.frames_s * (demand.frame_bytes + FRAME_OVERHEAD_BYTES) / 1e6
    queue = _Load(queue_mb_s, queue_mb_s, demand.frames_s)
    broker = _broker(demand, relays)
    total = _Load(queue.in_mb_s + broker.in_mb_s, queue.out_mb_s + broker.out_mb_s, demand.frames_s)
    filled, total_by = total.filled(measured)
    broker_filled, broker_by = broker.filled(measured)
    shared = filled <= 1
    types, shards, type_by = (demand.types, 1, total_by) if shared else _shards(demand, queue, measured)
    brokers = 0 if shared else round_up(broker_filled)
    by_bytes, by_frames = (
        (total.in_mb_s + total.out_mb_s) / measured.redis.shard_mb_s,
        total.frames_s / measured.redis.shard_frames_s,
    )
    return _Redis(total, total_by, types, type_by, shards, brokers, broker_by, max(by_bytes, by_frames))


def _broker(demand: Demand, relays: int) -> _Load:
    """Each result arrives once. A watched one arrives again with its image, and is sent to each subscriber."""
    watched = min(demand.watched_streams, demand.viewers, demand.streams)
    # A websocket server subscribes to a stream once, however many of its viewers watch it.
    subscriptions = min(demand.viewers, watched * relays)
    result = result_bytes(demand.detections)
    published = demand.fps * (demand.frame_bytes + FRAME_OVERHEAD_BYTES + result)
    return _Load(
        (demand.frames_s * result + watched * published) / 1e6, subscriptions * published / 1e6, demand.frames_s
    )


def _shards(demand: Demand, queue: _Load, measured: Measured) -> tuple[int, int, str]:
    """Types and shards such that each type, which cannot be cut, fits its shard; and what fills a shard.

    Whole cameras are distributed among the parts of a type, and whole types among the shards.
    """
    part, by = queue.filled(measured)
    camera = part / demand.streams
    cameras_per_shard = round_down(1 / camera)
    if not cameras_per_shard:
        raise ValueError(f"The frames of one camera fill {camera:.1f} Redis servers by {by}: expected at most one.")
    parts = round_up(demand.cameras / cameras_per_shard)
    types_per_shard = round_down(cameras_per_shard / math.ceil(demand.cameras / parts))
    types = demand.types * parts
    return types, round_up(types / types_per_shard), by


def _pods_per_node(layout: NodePlan) -> int:
    """How many inference pods fit the cores of a node."""
    found = round_down(layout.node_cores / layout.pod_cores)
    if not found:
        raise ValueError(f"A pod of {layout.pod_cores:g} cores does not fit a node of {layout.node_cores:g} cores.")
    return found


def round_up(value: float) -> int:
    """Rounded up, at least 1; ignores the rounding error of a division."""
    return max(1, math.ceil(value - 1e-9))


def round_down(value: float) -> int:
    """Rounded down; ignores the rounding error of a division."""
    return math.floor(value + 1e-9)
