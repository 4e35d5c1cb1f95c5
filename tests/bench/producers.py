"""The cost of the stream services: fps per core, divided by that of decoding and encoding alone.

`python -m tests.bench --only producers` runs it; alone: `python -m tests.bench.producers -h`. Fps per core
are frames pushed divided by the CPU time of the service's process, which other load on the machine hardly changes. The
bare loop only decodes with OpenCV and encodes with simplejpeg: once at the same pace, since caches are cold after a
sleep between frames, and once as fast as it can.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import redis
import simplejpeg

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.base import config
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.bench import camera
from tests.bench.record import Context, Figure, LeftOut, cpu_s
from tests.support.mjpeg_server import MjpegServer
from tests.support.system import ServiceProcess

CLIP = "car-detection.mp4"
FPS = 60.0
JPEG_QUALITY = 80


def run(videos: Path, rounds: int = 3, seconds: float = 5.0) -> list[dict[str, Any]]:
    """Records {name, fps_per_core, bare_fps_per_core, ratio, spread, over_unpaced}: medians of alternating rounds.

    `ratio` compares with the bare loop at the same pace, `over_unpaced` with the bare loop that never sleeps.
    """
    records = []
    keep_freed_memory()  # as the services do
    with tempfile.TemporaryDirectory(prefix="ei-bench-") as folder, EmbeddedValkey() as valkey:
        small = videos / CLIP
        large = _enlarged(small, Path(folder) / "large.mp4")
        for name, clip in (("file, 768x432", small), ("file, 1280x720", large)):
            environ = {"VIDEO_FILE": str(clip), "VIDEO_FPS": str(FPS)}
            pairs = [
                (
                    _service("file", environ, valkey, Path(folder), seconds),
                    _bare(clip, seconds / 2, FPS),
                    _bare(clip, seconds / 2, 0),
                )
                for _ in range(rounds)
            ]
            records.append(_record(name, pairs))
        with MjpegServer(fps=FPS, image=_first_jpeg(large)) as server:
            environ = {"CAMERA": server.url, "CAMERA_FPS": "240"}
            pairs = [
                (
                    _service("camera", environ, valkey, Path(folder), seconds),
                    _bare_again(large, seconds / 2, FPS),
                    _bare_again(large, seconds / 2, 0),
                )
                for _ in range(rounds)
            ]
            records.append(_record("MJPEG passed through, 1280x720, over decoding and encoding it", pairs))
    return records


def _record(name: str, rounds: list[tuple[float, float, float]]) -> dict[str, Any]:
    ratios = sorted(service / bare for service, bare, _ in rounds)
    return {
        "name": name,
        "fps_per_core": round(statistics.median(service for service, _, _ in rounds), 1),
        "bare_fps_per_core": round(statistics.median(bare for _, bare, _ in rounds), 1),
        "ratio": round(statistics.median(ratios), 3),
        "spread": round(ratios[-1] - ratios[0], 3),
        "over_unpaced": round(statistics.median(service / unpaced for service, _, unpaced in rounds), 3),
    }


def _service(kind: str, environ: Mapping[str, str], valkey: EmbeddedValkey, folder: Path, seconds: float) -> float:
    """Frames pushed per second of the process's CPU time, without its start."""
    with redis.Redis(port=valkey.port) as client:
        QueueConsumer(client, "bench", "pod-1", config.QueueRules()).load_scripts()
    settings = {"QUEUE_URL": valkey.url, "STREAM_NAME": "bench", "INFER_TYPE": "bench", **environ}
    service = ServiceProcess(kind, settings, folder, f"{kind}-{time.monotonic_ns()}").start().wait_ready()
    try:
        assert service.process is not None
        time.sleep(1)
        used_s, frames = cpu_s(service.process.pid), service.metric("ei_frames_pushed_total")
        time.sleep(seconds)
        frames = service.metric("ei_frames_pushed_total") - frames
        used_s = cpu_s(service.process.pid) - used_s
    finally:
        service.terminate()
    return frames / used_s


def _bare(clip: Path, seconds: float, fps: float) -> float:
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    began, cpu_s, frames = time.monotonic(), time.process_time(), 0
    while time.monotonic() - began < seconds:
        found, pixels = capture.read()
        if not found:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            continue
        simplejpeg.encode_jpeg(pixels, JPEG_QUALITY, colorspace="BGR", colorsubsampling="420")
        frames += 1
        if fps:
            time.sleep(max(0.0, began + frames / fps - time.monotonic()))
    capture.release()
    return frames / (time.process_time() - cpu_s)


def _bare_again(clip: Path, seconds: float, fps: float) -> float:
    jpeg = _first_jpeg(clip)
    began, cpu_s, frames = time.monotonic(), time.process_time(), 0
    while time.monotonic() - began < seconds:
        pixels = simplejpeg.decode_jpeg(jpeg, "BGR")
        simplejpeg.encode_jpeg(pixels, JPEG_QUALITY, colorspace="BGR", colorsubsampling="420")
        frames += 1
        if fps:
            time.sleep(max(0.0, began + frames / fps - time.monotonic()))
    return frames / (time.process_time() - cpu_s)


def _first_jpeg(clip: Path) -> bytes:
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    _, pixels = capture.read()
    capture.release()
    return bytes(simplejpeg.encode_jpeg(np.asarray(pixels), JPEG_QUALITY, colorspace="BGR", colorsubsampling="420"))


def _enlarged(clip: Path, target: Path) -> Path:
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), 25, (1280, 720))
    for _ in range(150):
        found, pixels = capture.read()
        if not found:
            break
        writer.write(cv2.resize(pixels, (1280, 720), interpolation=cv2.INTER_CUBIC))
    writer.release()
    capture.release()
    return target


def figures(context: Context) -> Iterator[Figure | LeftOut]:
    """The table's lines."""
    if not (context.videos / CLIP).is_file():
        yield LeftOut("producers", f"the clip {CLIP} is missing")
        return
    yield from camera.figures(context)
    for each in run(context.videos, context.rounds(3), context.seconds(3.0)):
        yield Figure(
            "producers",
            f"{each['name']}{'' if 'over' in each['name'] else ', over bare decode and encode'}, at 60 fps",
            each["ratio"],
            spread=each["spread"],
            details={name: each[name] for name in ("fps_per_core", "bare_fps_per_core", "over_unpaced")},
        )


def main() -> None:
    """Prints one JSON record per line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path, required=True, help=f"folder with {CLIP}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    for record in run(arguments.videos, arguments.rounds, arguments.seconds):
        print(json.dumps(record))


if __name__ == "__main__":
    main()
