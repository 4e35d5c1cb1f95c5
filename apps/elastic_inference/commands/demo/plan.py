"""From the demo's options to its processes. Pure, except that it looks at files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from elastic_inference.base import config
from elastic_inference.base.redis_server import as_arguments, server_settings
from elastic_inference.commands.demo.supervisor import ServiceProcess
from elastic_inference.commands.embedded_valkey import MALLOC_ENVIRONMENT, server_binary, version_arguments
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_BYTES

LOOPBACK = "127.0.0.1"
# Settings of cameras that the user may set for the demo, too.
_OF_THE_USER = ("camera_fps", "camera_networks", "camera_processes")
# The maximum: a clip keeps its own rate.
_VIDEO_FPS = 60
# Marks the cameras that come from the demo's options.
_OWN = {"made-by": "ei-demo"}


@dataclass(frozen=True)
class DemoStream:
    """One stream of the demo: a file or a camera, and the types that get its frames."""

    source: str
    infer_types: tuple[str, ...]
    name: str
    is_camera: bool = False
    rules: CameraRules = field(default_factory=CameraRules)


@dataclass(frozen=True)
class Plan:
    """Everything the demo needs to know before it starts."""

    streams: tuple[DemoStream, ...]
    models_dir: Path
    state_dir: Path
    host: str
    gateway_port: int
    queue_port: int
    websocket_port: int
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def infer_types(self) -> tuple[str, ...]:
        """All types that the streams feed, each once."""
        return tuple(dict.fromkeys(kind for stream in self.streams for kind in stream.infer_types))

    @property
    def address(self) -> str:
        """The dashboard's address."""
        host = "localhost" if self.host in (LOOPBACK, "0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.gateway_port}"


def stream_name(source: str, taken: Sequence[str]) -> str:
    """A stream's name from its source: the file's stem or the camera's host, with a number if it is in use."""
    if "://" in source:
        try:
            base = urlsplit(source).hostname or ""
        except ValueError:
            base = ""
    else:
        base = f"camera-{source}" if source.isdigit() else Path(source).stem
    name = keys.clean_name(base[:100]) or "stream"
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}-{number}", number + 1
    return candidate


def decided_by_the_demo() -> list[str]:
    """Variables that the demo sets or clears: addresses, logins, models and names, and their former names.

    The shell's values for these belong to another system. The user's thresholds, quality, gateway token and log
    settings are kept.
    """
    owners: dict[type[config.CommonSettings], tuple[str, ...]] = {
        config.CommonSettings: ("queue_", "broker_", "metrics_host", "metrics_port"),
        config.CameraSettings: ("camera", "infer_type", "stream_name"),
        config.FileSettings: ("video_file",),
        config.InferenceSettings: ("infer_model_",),
        config.WebsocketSettings: ("websocket_",),
        config.GatewaySettings: ("gateway_host", "gateway_port", "gateway_tls_", "websocket_", "dashboard_dir"),
    }
    names = {
        name.upper()
        for settings, prefixes in owners.items()
        for name in config.settings_of(settings)
        if name.startswith(prefixes) and name not in config.settings_of(config.QueueRules) and name not in _OF_THE_USER
    }
    former = {*config.FORMER_NAMES, *config.FORMER_WEBSOCKET_NAMES}
    return sorted(names | former)


def children(plan: Plan) -> list[ServiceProcess]:
    """The processes of a plan, Redis first. Group 0 (producers) stops first, group 3 (Redis) last."""
    decided = dict.fromkeys(decided_by_the_demo(), "")
    common = {
        **decided,
        "QUEUE_HOST": LOOPBACK,
        "QUEUE_PORT": str(plan.queue_port),
        "METRICS_HOST": LOOPBACK,
        "METRICS_PORT": "0",
        **plan.environ,
    }
    pods = [
        ServiceProcess(
            f"infer {kind}",
            _service("ei-inference-service"),
            {**common, "INFER_TYPE": kind, "INFER_MODEL_PATH": str(plan.models_dir)},
            group=1,
        )
        for kind in plan.infer_types
    ]
    cameras = [_camera(stream, common) for stream in plan.streams if stream.is_camera]
    relay = ServiceProcess(
        "websocket",
        _service("ei-websocket-server"),
        {**common, "WEBSOCKET_HOST": LOOPBACK, "WEBSOCKET_PORT": str(plan.websocket_port)},
        group=2,
    )
    gateway = ServiceProcess(
        "gateway",
        _service("ei-gateway-server"),
        {
            **common,
            "GATEWAY_HOST": plan.host,
            "GATEWAY_PORT": str(plan.gateway_port),
            "WEBSOCKET_SERVER_URL": f"ws://{LOOPBACK}:{plan.websocket_port}",
        },
        group=2,
    )
    housekeeping = ServiceProcess(
        "housekeeping",
        _service("ei-housekeeping-service"),
        {**common, "CAMERAS_FILE": str(cameras_file(plan.state_dir))},
        group=2,
    )
    events = ServiceProcess("events", _service("ei-event-service"), common, group=2)
    pool = ServiceProcess(
        "camera pool",
        _service("ei-camera-stream-service"),
        {**common, "CAMERA_POOL": "true", "VIDEO_DIR": str(_video_dir(plan))},
        group=0,
    )
    return [_redis(plan, decided), relay, gateway, housekeeping, events, *pods, pool, *cameras]


def _service(command: str) -> tuple[str, ...]:
    return (sys.executable, str(Path(sys.executable).with_name(command)))


def _redis(plan: Plan, decided: dict[str, str]) -> ServiceProcess:
    return ServiceProcess(
        "redis",
        (
            server_binary(),
            *("--port", str(plan.queue_port), "--bind", LOOPBACK, "--protected-mode", "no"),
            *as_arguments(server_settings("512mb", plan.max_frame_bytes)),
            *version_arguments(),
            *("--dir", str(plan.state_dir), "--logfile", "", "--loglevel", "warning"),
        ),
        {**decided, **MALLOC_ENVIRONMENT},
        group=3,
    )


def _camera(stream: DemoStream, common: dict[str, str]) -> ServiceProcess:
    """A camera attached to this machine: the pool runs only cameras that every worker can reach."""
    return ServiceProcess(
        f"camera {stream.name}",
        _service("ei-camera-stream-service"),
        {
            **common,
            "INFER_TYPE": ",".join(stream.infer_types),
            "STREAM_NAME": stream.name,
            "CAMERA": stream.source,
        },
        group=0,
    )


def _video_dir(plan: Plan) -> Path:
    """The folder below which all videos are; the pool opens no other file."""
    folders = [str(Path(stream.source).parent) for stream in plan.streams if not stream.is_camera]
    return Path(os.path.commonpath(folders)) if folders else plan.state_dir


def demo_cameras(plan: Plan, before: Mapping[str, CameraSpec]) -> dict[str, CameraSpec]:
    """The cameras of the pool: the demo's videos, and those that users added to an earlier demo (`before`).

    A video keeps the zones and lines that somebody has drawn in an earlier demo.
    """
    videos = {stream.name: _video(stream, before.get(stream.name)) for stream in plan.streams if not stream.is_camera}
    return {name: spec for name, spec in before.items() if spec.labels != _OWN} | videos


def _video(stream: DemoStream, before: CameraSpec | None) -> CameraSpec:
    url = Path(stream.source).as_uri()
    rules = stream.rules
    if before is not None and before.url == url and (before.zones or before.lines):
        rules = before.rules
    return CameraSpec.model_validate(
        {
            "name": stream.name,
            "url": url,
            "types": stream.infer_types,
            "fps": _VIDEO_FPS,
            "labels": _OWN,
            "zones": rules.zones,
            "lines": rules.lines,
        }
    )


def cameras_file(state_dir: Path) -> Path:
    """The file with the cameras of a demo's pool."""
    return state_dir / "cameras.yaml"


def state_file(state_dir: Path) -> Path:
    """The file in which a running demo lists its ports."""
    return state_dir / "demo.json"


def default_state_dir() -> Path:
    """`.demo` under the working directory."""
    return Path(os.getcwd()) / ".demo"
