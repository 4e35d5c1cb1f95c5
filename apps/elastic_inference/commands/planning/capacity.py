"""From cameras to pods, cores, Redis bandwidth and shards, network and relay replicas. Pure arithmetic.

`doc/capacity.md` has each formula, and for each measured input where its default comes from. Rates are per second,
sizes in bytes, MB is 10^6 bytes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache

from elastic_inference.commands.manifests.settings import SETTINGS

# Wire bytes beyond the picture, counted on the protocol: the frame's message and the commands of push and pop.
FRAME_OVERHEAD_BYTES = 600
# One result as JSON in the `results_<type>` stream, and each detection in it.
RESULT_BYTES = 450
DETECTION_BYTES = 95
# Documented limits of one Kubernetes cluster (Kubernetes documentation, "Considerations for large clusters").
CLUSTER_PODS = 150_000
CLUSTER_NODES = 5_000
NODE_PODS = 110
# Default of the websocket server's and the gateway's MAX_VIEWERS.
SERVER_VIEWERS = 1_000
# Streams that one list in a browser is still easy to use with: a judgement, not a measurement.
BROWSER_STREAMS = 5_000
# Types that one gateway finds (its pool_state.MAX_TYPES).
GATEWAY_TYPES = 256
MAX_REPLICAS = int(SETTINGS["MAX_REPLICAS"])


@dataclass(frozen=True)
class Demand:
    """What the cameras send and what people watch.

    `fps` and `frame_bytes` are those of one camera; `types` is how many inference types get each frame; `viewers` open
    websockets in all; `watched_streams` how many different streams they look at.
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
    """What the machines can do; the rates of processes are those of one core.

    `fps_per_core` frames a second that a pod infers per CPU core, decoding included; `producer_fps_per_core` frames
    that a producer decodes and encodes; `shard_mb_s` what one Redis process takes in and gives out together;
    `shard_frames_s` frames that it queues, their results included; `relay_frames_s` frames to viewers by one websocket
    server; `gateway_mb_s` what one gateway tunnels; `network_mb_s` of a node's link, each way.
    """

    fps_per_core: float
    producer_fps_per_core: float = 240.0
    shard_mb_s: float = 800.0
    shard_frames_s: float = 12_000.0
    relay_frames_s: float = 4_800.0
    gateway_mb_s: float = 400.0
    network_mb_s: float = 1_100.0


@dataclass(frozen=True)
class Layout:
    """How the pool is cut: cores of a pod and of a node, and the autoscaler's target for the ratio."""

    pod_cores: float = 1.0
    node_cores: float = 8.0
    target: float = 0.8


@dataclass(frozen=True)
class Bottleneck:
    """`full` gives way from `at` cameras or viewers (`of` says which), and `cure` removes it."""

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
    """The plan.

    `pods_unrounded` is the ratio's sum over the target. `types_needed` is the types once each fits one Redis shard;
    `redis_shards` holds their queues, and `brokers` is 0 where one Redis does for both. `redis_by`, `type_by` and
    `broker_by` name the nearest limit of that one Redis, of a shard and of a broker. `service_cores` are those of
    Redis, websocket servers and gateways. `network_mb_s` is what all nodes send together, viewers' part included.
    `bottlenecks` come in the order in which cameras and viewers meet them on their way to the demand, and
    `next_bottlenecks` on the way to twice the demand.
    """

    frames_s: float
    pods: int
    pods_unrounded: float
    pool_cores: float
    producer_cores: float
    service_cores: float
    redis_in_mb_s: float
    redis_out_mb_s: float
    redis_shards: int
    redis_by: str
    types_needed: int
    type_by: str
    brokers: int
    broker_by: str
    relay_replicas: int
    gateway_replicas: int
    viewer_mb_s: float
    network_mb_s: float
    all_pods: int
    nodes: int
    nodes_by: str
    nodes_for: dict[str, int]
    bottlenecks: tuple[Bottleneck, ...] = ()
    next_bottlenecks: tuple[Bottleneck, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


def result_bytes(detections: float) -> float:
    """Bytes that one result costs in Redis when nobody watches."""
    return RESULT_BYTES + DETECTION_BYTES * detections


def plan(demand: Demand, measured: Measured, layout: Layout) -> Sheet:
    """The sheet for a demand.

    Raises ValueError where a pod fits no node, or one camera's frames no Redis server.
    """
    sheet = _sheet(demand, measured, layout)
    found = _bottlenecks(demand, measured, layout)
    return replace(
        sheet,
        bottlenecks=tuple(each for part, each in found if part <= 1),
        next_bottlenecks=tuple(each for part, each in found if part > 1),
    )


@dataclass(frozen=True)
class _Load:
    """What a Redis server carries."""

    in_mb_s: float
    out_mb_s: float
    frames_s: float

    def filled(self, measured: Measured) -> tuple[float, str]:
        """What part of one server it fills, and by which limit. In and out are the two directions of a node's link."""
        parts = {
            "its process's MB/s": (self.in_mb_s + self.out_mb_s) / measured.shard_mb_s,
            "its process's frames a second": self.frames_s / measured.shard_frames_s,
            "its node's network": max(self.in_mb_s, self.out_mb_s) / measured.network_mb_s,
        }
        by = max(parts, key=lambda each: parts[each])
        return parts[by], by


def _sheet(demand: Demand, measured: Measured, layout: Layout) -> Sheet:
    frames_s = demand.cameras * demand.fps * demand.types
    message = demand.frame_bytes + FRAME_OVERHEAD_BYTES
    viewer_mb_s = demand.viewers * demand.fps * message / 1e6
    relays_used, relays, gateways_used, gateways = _viewers(demand, measured, viewer_mb_s)

    queue = _Load(frames_s * message / 1e6, frames_s * message / 1e6, frames_s)
    broker = _broker(demand, relays)
    both = _Load(queue.in_mb_s + broker.in_mb_s, queue.out_mb_s + broker.out_mb_s, frames_s)
    both_filled, redis_by = both.filled(measured)
    broker_filled, broker_by = broker.filled(measured)
    shared = both_filled <= 1
    types, shards, type_by = (demand.types, 1, redis_by) if shared else _shards(demand, queue, measured)
    brokers = 0 if shared else _up(broker_filled)

    pods_unrounded = frames_s / (measured.fps_per_core * layout.pod_cores * layout.target)
    pods = types * _up(pods_unrounded / types)
    producer_cores = demand.cameras * demand.fps / measured.producer_fps_per_core
    redis_used = max((both.in_mb_s + both.out_mb_s) / measured.shard_mb_s, frames_s / measured.shard_frames_s)
    service_cores = redis_used + relays_used + gateways_used
    all_pods = pods + demand.cameras + shards + brokers + relays + gateways
    # What viewers get passes from websocket server to gateway and from there to them.
    network_mb_s = both.in_mb_s + both.out_mb_s + 2 * viewer_mb_s
    needs = {
        "cores": max(
            pods / _pods_of_a_node(layout),
            (pods * layout.pod_cores + producer_cores + service_cores) / layout.node_cores,
        ),
        "pods": all_pods / NODE_PODS,
        "network": network_mb_s / measured.network_mb_s,
    }
    nodes_by = max(needs, key=lambda need: needs[need])
    return Sheet(
        frames_s=frames_s,
        pods=pods,
        pods_unrounded=pods_unrounded,
        pool_cores=pods * layout.pod_cores,
        producer_cores=producer_cores,
        service_cores=service_cores,
        redis_in_mb_s=both.in_mb_s,
        redis_out_mb_s=both.out_mb_s,
        redis_shards=shards,
        redis_by=redis_by,
        types_needed=types,
        type_by=type_by,
        brokers=brokers,
        broker_by=broker_by,
        relay_replicas=relays,
        gateway_replicas=gateways,
        viewer_mb_s=viewer_mb_s,
        network_mb_s=network_mb_s,
        all_pods=all_pods,
        nodes=_up(needs[nodes_by]),
        nodes_by=nodes_by,
        nodes_for={need: _up(part) for need, part in needs.items()},
    )


def _viewers(demand: Demand, measured: Measured, mb_s: float) -> tuple[float, int, float, int]:
    """Cores that websocket servers use, how many of them there must be, and the same of gateways."""
    relay_cores = demand.viewers * demand.fps / measured.relay_frames_s
    gateway_cores = mb_s / measured.gateway_mb_s
    least = max(mb_s / measured.network_mb_s, demand.viewers / SERVER_VIEWERS)
    return relay_cores, _up(max(relay_cores, least)), gateway_cores, _up(max(gateway_cores, least))


def _broker(demand: Demand, relays: int) -> _Load:
    """Every result comes in; what is watched comes in once more with its picture and goes to who subscribed."""
    streams = demand.cameras * demand.types
    watched = min(demand.watched_streams, demand.viewers, streams)
    # A websocket server subscribes to a stream once, however many of its viewers watch it.
    subscriptions = min(demand.viewers, watched * relays)
    result = result_bytes(demand.detections)
    published = demand.fps * (demand.frame_bytes + FRAME_OVERHEAD_BYTES + result)
    return _Load(
        (streams * demand.fps * result + watched * published) / 1e6,
        subscriptions * published / 1e6,
        streams * demand.fps,
    )


def _shards(demand: Demand, queue: _Load, measured: Measured) -> tuple[int, int, str]:
    """Types and shards so that each type, which can't be cut, fits its shard, and what fills a shard.

    Whole cameras are dealt to the parts of a type, and whole types to the shards.
    """
    part, by = queue.filled(measured)
    camera = part / demand.cameras / demand.types
    cameras_of_a_shard = _down(1 / camera)
    if not cameras_of_a_shard:
        raise ValueError(f"The frames of one camera fill {camera:.1f} Redis servers by {by}: expected one at most.")
    parts = _up(demand.cameras / cameras_of_a_shard)
    types_of_a_shard = _down(cameras_of_a_shard / math.ceil(demand.cameras / parts))
    types = demand.types * parts
    return types, _up(types / types_of_a_shard), by


def _pods_of_a_node(layout: Layout) -> int:
    """How many inference pods fit a node by their cores."""
    fit = _down(layout.node_cores / layout.pod_cores)
    if not fit:
        raise ValueError(f"A pod of {layout.pod_cores:g} cores fits no node of {layout.node_cores:g} cores.")
    return fit


def _up(value: float) -> int:
    """Rounded up, at least 1; the error of the division is not a whole one more."""
    return max(1, math.ceil(value - 1e-9))


def _down(value: float) -> int:
    return math.floor(value + 1e-9)


@dataclass(frozen=True)
class _Limit:
    """`passed` tells whether a demand with its sheet is over it. `of` is what fills it: cameras, viewers, or either."""

    of: str
    full: Callable[[Sheet], str]
    cure: str
    passed: Callable[[Demand, Sheet], bool]


def _node_limit(need: str, full: str, cure: str) -> _Limit:
    return _Limit("either", lambda _: full, cure, lambda _, sheet: sheet.nodes_for[need] > 1)


_NODE_LIMITS = {
    "cores": _node_limit("cores", "one node's cores", "more nodes"),
    "pods": _node_limit(
        "pods", f"the {NODE_PODS} pods of one node", "more nodes, or several cameras to a producer outside the cluster"
    ),
    "network": _node_limit("network", "one node's network", "more nodes, or a faster network"),
}
_LIMITS = (
    _Limit(
        "cameras",
        lambda _: "one inference pod of a type",
        "the autoscaler adds pods",
        lambda demand, sheet: sheet.pods_unrounded > demand.types,
    ),
    *_NODE_LIMITS.values(),
    _Limit(
        "cameras",
        lambda _: f"the {MAX_REPLICAS} pods that the autoscaler may make of a type as shipped",
        "a larger MAX_REPLICAS",
        lambda demand, sheet: sheet.pods_unrounded > demand.types * MAX_REPLICAS,
    ),
    _Limit(
        "either",
        lambda sheet: f"the one Redis of queue and broker, by {sheet.redis_by}",
        "a Redis of its own for the broker (BROKER_URL)",
        lambda _, sheet: sheet.brokers > 0,
    ),
    _Limit(
        "cameras",
        lambda sheet: f"the one Redis of the queue, by {sheet.type_by}",
        "a Redis Cluster, whole types spread over its shards",
        lambda _, sheet: sheet.redis_shards > 1,
    ),
    _Limit(
        "cameras",
        lambda sheet: f"the one shard of a type, by {sheet.type_by}",
        "the type split by site: people-north, people-south, each with its own pods and autoscaler",
        lambda demand, sheet: sheet.types_needed > demand.types,
    ),
    _Limit(
        "either",
        lambda sheet: f"the broker (results, and watched frames once a websocket server), by {sheet.broker_by}",
        "a suite a site, each with its own broker, websocket servers and gateway",
        lambda _, sheet: sheet.brokers > 1,
    ),
    _Limit(
        "viewers",
        lambda _: "one websocket server",
        f"WEBSOCKET_REPLICAS ({SETTINGS['WEBSOCKET_REPLICAS']} as shipped)",
        lambda _, sheet: sheet.relay_replicas > 1,
    ),
    _Limit(
        "viewers",
        lambda _: "one gateway",
        f"GATEWAY_REPLICAS ({SETTINGS['GATEWAY_REPLICAS']} as shipped)",
        lambda _, sheet: sheet.gateway_replicas > 1,
    ),
    _Limit(
        "cameras",
        lambda _: f"one list of {BROWSER_STREAMS:,} streams in a browser",
        "a gateway a site, and a search in front of them",
        lambda demand, _: demand.cameras * demand.types > BROWSER_STREAMS,
    ),
    _Limit(
        "cameras",
        lambda _: f"the {GATEWAY_TYPES} types that one gateway finds",
        "a suite a site, each with its own types",
        lambda _, sheet: sheet.types_needed > GATEWAY_TYPES,
    ),
    _Limit(
        "cameras",
        lambda _: f"the {CLUSTER_PODS:,} pods of one Kubernetes cluster",
        "producers at the cameras, outside the cluster; a cluster a site",
        lambda _, sheet: sheet.all_pods > CLUSTER_PODS,
    ),
    _Limit(
        "cameras",
        lambda _: f"the {CLUSTER_NODES:,} nodes of one Kubernetes cluster",
        "a cluster a site, or accelerators",
        lambda _, sheet: sheet.nodes > CLUSTER_NODES,
    ),
)


def _bottlenecks(demand: Demand, measured: Measured, layout: Layout) -> list[tuple[float, Bottleneck]]:
    """What gives way as cameras and viewers grow together to twice the demand, by the part of the demand, in order."""
    steps = max(demand.cameras, demand.viewers)

    @cache
    def at(step: int) -> tuple[Demand, Sheet]:
        cameras, viewers, watched = (
            -(-each * step // steps) for each in (demand.cameras, demand.viewers, demand.watched_streams)
        )
        smaller = replace(demand, cameras=cameras, viewers=viewers, watched_streams=watched)
        return smaller, _sheet(smaller, measured, layout)

    found = []
    for limit in _LIMITS:
        step = 1 + bisect_left(range(1, 2 * steps + 1), True, key=lambda each: limit.passed(*at(each)))
        if step > 2 * steps:
            continue
        then, sheet = at(step)
        # Of a node's three limits only those that ask for the most nodes, there or in the end.
        if (
            limit in _NODE_LIMITS.values()
            and _NODE_LIMITS[sheet.nodes_by] != limit != _NODE_LIMITS[at(steps)[1].nodes_by]
        ):
            continue
        of = limit.of
        if of == "either":
            of = "viewers" if sheet.viewer_mb_s > sheet.redis_in_mb_s else "cameras"
        number = then.cameras if of == "cameras" else then.viewers
        found.append((step / steps, Bottleneck(number, of, limit.full(sheet), limit.cure)))
    return sorted(found, key=lambda each: each[0])
