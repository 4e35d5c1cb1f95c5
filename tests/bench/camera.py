"""The CPU time per frame of one H.264 camera over RTSP, compared with another build or with OpenCV alone.

`python -m tests.bench.camera --against FOLDER` compares with the build in another checkout, which has its own `.venv`.
Without it, and in `python -m tests.bench --only producers`, a loop that reads with OpenCV and encodes is compared.
Rounds alternate; CPU time is that of the whole process, without its start.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import redis
import simplejpeg

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.bench.record import alternate, cpu_s, ratios, spread_of
from tests.support.rtsp_plain import rtsp_camera
from tests.support.system import REPOSITORY, ServiceProcess

FPS = 15
JPEG_QUALITY = 80
SIZES = ((1920, 1080, 4000), (1280, 720, 2000))  # kbit/s as cameras are set by default
# The bars: CPU time a frame over that of the build that read through OpenCV.
BARS = {1920: 0.85, 1280: 1.0}
SETTLE_S = 2.0


def clip_as_camera(clip: Path, width: int, height: int, kbits: int) -> bytes:
    """The clip as a camera would send it: raw H.264, BT.709, a key frame every two seconds, no B frames."""
    colours = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv"
    command = (
        f"-vf scale={width}:{height}:out_color_matrix=bt709,fps={FPS} -c:v libx264 -preset veryfast -bf 0 -g {2 * FPS}"
        f" -b:v {kbits}k -maxrate {kbits}k -bufsize {kbits}k -pix_fmt yuv420p {colours}"
        " -x264-params slices=1:repeat-headers=1 -f h264 -"
    )
    source = ["ffmpeg", "-v", "error", "-stream_loop", "1", "-i", str(clip), "-t", "20"]
    return subprocess.run([*source, *command.split()], capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout


def run(clip: Path, against: Path | None, rounds: int = 6, seconds: float = 10.0) -> Iterator[dict[str, Any]]:
    """Yields {size, ms, other_ms, ratio, spread} for each size: CPU milliseconds a frame, medians of the rounds."""
    for width, height, kbits in SIZES:
        stream = clip_as_camera(clip, width, height, kbits)
        with (
            tempfile.TemporaryDirectory(prefix="ei-bench-") as folder,
            EmbeddedValkey() as valkey,
            rtsp_camera(stream, FPS) as port,
        ):
            url = f"rtsp://127.0.0.1:{port}/stream"

            def service_ms(checkout: Path, url: str = url, valkey: Any = valkey, folder: str = folder) -> float:
                return _service_ms(checkout, url, valkey, Path(folder), seconds)

            def other_ms(url: str = url) -> float:
                return service_ms(against) if against else _opencv_ms(url, seconds)

            mine, other = alternate(rounds, lambda: service_ms(REPOSITORY), other_ms)
        found = ratios(mine, other)
        yield {
            "size": f"{width}x{height}",
            "ms": round(statistics.median(mine), 2),
            "other_ms": round(statistics.median(other), 2),
            "ratio": round(statistics.median(found), 3),
            "spread": round(spread_of(found), 3),
            "rounds": [round(each, 3) for each in found],
            "bar": BARS[width],
        }


def _service_ms(checkout: Path, url: str, valkey: EmbeddedValkey, folder: Path, seconds: float) -> float:
    """CPU milliseconds for each frame that the camera stream service of `checkout` pushes."""
    with redis.Redis(port=valkey.port) as client:
        for script in checkout.glob("apps/**/frame_queue/*.lua"):
            client.script_load(script.read_text())
    service = ServiceProcess(
        "camera",
        {"QUEUE_URL": valkey.url, "STREAM_NAME": "bench", "INFER_TYPE": "bench", "CAMERA": url, "CAMERA_FPS": "60"},
        folder,
        f"camera-{time.monotonic_ns()}",
        checkout,
    )
    service.start().wait_ready()
    try:
        assert service.process is not None
        time.sleep(SETTLE_S)
        used_s, frames = cpu_s(service.process.pid), service.metric("ei_frames_pushed_total")
        time.sleep(seconds)
        used_s = cpu_s(service.process.pid) - used_s
        frames = service.metric("ei_frames_pushed_total") - frames
    finally:
        service.terminate()
    return 1000 * used_s / frames


def _opencv_ms(url: str, seconds: float) -> float:
    """CPU milliseconds a frame of a process that only reads with OpenCV and encodes."""
    command = [sys.executable, "-m", "tests.bench.camera", "--opencv", url, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL, cwd=REPOSITORY)
    return float(done.stdout)


def _opencv(url: str, seconds: float) -> float:
    # One decoding thread: as cheap as OpenCV can be.
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp|threads;1"
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    settled = time.monotonic() + SETTLE_S
    began, frames = 0.0, 0
    while time.monotonic() < settled + seconds:
        found, pixels = capture.read()
        assert found, "the camera has ended its stream"
        if time.monotonic() < settled:
            began = time.process_time()
            continue
        simplejpeg.encode_jpeg(pixels, JPEG_QUALITY, colorspace="BGR", colorsubsampling="420")
        frames += 1
    return 1000 * (time.process_time() - began) / frames


def main() -> None:
    """Prints one JSON record per line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path, help="folder with car-detection.mp4 (default: shared/videos)")
    parser.add_argument("--against", type=Path, help="another checkout with its .venv (default: OpenCV alone)")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--opencv", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.opencv:
        print(_opencv(arguments.opencv, arguments.seconds))
        return
    videos = arguments.videos or Path(os.environ.get("EI_TEST_VIDEOS", REPOSITORY.parent / "shared" / "videos"))
    for record in run(videos / "car-detection.mp4", arguments.against, arguments.rounds, arguments.seconds):
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
