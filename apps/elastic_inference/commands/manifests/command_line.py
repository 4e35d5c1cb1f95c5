"""The options of `tools/gen-k8s-yaml.sh` as argparse knows them. Their meaning is checked in `options`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference import __version__
from elastic_inference.commands.manifests.settings import SETTINGS

_EXAMPLES = """examples:
  gen-k8s-yaml.sh -f kubernetes/elastic-inference.yaml.template -r registry.example.org/team
  gen-k8s-yaml.sh -f kubernetes/sample-infer/ -r registry.example.org/team
  gen-k8s-yaml.sh -r registry.example.org/team -t forklift -m /opt/ei/models/forklift/forklift.xml
  gen-k8s-yaml.sh -r registry.example.org/team -n gate-1 -c rtsp://user:password@192.0.2.10/1 -t people,face-fp32"""

_Option = tuple[tuple[str, ...], dict[str, Any]]


def _option(*names: str, **how: Any) -> _Option:
    return names, how


def _value(name: str, dest: str, metavar: str, meaning: str, default: str | None = None) -> _Option:
    return _option(name, dest=dest, metavar=metavar, help=meaning, default=default)


def _repeated(name: str, dest: str, metavar: str, meaning: str) -> _Option:
    return _option(name, dest=dest, metavar=metavar, help=meaning, action="append", default=[])


def _flag(name: str, meaning: str) -> _Option:
    return _option(name, action="store_true", help=meaning)


_GENERAL: Sequence[_Option] = (
    _value("-f", "template", "TEMPLATE", "a template, or a folder: all of its templates"),
    _value("-r", "registry", "REGISTRY", "where the images are (required)"),
    _value("-g", "tag", "TAG", "their tag (default: %(default)s)", __version__),
    _value(
        "--digests",
        "digests",
        "FILE",
        "pin every image by its digest: lines of image and digest, as build.sh leaves them in build/digests.txt",
    ),
    _value("-o", "output", "FILE", "write here (one template only), or into this folder"),
)
_GROUPS: Mapping[str, Sequence[_Option]] = {
    "your own type or camera": (
        _value("-t", "types", "TYPE[,TYPE]", "the type (with -m), or the types that a camera feeds"),
        _value("-m", "model", "MODEL", "its model: a catalogue name such as yolox-nano_FP32, or a path in the image"),
        _value(
            "-a", "autoscaler", "NAME", "a folder of kubernetes/scale/, or none (default: %(default)s)", "hpa-ratio"
        ),
        _value("-n", "name", "NAME", "a camera's name"),
        _value(
            "-c", "camera", "CAMERA", "its URL, the name of a Secret that holds it under the key url, or /dev/videoN"
        ),
        _value(
            "--camera-cidr",
            "camera_cidr",
            "CIDR",
            "the camera's network, for its network policy, if a Secret or a host name hides it (default: anywhere)",
        ),
        _value("--camera-port", "camera_port", "PORT", "its TCP port (default: the URL's, or any)"),
    ),
    "access": (
        _value("--existing-secret", "existing_secret", "NAME", "use this Secret instead of making one"),
        _flag("--secret-only", "write only the Secret"),
        _flag("--open-dashboard", "no token: for a trusted network only"),
        _repeated(
            "--site",
            "sites",
            "USER=TYPE[/NAME-]",
            "a login for a site's cameras: for all streams of a type, or for names that begin with NAME- (repeat it)",
        ),
        _repeated(
            "-P",
            "pod_cidrs",
            "CIDR",
            "the cluster's pod addresses: keeps other pods from the queue's node port (repeat for IPv6)",
        ),
    ),
    "hardware and Redis": (
        _value("-d", "device", "DEVICE", "CPU, GPU (i915), GPU:xe or NPU (default: %(default)s)", "CPU"),
        _value(
            "--redis-url",
            "redis_url",
            "URL",
            "an external Redis: redis://, rediss://, redis+sentinel://, redis+cluster:// (no password in it)",
        ),
        _value(
            "--broker-url",
            "broker_url",
            "URL",
            "a separate Redis for results, in the same forms as --redis-url (no password in it)",
        ),
        _value("--redis-ports", "redis_ports", "PORTS", "ports of an external queue (default: those of its URL)"),
        _value("--redis-tls", "redis_tls", "SECRET", "TLS for our Redis: a Secret with tls.crt, tls.key and ca.crt"),
        _value("--redis-ca", "redis_ca", "SECRET", "the Secret whose ca.crt signed an external Redis' certificate"),
        _value(
            "--models", "models", "FOLDER", "models in the image, or all (default: what build.sh left in build/models)"
        ),
        _value("--clips", "clips", "FOLDER", "the clips in the file stream image (default: build/videos)"),
        _repeated("--set", "settings", "NAME=VALUE", "one of " + ", ".join(sorted(SETTINGS))),
    ),
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options as they were typed, with their defaults. Ends the program for -h and for an unknown option."""
    parser = argparse.ArgumentParser(
        prog="gen-k8s-yaml.sh",
        description="Writes Kubernetes manifests from the templates in kubernetes/, next to them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for names, how in _GENERAL:
        parser.add_argument(*names, **how)
    for title, options in _GROUPS.items():
        group = parser.add_argument_group(title)
        for names, how in options:
            group.add_argument(*names, **how)
    return parser.parse_args(arguments)
