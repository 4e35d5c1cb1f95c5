"""What a camera or file is, and what the product would do with it: console command `ei-camera-probe`."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.adapters.source.camera import camera_label, open_camera
from elastic_inference.adapters.source.captured_frame import CapturedFrame, Source
from elastic_inference.adapters.source.file import FileSource
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder, mean_grey
from elastic_inference.base.config import CameraSettings, load
from elastic_inference.base.log import one_line
from elastic_inference.base.url import url_credentials
from elastic_inference.domain.errors import ElasticInferenceError, SourceError

EXIT_FAILED, EXIT_ARGUMENTS, EXIT_INTERRUPTED = 1, 2, 130
LIMIT_S = 60.0
# Below this mean grey level of 255 an image counts as black.
DARK = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """What was observed of a source. Times are in seconds; `brightness` is the first frame's mean grey level of 255."""

    facts: Mapping[str, str]
    open_s: float
    first_frame_s: float
    frames: int
    watched_s: float
    width: int
    height: int
    jpeg_bytes: int
    brightness: float
    passes_through: bool
    cpu_ms: float


def probe(source: Source, began: float, seconds: float) -> Finding:
    """Reads from an open source for `seconds`. Raises SourceError."""
    opened = time.monotonic()
    source.grab(_ignore)
    first = time.monotonic()
    encoder = JpegEncoder()
    captured = source.retrieve()
    data, width, height = encoder.encode(captured)
    brightness = mean_grey(data)
    used, frames = time.thread_time(), 1
    while time.monotonic() - first < seconds:
        source.grab(_ignore)
        _encode(encoder, source)
        frames += 1
    watched_s = time.monotonic() - first
    return Finding(
        facts=source.facts(),
        open_s=opened - began,
        first_frame_s=first - opened,
        frames=frames,
        watched_s=watched_s,
        width=width,
        height=height,
        jpeg_bytes=len(data),
        brightness=brightness,
        passes_through=captured.jpeg is not None,
        cpu_ms=(time.thread_time() - used) * 1000 / max(1, frames - 1),
    )


def report(finding: Finding, login: bool, cap_fps: float, is_file: bool = False) -> list[str]:
    """The finding in about ten lines; `cap_fps` is the maximum rate at which frames would be used."""
    lines = [f"{name}: {value}" for name, value in finding.facts.items() if name != "rate"]
    stated = finding.facts.get("rate")
    # A file is read at full speed, so its rate says nothing.
    measured = cap_fps if is_file else finding.frames / max(finding.watched_s, 0.001)
    parts = [] if is_file else [f"{measured:.3g} fps measured"]
    lines.append("rate: " + ", ".join(parts + ([f"{stated} stated"] if stated else [])))
    lines.append(f"login: {'accepted' if login else 'none was given, none was asked for'}")
    dark = ", almost black" if finding.brightness < DARK else ""
    lines.append(
        f"first frame: {finding.width}x{finding.height}, brightness {finding.brightness:.0f} of 255{dark}; "
        f"{finding.first_frame_s:.1f} s after opening, which took {finding.open_s:.1f} s"
    )
    how = "passed through as the camera made it" if finding.passes_through else "decoded and encoded as JPEG"
    lines.append(f"here: each frame is {how} ({finding.jpeg_bytes / 1000:.0f} kB)")
    used = min(measured, cap_fps)
    lines.append(
        f"cost: {finding.cpu_ms:.1f} ms of CPU per frame on this machine, {used * finding.cpu_ms / 10:.0f} % of a core "
        f"at {used:.3g} fps"
    )
    return lines


def _encode(encoder: JpegEncoder, source: Source) -> None:
    captured: CapturedFrame = source.retrieve()
    encoder.encode(captured)


def _ignore() -> None:
    """Ignores the data."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ei-camera-probe",
        description="Opens a camera or a video file, says what it is and what it costs, and shows no password.",
        epilog="A URL with a password is better given as CAMERA in the environment: arguments show in the list of "
        "processes. Settings such as CAMERA_TRANSPORT, CAMERA_FINGERPRINT and SOURCE_STALL_S apply.",
    )
    parser.add_argument("camera", nargs="?", help="a camera or a file (default: CAMERA from the environment)")
    parser.add_argument("-s", "--seconds", type=float, default=5.0, help="how long to watch (default: %(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Exit codes: 0, 1 if the source delivers no frame, 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
    camera = options.camera or os.environ.get("CAMERA", "")
    if not camera:
        sys.stderr.write("error: expected a camera's URL or a file (-h shows the options)\n")
        return EXIT_ARGUMENTS
    result: list[int] = []
    # A library may hang and cannot be interrupted; the command must still answer.
    thread = threading.Thread(target=lambda: result.append(_run(camera, options.seconds)), daemon=True)
    thread.start()
    try:
        thread.join(LIMIT_S + options.seconds)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if not result:
        sys.stderr.write(f"error: no answer within {LIMIT_S + options.seconds:.0f} s\n")
        return EXIT_FAILED
    return result[0]


def _run(camera: str, seconds: float) -> int:
    try:
        began = time.monotonic()
        is_file = "://" not in camera and Path(camera).is_file()
        if is_file:
            source, login, cap_fps = _open_file(Path(camera))
        else:
            settings = _settings(camera)
            print(camera_label(camera).removeprefix("The camera "))
            source, login, cap_fps = open_camera(settings), url_credentials(camera)[0] is not None, settings.camera_fps
        try:
            for line in report(probe(source, began, seconds), login, cap_fps, is_file):
                print(f"  {one_line(line)}")
        finally:
            source.close()
    except ElasticInferenceError as error:
        sys.stderr.write(f"error: {one_line(str(error))}\n")
        return EXIT_FAILED if isinstance(error, SourceError) else EXIT_ARGUMENTS
    return 0


def _open_file(path: Path) -> tuple[Source, bool, float]:
    print(path)
    source = FileSource(path)
    return source, False, source.fps


def _settings(camera: str) -> CameraSettings:
    return load(CameraSettings, {**os.environ, "CAMERA": camera})


if __name__ == "__main__":
    sys.exit(main())
