"""Probes a camera or file, and says how the services would use it: console command `ei-camera-probe`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from elastic_inference.adapters.source.probe import DARK, probe_file, probe_settings
from elastic_inference.base.config import CameraSettings, load
from elastic_inference.base.log import one_line
from elastic_inference.base.url import hide_password
from elastic_inference.domain.errors import ElasticInferenceError, SourceError
from elastic_inference.domain.probe_report import ProbeReport

EXIT_FAILED, EXIT_ARGUMENTS, EXIT_INTERRUPTED = 1, 2, 130
LIMIT_S = 60.0


def lines(found: ProbeReport) -> list[str]:
    """The report in about ten lines."""
    pixels = ", ".join(each for each in (found.pixel_format, found.colours) if each)
    interlaced = None if found.interlaced is None else ("yes, deinterlaced here" if found.interlaced else "no")
    rates = ((found.fps, "measured"), (found.stated_fps, "stated"))
    dark = ", almost black" if found.brightness < DARK else ""
    how = "passed through as the camera made it" if found.passes_through else "decoded and encoded as JPEG"
    facts = {
        "transport": found.transport,
        "container": found.container,
        "codec": found.codec,
        "profile": found.profile,
        "size": f"{found.width}x{found.height}",
        "pixel format": pixels,
        "key frames": None if found.key_frame_s is None else f"{found.key_frame_s:.2g} s apart",
        "interlaced": interlaced,
        "rate": ", ".join(f"{rate:.3g} fps {kind}" for rate, kind in rates if rate is not None),
        "login": "accepted" if found.login else "none was given, none was asked for",
        "first frame": f"{found.width}x{found.height}, brightness {found.brightness:.0f} of 255{dark}; "
        f"{found.first_frame_s:.1f} s after opening, which took {found.open_s:.1f} s",
        "here": f"each frame is {how} ({found.jpeg_bytes / 1000:.0f} kB)",
        "cost": f"{found.cpu_ms:.1f} ms of CPU per frame on this machine, {100 * found.core_share:.0f} % of a core "
        f"at {found.used_fps:.3g} fps",
    }
    return [f"{name}: {value}" for name, value in facts.items() if value] + [f"note: {note}" for note in found.warnings]


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


def _file(camera: str) -> Path | None:
    """The path of the file, given as such or as file://…; None for a camera."""
    scheme, separator, rest = camera.partition("://")
    if separator:
        return Path(unquote(rest)) if scheme.lower() == "file" else None
    is_camera = camera.isdigit() or camera.startswith("/dev/")
    return None if is_camera else Path(camera)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Exit codes: 0, 1 if the source delivers no frame, 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
    camera = options.camera or os.environ.get("CAMERA", "")
    if not camera:
        sys.stderr.write("error: expected a camera's URL or a file (-h shows the options)\n")
        return EXIT_ARGUMENTS
    limit_s = LIMIT_S + options.seconds
    try:
        if (file := _file(camera)) is not None:
            print(file)
            found = probe_file(file, options.seconds, limit_s)
        else:
            settings = load(CameraSettings, {**os.environ, "CAMERA": camera})
            print(hide_password(camera))
            found = probe_settings(settings, options.seconds, limit_s)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except ElasticInferenceError as error:
        sys.stderr.write(f"error: {one_line(str(error))}\n")
        return EXIT_FAILED if isinstance(error, SourceError) else EXIT_ARGUMENTS
    for line in lines(found):
        print(f"  {one_line(line)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
