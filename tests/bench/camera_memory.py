"""Memory and CPU of each further camera of a source worker, with B frames: RTSP, H.264, 15 fps, full size.

`python -m tests.bench.camera_memory` prints both; it needs `ffmpeg` and GStreamer's RTSP server, and two minutes. With
B frames a decoder keeps more pictures than in the other parts of the benchmark. `cameras` has the bars.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.bench.camera import CLIP, FPS
from tests.bench.camera_videos import SIZES, kept
from tests.bench.record import cpu_s, pss_mb
from tests.support.camera_pool import CameraPool, processes_of
from tests.support.ports import free_port
from tests.support.rtsp_cameras import RtspCameras
from tests.support.system import REPOSITORY
from tests.support.waiting import wait_for

FEW, MANY = 1, 6
SETTLE_S = 8.0
MEASURE_S = 8.0


class Found(NamedTuple):
    """MB of 1e6 bytes (PSS) for one more camera, and CPU milliseconds of all of a worker's processes for a frame."""

    size: str
    memory_mb: float
    frame_ms: float


def with_b_frames(clip: Path, size: str) -> bytes:
    """Raw H.264: three B frames between two others, which refer to four pictures."""
    width, height, kbits = SIZES[size]
    command = (
        f"ffmpeg -v error -stream_loop 1 -i {clip} -t 10 -vf scale={width}:{height}:out_color_matrix=bt709,fps={FPS}"
        f" -c:v libx264 -preset veryfast -g {2 * FPS} -b:v {kbits}k -maxrate {kbits}k -bufsize {kbits}k"
        " -pix_fmt yuv420p -x264-params slices=1:repeat-headers=1:bframes=3:b-adapt=0:b-pyramid=normal:ref=4 -f h264 -"
    )
    return subprocess.run(command.split(), capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout


def measure(videos: Path, sizes: Sequence[str] = tuple(SIZES)) -> list[Found]:
    """Measures each size with one worker that has one camera process."""
    clip = videos / CLIP
    served = {
        size: (kept(f"{size}-b-frames", lambda size=size: with_b_frames(clip, size)), float(FPS))  # type: ignore[misc]
        for size in sizes
    }
    with (
        tempfile.TemporaryDirectory(prefix="ei-bench-") as folder,
        EmbeddedValkey() as valkey,
        RtspCameras(free_port(), Path(folder), served, MANY) as cameras,
    ):
        return [_one(size, valkey, Path(folder), cameras) for size in sizes]


def _one(size: str, valkey: EmbeddedValkey, folder: Path, cameras: RtspCameras) -> Found:
    with CameraPool(valkey, folder, {"CAMERA_PROCESSES": "1"}) as pool:
        worker = pool.worker().wait_ready()

        def add(numbers: range) -> float:
            """Adds cameras; returns the memory once they have run for a while."""
            for number in numbers:
                pool.put(f"{size}-{number}", cameras.url(size, number), fps=60, size="source")
            wait_for(lambda: worker.metric("ei_source_up") == numbers.stop, 60, "live cameras", 0.2)
            time.sleep(SETTLE_S)
            return sum(map(pss_mb, processes_of(worker)))

        few = add(range(FEW))
        memory_mb = (add(range(FEW, MANY)) - few) / (MANY - FEW)
        pids = processes_of(worker)
        pushed, used = worker.metric("ei_frames_pushed_total"), sum(map(cpu_s, pids))
        time.sleep(MEASURE_S)
        frames = worker.metric("ei_frames_pushed_total") - pushed
        frame_ms = 1000 * (sum(map(cpu_s, pids)) - used) / frames
        worker.terminate()
        for number in range(MANY):
            pool.remove(f"{size}-{number}")
    return Found(size, round(memory_mb, 1), round(frame_ms, 2))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what it has measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.camera_memory", description=__doc__)
    parser.add_argument("--videos", type=Path, default=REPOSITORY.parent / "shared" / "videos", help=f"where {CLIP} is")
    for found in measure(parser.parse_args(arguments).videos):
        print(f"{found.size}: {found.memory_mb} MB for one more camera, {found.frame_ms} ms of CPU for a frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())
