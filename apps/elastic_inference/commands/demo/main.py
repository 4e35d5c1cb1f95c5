"""`ei-demo`: reads the options, fetches models and clips, runs the services, and reports the first results."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from elastic_inference.base import config
from elastic_inference.base.ports import DASHBOARD_PORT, QUEUE_PORT
from elastic_inference.base.settings.servers import WEBSOCKET_PORT
from elastic_inference.base.url import url_credentials
from elastic_inference.commands.demo import plan as plans
from elastic_inference.commands.demo.port_choice import PortChoice
from elastic_inference.commands.demo.sample_rules import RULES
from elastic_inference.commands.demo.supervisor import Supervisor, preload
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.errors import ElasticInferenceError, SettingError
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.result import Result, parse_result

DESCRIPTION = """\
Runs the whole suite on this machine: an embedded Valkey, inference services, streams of sample clips, the websocket
server and the gateway with its dashboard. Without options it detects faces and people in two sample clips,
and counts them in zones and at lines."""
EPILOG = """\
examples:
  ei-demo --video shop.mp4 --type people
  ei-demo --camera 0 --type face
  CAMERA=rtsp://user:password@camera/stream ei-demo --camera env --type people
  ei-demo --models-dir models --video cars.mp4 --type car-int8,car-fp32

--video, --camera and --type may be repeated; the n-th --type belongs to the n-th source, in the given order.
An address after --camera shows in the list of processes. If it holds a password, put it into the variable CAMERA and
use --camera env."""


class _Source(argparse.Action):
    """Keeps --video, --camera and --type in the given order."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Adds a source, or a type to the first source without one."""
        sources: list[list[str]] = getattr(namespace, "sources", None) or []
        text = str(values)
        if self.dest == "type":
            for source in sources:
                if source[2] == "":
                    source[2] = text
                    break
            else:
                parser.error(f"--type {text}: expected a --video or --camera before it")
        else:
            sources.append([self.dest, text, ""])
        namespace.sources = sources


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        "ei-demo", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", action=_Source, metavar="FILE", help="a video file, streamed in a loop")
    parser.add_argument(
        "--camera",
        action=_Source,
        metavar="CAMERA",
        help="0, /dev/video0, rtsp://… or another URL of a camera, or env for the address in CAMERA",
    )
    parser.add_argument("--type", action=_Source, metavar="TYPE", help="inference types of its source (people)")
    parser.add_argument(
        "--models-dir", type=Path, default=Path("models"), metavar="DIR", help="folder of models (%(default)s)"
    )
    parser.add_argument(
        "--videos-dir", type=Path, default=Path("videos"), metavar="DIR", help="folder of sample clips (%(default)s)"
    )
    parser.add_argument("--port", type=_port, metavar="PORT", help=f"port of the dashboard ({DASHBOARD_PORT})")
    parser.add_argument("--queue-port", type=_port, metavar="PORT", help=f"port of the frame queue ({QUEUE_PORT})")
    parser.add_argument(
        "--host",
        default=plans.LOOPBACK,
        help="address that the dashboard listens on; 0.0.0.0 opens it to the network (%(default)s)",
    )
    parser.set_defaults(sources=[])
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a port from 1 to 65535")
    return int(text)


def make_plan(options: argparse.Namespace, ports: PortChoice) -> plans.Plan:
    """The plan for these options, with ports of `ports`. Fetches the models and clips that it needs.

    Raises ElasticInferenceError.
    """
    from elastic_inference.adapters.catalogue.download_models import fetch_embedded  # noqa: PLC0415  slow to import
    from elastic_inference.adapters.catalogue.download_videos import fetch_clips  # noqa: PLC0415

    rules: dict[str, CameraRules] = {}
    sources = [
        [kind, camera_address(text), types] if kind == "camera" else [kind, text, types]
        for kind, text, types in options.sources
    ]
    models_dir = options.models_dir.resolve()
    fetch_embedded(models_dir)
    if not sources:
        clips = fetch_clips(options.videos_dir.resolve())
        sources = [["video", str(clips["bikes"]), "people"], ["video", str(clips["carphone_pristine"]), "face"]]
        rules = {str(clips[name]): own for name, own in RULES.items()}
    streams: list[plans.DemoStream] = []
    for kind, source, types in sources:
        if kind == "video" and not Path(source).is_file():
            raise ElasticInferenceError(f"--video {source}: there is no such file.")
        names = tuple(part.strip() for part in (types or "people").split(",") if part.strip())
        for name in names:
            if not keys.is_name(name):
                raise ElasticInferenceError(f"--type {name[:60]!r}: {keys.NAME_RULE}.")
        where = str(Path(source).resolve()) if kind == "video" else source
        name = plans.stream_name(source, [stream.name for stream in streams])
        streams.append(plans.DemoStream(where, names, name, kind == "camera", rules.get(source, CameraRules())))
    max_frame_bytes = config.read(config.QueueRules, os.environ).max_frame_bytes
    state_dir = plans.default_state_dir()
    try:
        state_dir.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ElasticInferenceError(
            f"Cannot create the folder {state_dir} ({error.strerror}): run the demo from a writable folder."
        ) from None
    return plans.Plan(
        streams=tuple(streams),
        models_dir=models_dir,
        state_dir=state_dir,
        host=options.host,
        gateway_port=ports.choose(options.port, DASHBOARD_PORT, options.host, "--port"),
        queue_port=ports.choose(options.queue_port, QUEUE_PORT, plans.LOOPBACK, "--queue-port"),
        websocket_port=ports.choose(None, WEBSOCKET_PORT, plans.LOOPBACK, ""),
        max_frame_bytes=max_frame_bytes,
    )


def camera_address(text: str) -> str:
    """The address after --camera, or in CAMERA for `env`. Raises SettingError if it is invalid."""
    if text == "env" and not os.environ.get("CAMERA", "").strip():
        raise SettingError("--camera", text, "expected the camera's address in the environment: CAMERA=rtsp://…")
    try:
        return config.load(config.CameraSettings, {"CAMERA": os.environ["CAMERA"] if text == "env" else text}).camera
    except SettingError as error:
        raise SettingError("CAMERA" if text == "env" else "--camera", error.value, error.expected) from None


def write_state(plan: plans.Plan) -> None:
    """Writes the ports for `ei-status`, in one step, since it may read them at any time."""
    state = plans.state_file(plan.state_dir)
    new = state.with_suffix(".new")
    document = {
        "pid": os.getpid(),
        "gateway": plan.address,
        "queue_port": plan.queue_port,
        "websocket_port": plan.websocket_port,
        "types": plan.infer_types,
    }
    try:
        new.write_text(json.dumps(document))
        new.replace(state)
    except OSError as error:
        raise ElasticInferenceError(f"Cannot write the file {state}: {error.strerror}.") from None


def check_videos(plan: plans.Plan) -> None:
    """Raises ElasticInferenceError if a file is not a video: the pool would retry it for ever."""
    from elastic_inference.adapters.source.file import FileSource  # noqa: PLC0415  slow to import

    for stream in plan.streams:
        if not stream.is_camera:
            FileSource(Path(stream.source)).close()


def write_cameras(plan: plans.Plan) -> None:
    """Writes the pool's cameras. Those that were added to an earlier demo in this folder stay.

    Raises ElasticInferenceError if the file of that demo can't be read.
    """
    from elastic_inference.adapters.camera_registry.camera_file import CameraFileError, parse, render  # noqa: PLC0415

    file = plans.cameras_file(plan.state_dir)
    before: dict[str, CameraSpec] = {}
    try:
        before = parse(file.read_bytes())
    except FileNotFoundError:
        pass
    except CameraFileError as error:
        # Writing it would remove what a user has added.
        raise ElasticInferenceError(f"{file}: {error}. Correct the file, or remove it and the cameras in it.") from None
    except OSError as error:
        raise ElasticInferenceError(f"Cannot read the file {file}: {error.strerror}.") from None
    try:
        file.touch(mode=0o600)
        file.write_bytes(render(plans.demo_cameras(plan, before)))
    except OSError as error:
        raise ElasticInferenceError(f"Cannot write the file {file}: {error.strerror}.") from None


class FirstResults:
    """Looks for the first result of each type and reports it once."""

    def __init__(self, plan: plans.Plan, supervisor: Supervisor) -> None:
        self._plan = plan
        self._supervisor = supervisor
        self._started = time.monotonic()
        self._next = 0.0
        self._told: set[str] = set()
        # The next attempt is in half a second. The library's own ten would hold up the supervisor, Ctrl-C included.
        self._client = redis.Redis(
            port=plan.queue_port, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
        )

    def __call__(self) -> None:
        """Asks Redis twice per second until every type has a result. May be called more often."""
        now = time.monotonic()
        if now < self._next or len(self._told) == len(self._plan.infer_types):
            return
        self._next = now + 0.5
        for kind in self._plan.infer_types:
            if kind in self._told:
                continue
            result = self._newest(kind)
            if result is None:
                continue
            if not self._told:
                print(
                    f"\n  First result after {now - self._started:.1f} s. Open {self._plan.address} in a browser;",
                    flush=True,
                )
                print("  Ctrl-C stops everything.\n", flush=True)
            self._told.add(kind)
            found = ", ".join(sorted({each.label for each in result.detections})) or "no detections in this frame"
            self._supervisor.say("demo", f"{kind}: results by {result.model} ({found})")

    def _newest(self, kind: str) -> Result | None:
        try:
            entries = self._client.xrevrange(keys.results(kind), count=1)
        except (redis.RedisError, OSError):
            return None  # not started yet, or restarting: the next attempt is in half a second
        for _identifier, fields in entries or ():
            if fields:
                return parse_result(next(iter(fields.values())))
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo until Ctrl-C. Returns the exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    preload()
    with contextlib.closing(PortChoice()) as ports:
        return run(options, ports)


def run(options: argparse.Namespace, ports: PortChoice) -> int:
    """Runs the demo with these options. Returns the exit code."""
    try:
        plan = make_plan(options, ports)
        supervisor = Supervisor(plans.children(plan))
        check_videos(plan)
        write_cameras(plan)
        write_state(plan)
    except KeyboardInterrupt:
        return 130
    except ElasticInferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingError) else 1
    if any(kind == "camera" and url_credentials(text)[1] for kind, text, _ in options.sources):
        print("warning: the camera's password shows in the list of processes; use --camera env instead (-h).")
    if options.port is None and plan.gateway_port != DASHBOARD_PORT:
        print(f"Port {DASHBOARD_PORT} is in use: the dashboard is on port {plan.gateway_port}.")
    names = ", ".join(f"{stream.name} → {' '.join(stream.infer_types)}" for stream in plan.streams)
    supervisor.say("demo", f"streams: {names}; queue at {plans.LOOPBACK}:{plan.queue_port}")
    supervisor.say("demo", f"add cameras at {plan.address}/cameras, or in {plans.cameras_file(plan.state_dir)}")
    try:
        code = supervisor.run(FirstResults(plan, supervisor))
    finally:
        plans.state_file(plan.state_dir).unlink(missing_ok=True)
    if supervisor.failure:
        print(f"error: {supervisor.failure}", file=sys.stderr)
    else:
        print("demo: stopped")
    return code


if __name__ == "__main__":
    sys.exit(main())
