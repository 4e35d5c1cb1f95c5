"""What the user asks for on the command line of `tools/gen-k8s-yaml.sh`, checked."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from elastic_inference import __version__
from elastic_inference.manifests.template import TemplateError

# Names of objects and labels: RFC 1123, short enough that `ei-infer-<type>-app` and a pod's suffix still fit.
_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_SECRET_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?")
_REGISTRY = re.compile(r"[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9._/-]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REDIS_URL = re.compile(r"(redis|rediss)(\+sentinel|\+cluster)?://[^@\s]+")
_CAMERA_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}

# Defaults of what `--set` changes.
SETTINGS = {
    "REDIS_IMAGE": "docker.io/valkey/valkey:8.1",
    "REDIS_MAXMEMORY": "768mb",
    "REDIS_MEMORY_LIMIT": "1Gi",
    "REDIS_CPU_REQUEST": "100m",
    "REDIS_CPU_LIMIT": "2",
    "MAX_FRAME_BYTES": "4194304",
    "MAX_FRAME_AGE_S": "2",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "text",
    "INFER_CPU_REQUEST": "150m",
    "INFER_CPU_LIMIT": "2",
    "INFER_MEMORY_REQUEST": "256Mi",
    "INFER_MEMORY_LIMIT": "1Gi",
    "WEBSOCKET_REPLICAS": "2",
    "GATEWAY_REPLICAS": "2",
    "QUEUE_NODE_PORT": "31003",
    "GATEWAY_NODE_PORT": "31002",
    "SAMPLE_FPS": "",
    "GATEWAY_TLS": "",
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
    "MIN_REPLICAS": "1",
    "MAX_REPLICAS": "10",
    "RATIO_TARGET": "0.8",
    "SCALE_DOWN_WINDOW_S": "300",
    "KEDA_COOLDOWN_S": "120",
    # where the suite will run, for KEDA, which looks at it from its own namespace
    "NAMESPACE": "default",
}


@dataclass(frozen=True)
class Camera:
    """One camera of its own name. Exactly one of `url`, `secret` and `device` is set."""

    name: str
    url: str = ""
    secret: str = ""
    device: str = ""
    address: str = ""
    port: int = 0


@dataclass(frozen=True)
class Options:
    """The command line, checked."""

    registry: str
    template: str = ""
    tag: str = __version__
    output: str = ""
    types: tuple[str, ...] = ()
    model: str = ""
    camera: Camera | None = None
    autoscaler: str = "hpa-ratio"
    secret: str = "ei-credentials"  # noqa: S105  an object's name
    existing_secret: bool = False
    secret_only: bool = False
    open_dashboard: bool = False
    pod_cidrs: tuple[str, ...] = ()
    device: str = "CPU"
    accelerator: str = ""
    redis_url: str = ""
    redis_ports: tuple[str, ...] = ()
    redis_tls: str = ""
    redis_ca: str = ""
    models: str = ""
    clips: str = ""
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gen-k8s-yaml.sh",
        description="Writes Kubernetes manifests from the templates in kubernetes/, next to them.",
        epilog="""examples:
  gen-k8s-yaml.sh -f kubernetes/elastic-inference.yaml.template -r registry.example.org/team
  gen-k8s-yaml.sh -f kubernetes/sample-infer/ -r registry.example.org/team
  gen-k8s-yaml.sh -r registry.example.org/team -t forklift -m /opt/ei/models/forklift/forklift.xml
  gen-k8s-yaml.sh -r registry.example.org/team -n gate-1 -c rtsp://user:password@192.0.2.10/1 -t people,face-fp32""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-f", dest="template", metavar="TEMPLATE", help="a template, or a folder: all of its templates")
    parser.add_argument("-r", dest="registry", metavar="REGISTRY", help="where the images are (required)")
    parser.add_argument("-g", dest="tag", metavar="TAG", default=__version__, help="their tag (default: %(default)s)")
    parser.add_argument("-o", dest="output", metavar="FILE", help="write here (one template only), or into this folder")
    own = parser.add_argument_group("a type of one's own, or a camera")
    own.add_argument("-t", dest="types", metavar="TYPE[,TYPE]", help="the type (with -m), or the types a camera feeds")
    own.add_argument(
        "-m",
        dest="model",
        metavar="MODEL",
        help="its model: a catalogue name such as yolox-nano_FP32, or a path in the image",
    )
    own.add_argument(
        "-a",
        dest="autoscaler",
        metavar="NAME",
        default="hpa-ratio",
        help="its autoscaler: a folder of kubernetes/scale/, or none (default: %(default)s)",
    )
    own.add_argument("-n", dest="name", metavar="NAME", help="a camera's name")
    own.add_argument(
        "-c",
        dest="camera",
        metavar="CAMERA",
        help="its URL, the name of a Secret that holds it under the key url, or /dev/videoN",
    )
    access = parser.add_argument_group("access")
    access.add_argument("--existing-secret", metavar="NAME", help="take this Secret instead of making one")
    access.add_argument("--secret-only", action="store_true", help="write nothing but the Secret")
    access.add_argument("--open-dashboard", action="store_true", help="no token: for a trusted network only")
    access.add_argument(
        "-P",
        dest="pod_cidrs",
        metavar="CIDR",
        action="append",
        default=[],
        help="the cluster's pod addresses: keeps foreign pods from the queue's node port (repeat for IPv6)",
    )
    more = parser.add_argument_group("hardware and Redis")
    more.add_argument(
        "-d",
        dest="device",
        metavar="DEVICE",
        default="CPU",
        help="CPU, GPU (i915), GPU:xe or NPU (default: %(default)s)",
    )
    more.add_argument(
        "--redis-url",
        metavar="URL",
        help="an external Redis: redis://, rediss://, redis+sentinel://, redis+cluster:// (no password in it)",
    )
    more.add_argument(
        "--redis-ports", metavar="PORTS", help="ports that an external Redis answers at (default: those of the URL)"
    )
    more.add_argument(
        "--redis-tls", metavar="SECRET", help="serve Redis over TLS with this Secret's tls.crt, tls.key and ca.crt"
    )
    more.add_argument(
        "--redis-ca", metavar="SECRET", help="the Secret whose ca.crt signed an external Redis' certificate"
    )
    more.add_argument(
        "--models",
        metavar="FOLDER",
        help="the models in the inference image, or all (default: build/models where build.sh left them)",
    )
    more.add_argument("--clips", metavar="FOLDER", help="the clips in the file stream image (default: build/videos)")
    more.add_argument(
        "--set",
        dest="settings",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="one of " + ", ".join(sorted(SETTINGS)),
    )
    return parser


def parse_arguments(arguments: Sequence[str]) -> Options:
    """The options of a command line. Raises TemplateError with one line, or ends with argparse's own message."""
    given = _parser().parse_args(arguments)
    if not given.registry:
        raise TemplateError("-r REGISTRY is required, for instance -r localhost:5000 (see -h)")
    _check("-r", given.registry.rstrip("/"), _REGISTRY, "host[:port][/path] in lower case, without http://")
    _check("-g", given.tag, _TAG, "letters, digits, '.', '_' and '-'")
    if given.tag == "latest":
        raise TemplateError("-g latest: a tag that moves can't be rolled back; give a version")
    if given.autoscaler != "none":
        _check("-a", given.autoscaler, _OBJECT_NAME, "a folder of kubernetes/scale/, or none")
    for name in (given.existing_secret, given.redis_tls, given.redis_ca):
        if name:
            _check("Secret", name, _SECRET_NAME, "the name of a Secret")
    types = _types(given.types)
    camera = _camera(given.name, given.camera)
    if given.model and camera:
        raise TemplateError("-m goes with a type of one's own, -n and -c with a camera: give one of the two")
    if given.types and not given.model and not camera:
        raise TemplateError("-t needs -m MODEL (a type of one's own), or -n NAME -c CAMERA (a camera)")
    if not given.template and not given.model and not camera and not given.secret_only:
        raise TemplateError("-f TEMPLATE is required, or -t TYPE -m MODEL, or -n NAME -c CAMERA -t TYPES (see -h)")
    if given.model and len(types) != 1:
        raise TemplateError("-m MODEL needs one type: -t TYPE")
    if camera and not types:
        raise TemplateError("-n NAME needs the types that the camera feeds: -t TYPE[,TYPE]")
    if given.model.startswith(("./", "../", "~")) if given.model else False:
        raise TemplateError(
            f"-m {given.model} is a file of this machine: build it into the image (container/build.sh -m FOLDER) and "
            "give its path there, such as /opt/ei/models/mine/mine.xml"
        )
    device, accelerator = _device(given.device)
    if given.redis_url:
        _check(
            "--redis-url",
            given.redis_url,
            _REDIS_URL,
            "redis://host:port/db, rediss://, redis+sentinel:// or redis+cluster://, without a password",
        )
        if given.redis_tls:
            raise TemplateError("--redis-tls is for the Redis in the cluster, --redis-ca for an external one")
    return Options(
        registry=given.registry.rstrip("/"),
        template=given.template or "",
        tag=given.tag,
        output=given.output or "",
        types=types,
        model=given.model or "",
        camera=camera,
        autoscaler=given.autoscaler,
        secret=given.existing_secret or "ei-credentials",
        existing_secret=bool(given.existing_secret),
        secret_only=given.secret_only,
        open_dashboard=given.open_dashboard,
        pod_cidrs=_pod_cidrs(given.pod_cidrs),
        device=device,
        accelerator=accelerator,
        redis_url=given.redis_url or "",
        redis_ports=_redis_ports(given.redis_url, given.redis_ports),
        redis_tls=given.redis_tls or "",
        redis_ca=given.redis_ca or given.redis_tls or "",
        models=given.models or "",
        clips=given.clips or "",
        settings=_settings(given.settings),
    )


def _check(option: str, value: str, pattern: re.Pattern[str], expected: str) -> None:
    if not pattern.fullmatch(value):
        raise TemplateError(f"{option} {value}: expected {expected}")


def _types(text: str | None) -> tuple[str, ...]:
    types = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    for name in types:
        _check("-t", name, _OBJECT_NAME, "at most 40 lower-case letters, digits and '-'")
    if len(set(types)) != len(types):
        raise TemplateError(f"-t {text}: expected each type once")
    return types


def _camera(name: str | None, source: str | None) -> Camera | None:
    if not name and not source:
        return None
    if not name or not source:
        raise TemplateError("-n NAME and -c CAMERA go together")
    _check("-n", name, _OBJECT_NAME, "at most 40 lower-case letters, digits and '-'")
    if source.isdigit() or source.startswith("/dev/"):
        return Camera(name, device=f"/dev/video{source}" if source.isdigit() else source)
    if "://" not in source:
        _check("-c", source, _SECRET_NAME, "a URL, the name of a Secret, or /dev/videoN")
        return Camera(name, secret=source)
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in _CAMERA_PORTS or not host or any(each in source for each in '"\\\n '):
        raise TemplateError(
            "-c: expected rtsp://…, rtsps://…, http://… or https://… with a host (special characters as %XX)"
        )
    try:
        address = ipaddress.ip_address(host)
        cidr = f"{address}/{address.max_prefixlen}"
    except ValueError:
        cidr = ""
    return Camera(name, url=source, address=cidr, port=port or _CAMERA_PORTS[parts.scheme])


def _device(text: str) -> tuple[str, str]:
    known = {
        "CPU": ("CPU", ""),
        "GPU": ("GPU", "gpu.intel.com/i915"),
        "GPU:i915": ("GPU", "gpu.intel.com/i915"),
        "GPU:xe": ("GPU", "gpu.intel.com/xe"),
        "NPU": ("NPU", "npu.intel.com/accel"),
    }
    if text not in known:
        raise TemplateError(f"-d {text}: expected CPU, GPU, GPU:i915, GPU:xe or NPU")
    return known[text]


def _pod_cidrs(given: Sequence[str]) -> tuple[str, ...]:
    versions = []
    for text in given:
        try:
            versions.append(ipaddress.ip_network(text).version)
        except ValueError:
            raise TemplateError(f"-P {text}: expected a network such as 10.244.0.0/16") from None
    if len(set(versions)) != len(versions):
        raise TemplateError("-P: expected at most one IPv4 and one IPv6 network")
    return tuple(given)


def _redis_ports(url: str | None, ports: str | None) -> tuple[str, ...]:
    if not url:
        return ()
    found = ports.split(",") if ports else re.findall(r":(\d+)(?=[,/?]|$)", url.partition("://")[2]) or ["6379"]
    for port in found:
        if not port.strip().isdigit() or not 0 < int(port) < 65536:
            raise TemplateError(f"--redis-ports {ports}: expected ports such as 6379,26379")
    if "+sentinel" in url and not ports:
        found.append("6379")
    return tuple(dict.fromkeys(port.strip() for port in found))


def _settings(given: Sequence[str]) -> dict[str, str]:
    settings = dict(SETTINGS)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in SETTINGS:
            raise TemplateError(f"--set {text}: expected NAME=VALUE with NAME one of {', '.join(sorted(SETTINGS))}")
        if any(each in value for each in '"\n\\'):
            raise TemplateError(f"--set {name}: expected a value without quotes, backslashes and line ends")
        settings[name] = value
    if not settings["MAX_FRAME_BYTES"].isdigit():
        raise TemplateError(f"--set MAX_FRAME_BYTES={settings['MAX_FRAME_BYTES']}: expected a number of bytes")
    return settings
