"""The CPU time per frame of one H.264 camera over RTSP, compared with another build or with OpenCV alone.

`python -m tests.bench.camera --against FOLDER` compares with the build in another checkout, which has its own `.venv`;
`EI_BENCH_AGAINST=FOLDER python -m tests.bench --only producers` does so too. Without a folder, the comparison is with a
process that only reads with OpenCV and encodes. Rounds alternate; CPU time is that of the whole process, without its
start.

Decoding costs the same in all of them, so the ratio depends on the video: the clip is encoded as cameras do it (CABAC,
deblocking), the test image as fast as x264 can.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import redis
import simplejpeg

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.bench.record import Context, Figure, LeftOut, alternate, cpu_s, median_figure, ratios
from tests.support.rtsp_plain import encode, rtsp_camera
from tests.support.system import REPOSITORY, ServiceProcess

CLIP = "car-detection.mp4"
FPS = 15
JPEG_QUALITY = 80
SETTLE_S = 2.0
SECONDS_OF_VIDEO = 10


class Case(NamedTuple):
    """One camera. `bar` is the highest allowed ratio to the CPU time per frame of the build with OpenCV."""

    content: str
    width: int
    height: int
    kbits: int
    bar: float

    @property
    def name(self) -> str:
        """Content and size."""
        return f"{self.content}, {self.width}x{self.height}"

    def stream(self, clip: Path) -> bytes:
        """Raw H.264 as the camera sends it, for a few seconds."""
        if self.content == "test image":
            return encode(SECONDS_OF_VIDEO, FPS, 2 * FPS, f"{self.width}x{self.height}")
        return clip_as_camera(clip, self.width, self.height, self.kbits)


# The rates are those to which cameras are set by default.
CASES = (
    *(Case("clip", 1920, 1080, 4000, 0.85), Case("clip", 1280, 720, 2000, 1.0)),
    *(Case("test image", 1920, 1080, 0, 0.85), Case("test image", 1280, 720, 0, 1.0)),
)


def clip_as_camera(clip: Path, width: int, height: int, kbits: int) -> bytes:
    """The clip as a camera would send it: raw H.264, BT.709, a key frame every two seconds, no B frames."""
    colours = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv"
    command = (
        f"-vf scale={width}:{height}:out_color_matrix=bt709,fps={FPS} -c:v libx264 -preset veryfast -bf 0 -g {2 * FPS}"
        f" -b:v {kbits}k -maxrate {kbits}k -bufsize {kbits}k -pix_fmt yuv420p {colours}"
        " -x264-params slices=1:repeat-headers=1 -f h264 -"
    )
    source = ["ffmpeg", "-v", "error", "-stream_loop", "1", "-i", str(clip), "-t", str(SECONDS_OF_VIDEO)]
    return subprocess.run([*source, *command.split()], capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout


def run(
    clip: Path, against: Path | None, rounds: int = 6, seconds: float = 10.0, cases: Sequence[Case] = CASES
) -> Iterator[tuple[Case, list[float], list[float]]]:
    """Yields each case with the CPU milliseconds per frame of this build and of the other, one of each per round."""
    for case in cases:
        with (
            tempfile.TemporaryDirectory(prefix="ei-bench-") as folder,
            EmbeddedValkey() as valkey,
            rtsp_camera(case.stream(clip), FPS) as port,
        ):
            url = f"rtsp://127.0.0.1:{port}/stream"
            service_ms = functools.partial(_service_ms, url=url, valkey=valkey, folder=Path(folder), seconds=seconds)
            other = functools.partial(_opencv_ms, url, seconds)
            if against is not None:
                other = functools.partial(service_ms, against)
            mine, others = alternate(rounds, functools.partial(service_ms, REPOSITORY), other)
        yield case, mine, others


def figures(context: Context) -> Iterator[Figure | LeftOut]:
    """The table's lines, as a part of `producers`."""
    if shutil.which("ffmpeg") is None:
        yield LeftOut("producers", "ffmpeg, which makes the camera's video, is missing")
        return
    against = Path(found) if (found := os.environ.get("EI_BENCH_AGAINST")) else None
    cases = CASES if against else CASES[:2]
    for case, mine, others in run(context.videos / CLIP, against, context.rounds(3), context.seconds(3.0), cases):
        yield _figure(case, mine, others, against)


def _figure(case: Case, mine: list[float], others: list[float], against: Path | None) -> Figure:
    beside = "the other build" if against else "OpenCV and encoding alone"
    return median_figure(
        "producers",
        f"RTSP, H.264, {case.name}: CPU per frame over {beside}",
        ratios(mine, others),
        maximum=case.bar if against else None,
        details={
            "ms": round(statistics.median(mine), 2),
            "other_ms": round(statistics.median(others), 2),
        },
    )


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
    """CPU milliseconds per frame of a process that only reads with OpenCV and encodes."""
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
    parser.add_argument("--videos", type=Path, help=f"folder with {CLIP} (default: shared/videos)")
    parser.add_argument("--against", type=Path, help="another checkout with its .venv (default: OpenCV alone)")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--opencv", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.opencv:
        print(_opencv(arguments.opencv, arguments.seconds))
        return
    videos = arguments.videos or Path(os.environ.get("EI_TEST_VIDEOS", REPOSITORY.parent / "shared" / "videos"))
    for case, mine, others in run(videos / CLIP, arguments.against, arguments.rounds, arguments.seconds):
        print(json.dumps(_figure(case, mine, others, arguments.against).as_json()), flush=True)


if __name__ == "__main__":
    main()
