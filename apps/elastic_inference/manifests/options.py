"""What the user asks for on the command line of `tools/gen-k8s-yaml.sh`, checked."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from elastic_inference import __version__
from elastic_inference.manifests.redis_address import ports
from elastic_inference.manifests.settings import SETTINGS, parse_settings
from elastic_inference.manifests.template import TemplateError

# Names of objects and labels: RFC 1123, short enough that `ei-infer-<type>-app` and a pod's suffix still fit.
_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_SECRET_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?")
_REGISTRY = re.compile(r"[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9._/-]+)?")
# A label's value: an image's tag becomes one, and may be longer or end in another character.
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_REDIS_URL = re.compile(r"(redis|rediss)(\+sentinel|\+cluster)?://[^@\s\"\\]+")
_BROKER_URL = re.compile(r"(redis|rediss)(\+sentinel)?://[^@\s\"\\]+")
_CAMERA_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


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
    broker_url: str = ""
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
        "--broker-url",
        metavar="URL",
        help="a Redis of its own for results: redis://, rediss:// or redis+sentinel:// (needed with redis+cluster://)",
    )
    more.add_argument(
        "--redis-ports", metavar="PORTS", help="ports that an external queue answers at (default: those of its URL)"
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
    _check("-g", given.tag, LABEL, "at most 63 letters, digits, '.', '_' and '-', a letter or digit at both ends")
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
        if "+cluster" in given.redis_url and not given.broker_url:
            raise TemplateError(
                "--redis-url redis+cluster://…: the broker can't lie in a cluster, give it one with --broker-url URL"
            )
    if given.broker_url:
        _check(
            "--broker-url",
            given.broker_url,
            _BROKER_URL,
            "redis://host:port/db, rediss:// or redis+sentinel://, without a password",
        )
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
        broker_url=given.broker_url or "",
        redis_ports=_redis_ports(given.redis_url, given.redis_ports, given.broker_url),
        redis_tls=given.redis_tls or "",
        redis_ca=given.redis_ca or given.redis_tls or "",
        models=given.models or "",
        clips=given.clips or "",
        settings=parse_settings(given.settings),
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


def _redis_ports(queue_url: str | None, queue_ports: str | None, broker_url: str | None) -> tuple[str, ...]:
    """What pods may reach outside: the queue's ports as they were named, or by its URL, and the broker's."""
    found = [port.strip() for port in queue_ports.split(",")] if queue_ports else ports(queue_url or "")
    for port in (*found, *ports(broker_url or "")):
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise TemplateError(f"--redis-ports {','.join(found)}: expected ports such as 6379,26379")
    return tuple(dict.fromkeys([*found, *ports(broker_url or "")]))
