"""The steps of one camera's frames, each alone: CPU milliseconds of one thread for a frame of H.264 at 1080p.

`python -m tests.bench.camera_parts` prints the median of three rounds of each part. Nothing else runs between two
frames, so the caches are warmer than in a service.
"""

from __future__ import annotations

import io
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import av
import simplejpeg

from elastic_inference.adapters.source.encoder_planes import JpegPlanes
from tests.bench.camera import CASES, CLIP, FPS, JPEG_QUALITY
from tests.support.rtsp_plain import rtsp_camera
from tests.support.system import REPOSITORY

ROUNDS = 3
FRAMES = 20
READ_FRAMES = 75
FULL, SMALL = (1920, 1080), (534, 300)
SMALL_QUALITY = 90


def parts(stream: bytes) -> dict[str, float]:
    """Each part of one round."""
    found: dict[str, float] = {}
    images = _decode(stream, found)
    for name, size, quality in (("full size", FULL, JPEG_QUALITY), ("534x300", SMALL, SMALL_QUALITY)):
        planes = JpegPlanes()
        converted = planes.planes(images[0], size)
        found[f"colours, {name}"] = _ms(lambda at, p=planes, s=size: p.planes(images[at], s))
        found[f"JPEG, {name}"] = _ms(lambda _, c=converted, q=quality: simplejpeg.encode_jpeg_yuv_planes(*c, q))
    found["read from RTSP, not decoded"] = _read(stream)
    return found


def _decode(stream: bytes, found: dict[str, float]) -> list[av.VideoFrame]:
    kept: list[av.VideoFrame] = []
    with av.open(io.BytesIO(stream), format="h264") as opened:
        video = opened.streams.video[0]
        video.codec_context.thread_count = 1
        spent_s, frames = 0.0, 0
        for packet in opened.demux(video):
            began = time.thread_time()
            images = video.codec_context.decode(packet)
            spent_s += time.thread_time() - began
            frames += len(images)
            kept += images[: FRAMES - len(kept)]
    found["decode"] = 1000 * spent_s / frames
    return kept


def _ms(step: Callable[[int], object]) -> float:
    began = time.thread_time()
    for at in range(FRAMES):
        step(at)
    return 1000 * (time.thread_time() - began) / FRAMES


def _read(stream: bytes) -> float:
    with rtsp_camera(stream, FPS) as port:
        url = f"rtsp://127.0.0.1:{port}/stream"
        with av.open(url, options={"rtsp_transport": "tcp", "fflags": "nobuffer"}, timeout=(20.0, 10.0)) as opened:
            packets = opened.demux(opened.streams.video[0])
            for _ in range(FPS):
                next(packets)
            began = time.thread_time()
            for _ in range(READ_FRAMES):
                next(packets)
            return 1000 * (time.thread_time() - began) / READ_FRAMES


def main() -> None:
    """Prints a line for each part."""
    videos = Path(os.environ.get("EI_TEST_VIDEOS", REPOSITORY.parent / "shared" / "videos"))
    stream = CASES[0].stream(videos / CLIP)
    rounds = [parts(stream) for _ in range(ROUNDS)]
    for name in rounds[0]:
        print(f"{name:30} {statistics.median(each[name] for each in rounds):6.2f} ms")


if __name__ == "__main__":
    main()
