"""The options of `tools/gen-k8s-yaml.sh`, checked."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field

from elastic_inference import __version__
from elastic_inference.adapters.acl import USERS, Site
from elastic_inference.adapters.acl.sites import BEGINNING, NAME
from elastic_inference.commands.manifests import command_line
from elastic_inference.commands.manifests.camera import CameraOption, parse_camera
from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.names import LABEL, OBJECT_NAME, SECRET_NAME, check, network
from elastic_inference.commands.manifests.redis_address import ports
from elastic_inference.commands.manifests.settings import SETTINGS, parse_settings

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|/[A-Za-z0-9._/+=, -]+")
_REGISTRY = re.compile(r"[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9._/-]+)?")
_SERVER = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?"
_SERVERS = f"{_SERVER}(,{_SERVER})*"
_REDIS_URL = re.compile(rf"(redis|rediss)(\+sentinel|\+cluster)?://{_SERVERS}([/?][^@\s\"\\]*)?")
_FORMS = "redis://host:port/db, rediss://, redis+sentinel:// or redis+cluster://, without a password"


@dataclass(frozen=True)
class Options:
    """The command line, checked."""

    registry: str
    template: str = ""
    tag: str = __version__
    digests: str = ""
    output: str = ""
    types: tuple[str, ...] = ()
    model: str = ""
    camera: CameraOption | None = None
    autoscaler: str = "hpa-ratio"
    secret: str = "ei-credentials"  # noqa: S105  an object's name
    existing_secret: bool = False
    secret_only: bool = False
    open_dashboard: bool = False
    sites: tuple[Site, ...] = ()
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


def parse_arguments(arguments: Sequence[str]) -> Options:
    """The options of a command line. Raises ManifestError with one line, or ends with argparse's own message."""
    given = command_line.parse(arguments)
    _check_names(given)
    types = _types(given.types)
    camera = parse_camera(given.name, given.camera, types, given.camera_cidr, given.camera_port)
    _check_combination(given, types, camera)
    if given.model:
        _check_model(given.model)
    device, accelerator = _device(given.device)
    _check_redis(given)
    return Options(
        registry=given.registry.rstrip("/"),
        template=given.template or "",
        tag=given.tag,
        digests=given.digests or "",
        output=given.output or "",
        types=types,
        model=given.model or "",
        camera=camera,
        autoscaler=given.autoscaler,
        secret=given.existing_secret or "ei-credentials",
        existing_secret=bool(given.existing_secret),
        secret_only=given.secret_only,
        open_dashboard=given.open_dashboard,
        sites=_sites(given.sites),
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


def _check_names(given: Namespace) -> None:
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


def _check_combination(given: Namespace, types: Sequence[str], camera: CameraOption | None) -> None:
    if given.sites and given.existing_secret:
        raise ManifestError("--site is for a Secret that is made here: add the site's user to your existing Secret")
    if given.model and camera:
        raise ManifestError("-m is for your own type, -n and -c are for a camera: give one of the two")
    if given.types and not given.model and not camera:
        raise ManifestError("-t needs -m MODEL (your own type), or -n NAME -c CAMERA (a camera)")
    if not given.template and not given.model and not camera and not given.secret_only:
        raise ManifestError("-f TEMPLATE is required, or -t TYPE -m MODEL, or -n NAME -c CAMERA -t TYPES (see -h)")
    if given.model and len(types) != 1:
        raise ManifestError("-m MODEL needs one type: -t TYPE")
    if camera and not types:
        raise ManifestError("-n NAME needs the types that the camera feeds: -t TYPE[,TYPE]")


def _check_model(model: str) -> None:
    if model.startswith(("./", "../", "~")):
        raise ManifestError(
            f"-m {model} is a file of this machine: build it into the image (container/build.sh -m FOLDER) and "
            "give its path there, such as /opt/ei/models/mine/mine.xml"
        )
    check("-m", model, _MODEL, "a name of the catalogue, or a path in the image that starts with '/'")


def _check_redis(given: Namespace) -> None:
    if given.redis_url:
        check("--redis-url", given.redis_url, _REDIS_URL, _FORMS)
        if given.redis_tls:
            raise ManifestError("--redis-tls is for the Redis in the cluster, --redis-ca for an external one")
    if given.broker_url:
        check("--broker-url", given.broker_url, _REDIS_URL, _FORMS)


def _types(text: str | None) -> tuple[str, ...]:
    types = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    for name in types:
        check("-t", name, OBJECT_NAME, "at most 40 lower-case letters, digits and '-'")
    if len(set(types)) != len(types):
        raise ManifestError(f"-t {text}: expected each type once")
    return types


def _sites(given: Sequence[str]) -> tuple[Site, ...]:
    sites: list[Site] = []
    for text in given:
        user, _, rest = text.partition("=")
        infer_type, slash, beginning = rest.partition("/")
        valid = NAME.fullmatch(user) and OBJECT_NAME.fullmatch(infer_type)
        if not valid or (slash and not BEGINNING.fullmatch(beginning)):
            raise ManifestError(
                f"--site {text}: expected USER=TYPE or USER=TYPE/NAME-, such as site-7=site7-people, yard=people/yard-"
            )
        if user in (*USERS, "default", "grafana", *(each.user for each in sites)):
            raise ManifestError(f"--site {text}: there is a user {user} already; give the site another name")
        sites.append(Site(user, infer_type, beginning))
    return tuple(sites)


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
    """Ports that pods may reach outside: those given for the queue, or those of its URL, and the broker's."""
    found = [port.strip() for port in queue_ports.split(",")] if queue_ports and queue_url else ports(queue_url or "")
    found += ports(broker_url or "")
    for port in found:
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ManifestError(f"the port {port} of a Redis: expected ports such as 6379 or --redis-ports 6379,26379")
    return tuple(dict.fromkeys(found))
