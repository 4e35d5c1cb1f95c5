"""The settings of `--set NAME=VALUE` and their defaults. Pure; called by the options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, get_origin

from elastic_inference.base import config, ports
from elastic_inference.base.address_rules import DEFAULT_NETWORKS
from elastic_inference.base.settings.setting import Setting
from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.names import network

_BEFORE_THE_GATEWAY = ("allowed_hosts", "allowed_origins", "base_path", "trusted_proxies")


def _service_fields() -> dict[str, Setting]:
    """The services' settings that an installation may set for all of its pods: numbers and choices, but no ports.

    Names, addresses and files differ from pod to pod: the templates set them. Settings for proxies do not.
    """
    fields = {name: info for each in config.SERVICES for name, info in config.settings_of(each).items()}
    return {name.upper(): info for name, info in fields.items() if _is_plain(info)}


def _is_plain(setting: Setting) -> bool:
    plain = get_origin(setting.kind) is Literal or setting.kind in (int, float)
    return setting.name in _BEFORE_THE_GATEWAY or (plain and not setting.name.endswith("_port"))


SERVICE_FIELDS = _service_fields()
# Those that every installation has in its ConfigMap. The others are added if `--set` sets them.
SHOWN_SERVICE_SETTINGS = ("LOG_FORMAT", "LOG_LEVEL", "MAX_FRAME_BYTES", "MAX_FRAME_AGE_S")


def _default(name: str) -> str:
    value = SERVICE_FIELDS[name].default
    return f"{value:.15g}" if isinstance(value, float) else str(value)


# Defaults of what `--set` changes.
SETTINGS = {
    "REDIS_IMAGE": "docker.io/valkey/valkey:8.1",
    "REDIS_MAXMEMORY": "768mb",
    "REDIS_MEMORY_LIMIT": "1Gi",
    "REDIS_CPU_REQUEST": "100m",
    "REDIS_CPU_LIMIT": "2",
    **dict.fromkeys(SERVICE_FIELDS, ""),
    **{name: _default(name) for name in SHOWN_SERVICE_SETTINGS},
    "INFER_CPU_REQUEST": "150m",
    "INFER_CPU_LIMIT": "2",
    "INFER_MEMORY_REQUEST": "256Mi",
    "INFER_MEMORY_LIMIT": "1Gi",
    # the pool's workers: each holds as many cameras as its CPU can decode
    "CAMERA_POOL_CPU_REQUEST": "100m",
    "CAMERA_POOL_CPU_LIMIT": "2",
    "CAMERA_POOL_MEMORY_REQUEST": "256Mi",
    "CAMERA_POOL_MEMORY_LIMIT": "1Gi",
    # where the cameras are
    "CAMERA_NETWORKS": ",".join(DEFAULT_NETWORKS),
    # where the sinks of events are
    "SINK_NETWORKS": ",".join(DEFAULT_NETWORKS),
    "WEBSOCKET_REPLICAS": "2",
    "GATEWAY_REPLICAS": "2",
    "HOUSEKEEPING_REPLICAS": "2",
    "EVENT_REPLICAS": "2",
    "QUEUE_NODE_PORT": str(ports.QUEUE_PORT),
    "GATEWAY_NODE_PORT": str(ports.DASHBOARD_PORT),
    "SAMPLE_FPS": "",
    "GATEWAY_TLS": "",
    # a Secret with tokens.json
    "GATEWAY_TOKENS": "",
    "PULL_SECRET": "",
    "NODE_SELECTOR": "",
    "RENDER_GROUP": "",
    "USB_NODE": "",
    "USB_RESOURCE": "squat.ai/video",
    "INGRESS_HOST": "video.example.org",
    # monitoring/ and scale/
    "PROMETHEUS_IMAGE": "docker.io/prom/prometheus:v3.16.0",
    "ADAPTER_IMAGE": "registry.k8s.io/prometheus-adapter/prometheus-adapter:v0.12.0",
    "GRAFANA_IMAGE": "docker.io/grafana/grafana:12.2.0",
    "GRAFANA_NODE_PORT": "31008",
    "PROMETHEUS_NODE_PORT": "31009",
    "PROMETHEUS_URL": "http://ei-prometheus.ei-monitoring.svc:9090",
    # host:port that Prometheus sends alerts to; empty for none
    "ALERTMANAGER": "",
    "MIN_REPLICAS": "1",
    "MAX_REPLICAS": "10",
    "RATIO_TARGET": "0.8",
    "SCALE_DOWN_WINDOW_S": "300",
    "KEDA_COOLDOWN_S": "120",
    # off: KEDA's login at Redis, which can run Lua, is not needed
    "SCALER_USER": "on",
    # on: housekeeping serves keda-push, which needs neither that login nor Prometheus
    "PUSH_SCALER": "off",
    # a Secret with tls.crt and tls.key of that server, and ca.crt for KEDA
    "SCALER_TLS": "",
    # where the suite will run, for KEDA, which has its own namespace
    "NAMESPACE": "default",
}
# The templates write these without quotes. The second group may be empty: no node port, no group.
NUMBERS = (
    "MAX_FRAME_BYTES",
    "WEBSOCKET_REPLICAS",
    "GATEWAY_REPLICAS",
    "HOUSEKEEPING_REPLICAS",
    "EVENT_REPLICAS",
    "MIN_REPLICAS",
    "MAX_REPLICAS",
    "SCALE_DOWN_WINDOW_S",
    "KEDA_COOLDOWN_S",
)
NUMBERS_OR_NOTHING = (
    "QUEUE_NODE_PORT",
    "GATEWAY_NODE_PORT",
    "GRAFANA_NODE_PORT",
    "PROMETHEUS_NODE_PORT",
    "RENDER_GROUP",
)
_PROMETHEUS_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:(?P<port>[0-9]+))?(/[A-Za-z0-9._~/-]*)?")
_HOST_PORT = re.compile(r"[A-Za-z0-9.-]+:[1-9][0-9]{0,4}")
_NODE_LABEL = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9./_-]*)(=|: *)(?P<value>[A-Za-z0-9._-]*)")


def parse_settings(given: Sequence[str]) -> dict[str, str]:
    """Each setting with its value: the default, or what `NAME=VALUE` gives. Raises ManifestError."""
    settings = dict(SETTINGS)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in SETTINGS:
            raise ManifestError(f"--set {text}: expected NAME=VALUE with NAME one of {', '.join(sorted(SETTINGS))}")
        if any(each in value for each in '"\n\\'):
            raise ManifestError(f"--set {name}: expected a value without quotes, backslashes or line breaks")
        settings[name] = value
    for name in NUMBERS + NUMBERS_OR_NOTHING:
        value = settings[name]
        if not re.fullmatch("[0-9]+", value) and (value or name in NUMBERS):
            raise ManifestError(f"--set {name}={value}: expected a number")
    _check_services(settings)
    _check_scaling(settings)
    _check_prometheus(settings["PROMETHEUS_URL"])
    alertmanager = settings["ALERTMANAGER"]
    if alertmanager and not _HOST_PORT.fullmatch(alertmanager):
        raise ManifestError(f"--set ALERTMANAGER={alertmanager}: expected host:port")
    for name in ("SCALER_USER", "PUSH_SCALER"):
        if settings[name] not in ("on", "off"):
            raise ManifestError(f"--set {name}={settings[name]}: expected on or off")
    node_labels(settings["NODE_SELECTOR"])
    networks(settings, "CAMERA_NETWORKS")
    networks(settings, "SINK_NETWORKS")
    return settings


def service_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """The variables of the ConfigMap that every service reads."""
    further = (name for name in SERVICE_FIELDS if settings[name] and name not in SHOWN_SERVICE_SETTINGS)
    return {name: settings[name] for name in (*SHOWN_SERVICE_SETTINGS, *further)}


def _check_services(settings: Mapping[str, str]) -> None:
    for name, info in SERVICE_FIELDS.items():
        value = settings[name]
        if value and name not in SHOWN_SERVICE_SETTINGS:
            try:
                info.value(value)
            except ValueError as error:
                raise ManifestError(f"--set {name}={value}: {error}") from None


def _check_scaling(settings: Mapping[str, str]) -> None:
    lowest, highest, target = (settings[name] for name in ("MIN_REPLICAS", "MAX_REPLICAS", "RATIO_TARGET"))
    if int(lowest) < 1:
        raise ManifestError(f"--set MIN_REPLICAS={lowest}: expected 1 or more (an HPA cannot scale to zero, KEDA does)")
    if int(lowest) > int(highest):
        raise ManifestError(f"--set MIN_REPLICAS={lowest}: expected at most MAX_REPLICAS, which is {highest}")
    # It is an HPA's quantity and KEDA's threshold. Kubernetes counts in thousandths.
    if not re.fullmatch(r"[0-9]+(\.[0-9]{1,3})?", target) or float(target) == 0:
        raise ManifestError(f"--set RATIO_TARGET={target}: expected a number above 0 such as 0.8")


def _check_prometheus(url: str) -> None:
    found = _PROMETHEUS_URL.fullmatch(url)
    if found is None or not 0 < int(found["port"] or 1) < 65536:
        raise ManifestError(f"--set PROMETHEUS_URL={url}: expected http://host[:port][/path] or https://…")


def node_labels(text: str) -> list[tuple[str, str]]:
    """The labels in `NODE_SELECTOR`: `gpu=yes,zone=1`, or as YAML writes them (`gpu: yes`). Raises ManifestError."""
    found = []
    for each in text.split(",") if text else ():
        label = _NODE_LABEL.fullmatch(each.strip())
        if label is None:
            raise ManifestError(f"--set NODE_SELECTOR={text}: expected LABEL=VALUE[,LABEL=VALUE]")
        found.append((label["name"], label["value"]))
    if len({name for name, _ in found}) != len(found):
        raise ManifestError(f"--set NODE_SELECTOR={text}: expected each label once")
    return found


def networks(settings: Mapping[str, str], name: str) -> list[str]:
    """The networks in the setting `name`. Raises ManifestError."""
    return [str(network(f"--set {name}", each.strip())) for each in settings[name].split(",") if each.strip()]
