"""The whole plan: the sheet, and the bottlenecks on the way to the demand and to twice the demand."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from elastic_inference.commands.manifests.settings import SETTINGS
from elastic_inference.commands.planning.sheet import (
    NODE_PODS,
    Bottleneck,
    Demand,
    Measured,
    NodePlan,
    Sheet,
    calculate,
)

# Documented limits of one Kubernetes cluster (Kubernetes documentation, "Considerations for large clusters").
CLUSTER_PODS = 150_000
CLUSTER_NODES = 5_000
# Streams up to which one list in a browser is easy to use: a judgement, not a measurement.
BROWSER_STREAMS = 5_000
# Types that one gateway finds (its MAX_TYPES).
GATEWAY_TYPES = 256
MAX_REPLICAS = int(SETTINGS["MAX_REPLICAS"])


def plan(demand: Demand, measured: Measured, layout: NodePlan) -> Sheet:
    """The sheet for a demand.

    Raises ValueError if a pod does not fit a node, or one camera's frames do not fit a Redis server.
    """
    sheet = calculate(demand, measured, layout)
    found = _bottlenecks(demand, measured, layout)
    return replace(
        sheet,
        bottlenecks=tuple(each for part, each in found if part <= 1),
        next_bottlenecks=tuple(each for part, each in found if part > 1),
    )


@dataclass(frozen=True)
class _Limit:
    """`passed` says whether a demand with its sheet exceeds it. `of` is what fills it: cameras, viewers, or either."""

    of: str
    full: Callable[[Sheet], str]
    cure: str
    passed: Callable[[Demand, Sheet], bool]


def _node_limit(need: str, full: str, cure: str) -> _Limit:
    return _Limit("either", lambda _: full, cure, lambda _, sheet: sheet.nodes_for[need] > 1)


_NODE_LIMITS = {
    "cores": _node_limit("cores", "one node's cores", "more nodes"),
    "pods": _node_limit("pods", f"the {NODE_PODS} pods of one node", "more nodes, or producers outside the cluster"),
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
        lambda _: f"the {MAX_REPLICAS} pods that the autoscaler may start for one type by default",
        "a larger MAX_REPLICAS",
        lambda demand, sheet: sheet.pods_unrounded > demand.types * MAX_REPLICAS,
    ),
    _Limit(
        "either",
        lambda sheet: f"the one Redis of queue and broker, by {sheet.redis_by}",
        "a separate Redis for the broker (BROKER_URL)",
        lambda _, sheet: sheet.brokers > 0,
    ),
    _Limit(
        "cameras",
        lambda sheet: f"the one Redis of the queue, by {sheet.type_by}",
        "a Redis Cluster, with whole types spread over its shards",
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
        lambda sheet: f"the broker (results, and watched frames once per websocket server), by {sheet.broker_by}",
        "one installation per site, each with its own broker, websocket servers and gateway",
        lambda _, sheet: sheet.brokers > 1,
    ),
    _Limit(
        "viewers",
        lambda _: "one websocket server",
        f"WEBSOCKET_REPLICAS ({SETTINGS['WEBSOCKET_REPLICAS']} by default)",
        lambda _, sheet: sheet.relay_replicas > 1,
    ),
    _Limit(
        "viewers",
        lambda _: "one gateway",
        f"GATEWAY_REPLICAS ({SETTINGS['GATEWAY_REPLICAS']} by default)",
        lambda _, sheet: sheet.gateway_replicas > 1,
    ),
    _Limit(
        "cameras",
        lambda _: f"one list of {BROWSER_STREAMS:,} streams in a browser",
        "one gateway per site, and a search in front of them",
        lambda demand, _: demand.cameras * demand.types > BROWSER_STREAMS,
    ),
    _Limit(
        "cameras",
        lambda _: f"the {GATEWAY_TYPES} types that one gateway finds",
        "one installation per site, each with its own types",
        lambda _, sheet: sheet.types_needed > GATEWAY_TYPES,
    ),
    _Limit(
        "cameras",
        lambda _: f"the {CLUSTER_PODS:,} pods of one Kubernetes cluster",
        "producers at the cameras, outside the cluster; one cluster per site",
        lambda _, sheet: sheet.all_pods > CLUSTER_PODS,
    ),
    _Limit(
        "cameras",
        lambda _: f"the {CLUSTER_NODES:,} nodes of one Kubernetes cluster",
        "one cluster per site, or accelerators",
        lambda _, sheet: sheet.nodes > CLUSTER_NODES,
    ),
)


def _bottlenecks(demand: Demand, measured: Measured, layout: NodePlan) -> list[tuple[float, Bottleneck]]:
    """The bottlenecks as cameras and viewers grow together to twice the demand, each with its part of the demand."""
    steps = max(demand.cameras, demand.viewers)

    @cache
    def at(step: int) -> tuple[Demand, Sheet]:
        cameras, viewers, watched = (
            -(-each * step // steps) for each in (demand.cameras, demand.viewers, demand.watched_streams)
        )
        smaller = replace(demand, cameras=cameras, viewers=viewers, watched_streams=watched)
        return smaller, calculate(smaller, measured, layout)

    found = []
    for limit in _LIMITS:
        step = 1 + bisect_left(range(1, 2 * steps + 1), True, key=lambda each: limit.passed(*at(each)))
        if step > 2 * steps:
            continue
        then, sheet = at(step)
        # A node has three limits; only those that require the most nodes at this point or at the full demand count.
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
