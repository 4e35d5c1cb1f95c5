"""What the templates can use, from the options and the kept passwords. Pure; called by the generator.

Names in capitals are the settings of `--set`. "Change a manifest" in `doc/deployment.md` lists the others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from elastic_inference.adapters.acl import USERS
from elastic_inference.adapters.camera_resource.schema import definition
from elastic_inference.base.config import GatewaySettings, WebsocketSettings, settings_of
from elastic_inference.base.ports import METRICS_PORT, SCALER_PORT
from elastic_inference.base.redis_server import as_file, server_settings
from elastic_inference.base.redis_url import REDIS_PORT
from elastic_inference.commands.manifests import autoscaling, available, credentials
from elastic_inference.commands.manifests.camera import CameraOption
from elastic_inference.commands.manifests.images import Images
from elastic_inference.commands.manifests.names import LABEL
from elastic_inference.commands.manifests.options import Options
from elastic_inference.commands.manifests.settings import networks, node_labels, service_settings
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec

Values = dict[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def template_values(options: Options, types: Sequence[str], clips: Path | None, passwords: Mapping[str, str]) -> Values:
    """The values of every template. `clips` is the folder of clips in the image, None if it is not known."""
    settings = options.settings
    queue_url = options.redis_url or f"{'rediss' if options.redis_tls else 'redis'}://ei-redis-svc:{REDIS_PORT}/0"
    redis = server_settings(settings["REDIS_MAXMEMORY"], int(settings["MAX_FRAME_BYTES"]))
    return {
        **settings,
        "registry": options.registry,
        "tag": options.tag,
        "image": Images(options.digests),
        "secret": options.secret,
        "makes_secret": not options.existing_secret,
        # the core, which knows the passwords of its Secret, sets this
        "with_passwords": False,
        "users": [*USERS, *(site.user for site in options.sites)],
        "passwords": passwords,
        "users_acl": credentials.users_file(
            passwords,
            scaler=settings["SCALER_USER"] == "on",
            sites=options.sites,
        ),
        "gateway_token": "" if options.open_dashboard else passwords[credentials.TOKEN],
        "service_settings": service_settings(settings),
        "ports": {
            "redis": REDIS_PORT,
            "metrics": METRICS_PORT,
            "scaler": SCALER_PORT,
            "websocket": settings_of(WebsocketSettings)["websocket_port"].default,
            "gateway": settings_of(GatewaySettings)["gateway_port"].default,
        },
        "queue_url": queue_url,
        "broker_url": options.broker_url,
        "external_redis": bool(options.redis_url),
        "redis_ports": options.redis_ports,
        "redis_tls": options.redis_tls,
        "redis_ca": options.redis_ca,
        "redis_settings": as_file(redis),
        # an upgrade of the suite must not replace Redis' pod
        "redis_version": _version(settings["REDIS_IMAGE"]),
        "pod_cidr_4": next((cidr for cidr in options.pod_cidrs if ":" not in cidr), ""),
        "pod_cidr_6": next((cidr for cidr in options.pod_cidrs if ":" in cidr), ""),
        "device": options.device,
        "accelerator": options.accelerator,
        "node_labels": node_labels(settings["NODE_SELECTOR"]),
        "types": [type_values(each) for each in types],
        "samples": {
            name: sample_values(name, [each for each in feeds if each in types], available.choose_clip(clips, names))
            for name, (feeds, names) in available.SAMPLES.items()
        },
        "cpu_target": autoscaling.cpu_target(settings["INFER_CPU_LIMIT"]),
        "camera_pool_cpu_target": autoscaling.cpu_target(settings["CAMERA_POOL_CPU_LIMIT"], "CAMERA_POOL_CPU_LIMIT"),
        "keda": autoscaling.keda_redis(options, queue_url),
        "other_prometheus_port": autoscaling.other_prometheus_port(settings["PROMETHEUS_URL"]),
        "camera_definition": yaml.safe_dump(definition(), sort_keys=False, width=120, allow_unicode=True),
        "camera_networks": _without_pods(networks(settings, "CAMERA_NETWORKS"), options.pod_cidrs),
        "sink_networks": _without_pods(networks(settings, "SINK_NETWORKS"), options.pod_cidrs),
        "alertmanager_port": settings["ALERTMANAGER"].rpartition(":")[2],
    }


def type_values(name: str, model: str = "") -> Values:
    """`type` of the parts: an inference type, with the name or path of its model if that is not the default."""
    by_path = "/" in model
    return {
        "name": name,
        "model_name": "" if by_path else model,
        "model_path": model if by_path else "",
        "token_list": keys.tokens(name),
        "legacy_list": keys.legacy_queue(name),
    }


def sample_values(name: str, feeds: Sequence[str], clip: str) -> Values:
    """`sample` of the parts: a clip that plays in a loop."""
    return {
        "name": name,
        "stream": f"sample-{name}",
        "feeds": ",".join(feeds),
        "video_file": f"/opt/ei/videos/{clip}",
    }


def camera_values(camera: CameraOption, feeds: Sequence[str]) -> Values:
    """`camera` of the parts; what is not known is left out."""
    if camera.spec is not None:
        return _pool_camera(camera.spec)
    known = {
        "name": camera.name,
        "stream": camera.name,
        "feeds": ",".join(feeds),
        "device": camera.device,
        "secret": camera.secret,
        "address": camera.address,
        "port": camera.port,
    }
    return {name: value for name, value in known.items() if value}


def _pool_camera(spec: CameraSpec) -> Values:
    public = spec.public()
    secrets = {}
    if spec.login is not None:
        secrets = {"user": spec.login.user, "password": spec.login.password.get_secret_value()}
    if spec.url != public.url:
        secrets["url"] = spec.url
    return {"name": spec.name, "types": list(spec.types), "url": public.url, "secrets": secrets}


def _without_pods(cidrs: Sequence[str], pod_cidrs: Sequence[str]) -> list[dict[str, Any]]:
    """Each network, with the pod networks inside it that are excluded."""
    found = []
    for cidr in cidrs:
        network = ipaddress.ip_network(cidr)
        pods = [each for each in pod_cidrs if _within(ipaddress.ip_network(each), network)]
        found.append({"cidr": cidr, "pods": pods})
    return found


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner != outer and inner.subnet_of(outer)  # type: ignore[arg-type]


def _version(image: str) -> str:
    """The tag of an image if it fits into a label, or else nothing."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return tag if LABEL.fullmatch(tag) else ""
