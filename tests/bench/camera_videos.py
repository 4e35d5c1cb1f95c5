"""The video that the cameras of `cameras` send: encoded once, kept in `build/`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.bench.camera import FPS, clip_as_camera
from tests.support.system import REPOSITORY

SLOW_FPS = 5
# Width, height and the rate that cameras are set to by default, in kbit/s.
SIZES = {"1080p": (1920, 1080, 4000), "720p": (1280, 720, 2000)}
_SECONDS = 10
# Nothing moves but the sensor's noise.
_NOISE = "noise=alls=5:allf=t"
_QUANTIZER = 26


def videos(clip: Path) -> dict[str, tuple[bytes, float]]:
    """Raw H.264 and its frames a second, by `<size>-moving`, `-quiet` and `-slow`, which is moving at a low rate."""
    found: dict[str, tuple[bytes, float]] = {}
    for size, (width, height, kbits) in SIZES.items():
        moving = kept(f"{size}-moving", lambda w=width, h=height, k=kbits: clip_as_camera(clip, w, h, k))
        found[f"{size}-moving"] = moving, FPS
        found[f"{size}-slow"] = moving, SLOW_FPS
        found[f"{size}-quiet"] = kept(f"{size}-quiet", lambda w=width, h=height: _quiet(clip, w, h)), FPS
    return found


def _quiet(clip: Path, width: int, height: int) -> bytes:
    """One frame of the clip with noise, as a camera with a constant quality sends it."""
    filters = f"loop=loop=-1:size=1:start=0,scale={width}:{height}:out_color_matrix=bt709,{_NOISE}"
    command = (
        f"ffmpeg -v error -framerate {FPS} -f image2pipe -c:v png -i - -t {_SECONDS} -vf {filters} -c:v libx264"
        f" -preset veryfast -bf 0 -g {2 * FPS} -sc_threshold 0 -qp {_QUANTIZER} -pix_fmt yuv420p -colorspace bt709"
        " -color_primaries bt709 -color_trc bt709 -color_range tv -x264-params slices=1:repeat-headers=1 -f h264 -"
    )
    still = ["ffmpeg", "-v", "error", "-ss", "3", "-i", str(clip), "-frames:v", "1", "-c:v", "png", "-f", "image2pipe"]
    image = subprocess.run([*still, "-"], capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    return subprocess.run(command.split(), input=image, capture_output=True, check=True).stdout


def kept(name: str, encode: Callable[[], bytes]) -> bytes:
    """What `encode` made, now or in an earlier run."""
    path = REPOSITORY / "build" / "bench-cameras" / f"{name}.h264"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(encode())
        part.rename(path)
    return path.read_bytes()
