"""What the user asks for on the command line of `tools/gen-k8s-yaml.sh`, checked."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from elastic_inference import __version__
from elastic_inference.commands.manifests.camera import Camera, parse_camera
from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.names import LABEL, OBJECT_NAME, SECRET_NAME, check, network
from elastic_inference.commands.manifests.redis_address import ports
from elastic_inference.commands.manifests.settings import SETTINGS, parse_settings

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|/[A-Za-z0-9._/+=, -]+")
_REGISTRY = re.compile(r"[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9._/-]+)?")
_SERVER = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?"
_SERVERS = f"{_SERVER}(,{_SERVER})*"
_REDIS_URL = re.compile(rf"(redis|rediss)(\+sentinel|\+cluster)?://{_SERVERS}([/?][^@\s\"\\]*)?")
_BROKER_URL = re.compile(rf"(redis|rediss)(\+sentinel)?://{_SERVERS}([/?][^@\s\"\\]*)?")


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
    own.add_argument(
        "--camera-cidr",
        metavar="CIDR",
        help="where the camera is, for its network policy, if a Secret or a host name hides it (default: anywhere)",
    )
    own.add_argument("--camera-port", metavar="PORT", help="its TCP port, likewise (default: the URL's, or any)")
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
    """The options of a command line. Raises ManifestError with one line, or ends with argparse's own message."""
    given = _parser().parse_args(arguments)
    if not given.registry:
        raise ManifestError("-r REGISTRY is required, for instance -r localhost:5000 (see -h)")
    check("-r", given.registry.rstrip("/"), _REGISTRY, "host[:port][/path] in lower case, without http://")
    check("-g", given.tag, LABEL, "at most 63 letters, digits, '.', '_' and '-', a letter or digit at both ends")
    if given.tag == "latest":
        raise ManifestError("-g latest: a tag that moves can't be rolled back; give a version")
    if given.autoscaler != "none":
        check("-a", given.autoscaler, OBJECT_NAME, "a folder of kubernetes/scale/, or none")
    for name in (given.existing_secret, given.redis_tls, given.redis_ca):
        if name:
            check("Secret", name, SECRET_NAME, "the name of a Secret")
    types = _types(given.types)
    camera = parse_camera(given.name, given.camera, given.camera_cidr, given.camera_port)
    if given.model and camera:
        raise ManifestError("-m goes with a type of one's own, -n and -c with a camera: give one of the two")
    if given.types and not given.model and not camera:
        raise ManifestError("-t needs -m MODEL (a type of one's own), or -n NAME -c CAMERA (a camera)")
    if not given.template and not given.model and not camera and not given.secret_only:
        raise ManifestError("-f TEMPLATE is required, or -t TYPE -m MODEL, or -n NAME -c CAMERA -t TYPES (see -h)")
    if given.model and len(types) != 1:
        raise ManifestError("-m MODEL needs one type: -t TYPE")
    if camera and not types:
        raise ManifestError("-n NAME needs the types that the camera feeds: -t TYPE[,TYPE]")
    if given.model.startswith(("./", "../", "~")) if given.model else False:
        raise ManifestError(
            f"-m {given.model} is a file of this machine: build it into the image (container/build.sh -m FOLDER) and "
            "give its path there, such as /opt/ei/models/mine/mine.xml"
        )
    if given.model:
        check("-m", given.model, _MODEL, "a name of the catalogue, or a path in the image that starts with '/'")
    device, accelerator = _device(given.device)
    if given.redis_url:
        check(
            "--redis-url",
            given.redis_url,
            _REDIS_URL,
            "redis://host:port/db, rediss://, redis+sentinel:// or redis+cluster://, without a password",
        )
        if given.redis_tls:
            raise ManifestError("--redis-tls is for the Redis in the cluster, --redis-ca for an external one")
        if "+cluster" in given.redis_url and not given.broker_url:
            raise ManifestError(
                "--redis-url redis+cluster://…: the broker can't lie in a cluster, give it one with --broker-url URL"
            )
    if given.broker_url:
        check(
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


def _types(text: str | None) -> tuple[str, ...]:
    types = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    for name in types:
        check("-t", name, OBJECT_NAME, "at most 40 lower-case letters, digits and '-'")
    if len(set(types)) != len(types):
        raise ManifestError(f"-t {text}: expected each type once")
    return types


def _device(text: str) -> tuple[str, str]:
    known = {
        "CPU": ("CPU", ""),
        "GPU": ("GPU", "gpu.intel.com/i915"),
        "GPU:i915": ("GPU", "gpu.intel.com/i915"),
        "GPU:xe": ("GPU", "gpu.intel.com/xe"),
        "NPU": ("NPU", "npu.intel.com/accel"),
    }
    if text not in known:
        raise ManifestError(f"-d {text}: expected CPU, GPU, GPU:i915, GPU:xe or NPU")
    return known[text]


def _pod_cidrs(given: Sequence[str]) -> tuple[str, ...]:
    networks = [network("-P", text) for text in given]
    if len({each.version for each in networks}) != len(networks):
        raise ManifestError("-P: expected at most one IPv4 and one IPv6 network")
    return tuple(str(each) for each in networks)


def _redis_ports(queue_url: str | None, queue_ports: str | None, broker_url: str | None) -> tuple[str, ...]:
    """What pods may reach outside: the queue's ports as they were named, or by its URL, and the broker's."""
    found = [port.strip() for port in queue_ports.split(",")] if queue_ports and queue_url else ports(queue_url or "")
    found += ports(broker_url or "")
    for port in found:
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ManifestError(f"the port {port} of a Redis: expected ports such as 6379 or --redis-ports 6379,26379")
    return tuple(dict.fromkeys(found))
