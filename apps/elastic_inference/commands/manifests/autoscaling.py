"""Derived values for the autoscalers' templates. Pure; called by `values`."""

from __future__ import annotations

from urllib.parse import urlsplit

from elastic_inference.base.redis_url import REDIS_PORT
from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.options import Options
from elastic_inference.commands.manifests.redis_address import parse
from elastic_inference.commands.manifests.settings import SETTINGS

# The CPU autoscaler's target, as a part of a pod's CPU limit.
CPU_PART = 0.7


def cpu_target(limit: str, setting: str = "INFER_CPU_LIMIT") -> str:
    """The target for a pod's mean CPU use, as a Kubernetes quantity. `limit` is its CPU limit (`2`, `1500m`).

    Raises ManifestError.
    """
    try:
        cores = float(limit[:-1]) / 1000 if limit.endswith("m") else float(limit)
    except ValueError:
        cores = 0.0
    if cores <= 0:
        raise ManifestError(f"--set {setting}={limit}: expected CPU cores such as 2 or 500m")
    return f"{round(cores * 1000 * CPU_PART)}m"


def other_prometheus_port(url: str) -> str:
    """The port of your own Prometheus; empty for the one that `kubernetes/monitoring/` installs."""
    if url == SETTINGS["PROMETHEUS_URL"]:
        return ""
    parts = urlsplit(url)
    return str(parts.port or (443 if parts.scheme == "https" else 80))


def keda_redis(options: Options, queue_url: str) -> dict[str, str | bool]:
    """How KEDA's trigger reaches the queue: its kind, addresses as seen from another namespace, database, TLS."""
    url = parse(queue_url)
    servers = url.addresses
    if not options.redis_url:
        servers = [f"ei-redis-svc.{options.settings['NAMESPACE']}.svc:{REDIS_PORT}"]
    kind, key = "redis", "address"
    if url.is_cluster:
        kind, key = "redis-cluster", "addresses"
    elif url.is_sentinel:
        kind, key = "redis-sentinel", "addresses"
    return {
        "trigger": kind,
        "address_key": key,
        "addresses": ",".join(servers),
        "sentinel_master": url.master,
        "database": "" if url.is_cluster else str(url.database),
        "tls": url.is_tls,
    }
