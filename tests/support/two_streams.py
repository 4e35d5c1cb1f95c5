"""A camera with a main stream and a substream on one real RTSP server, and what the queue gets of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import redis
import simplejpeg
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.frame import Frame
from elastic_inference.flows.produce.camera_plan import spec_plan
from elastic_inference.flows.produce.stream import ProducerStream
from elastic_inference.flows.produce.stream_manager import StreamManager
from tests.support.background import repeating
from tests.support.ports import free_port
from tests.support.rtsp_cameras import RtspCameras
from tests.support.waiting import wait_for

NAME = "hall"
FPS = 10
FULL, SMALL, SQUARE = (640, 360), (320, 180), (240, 240)


def raw_h264(path: Path, size: tuple[int, int], seconds: int = 2) -> bytes:
    """One slice a frame, a key frame each second; grey levels that change."""
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        parameters = f"slices=1:keyint={FPS}:scenecut=0:bframes=0:repeat-headers=1"
        stream.options = {"preset": "ultrafast", "threads": "1", "x264-params": parameters}
        for number in range(seconds * FPS):
            luma = np.full((size[1], size[0]), 60 + 5 * number, np.uint8)
            colour = np.full((size[1] // 2, size[0]), 128, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.concatenate((luma, colour)), "yuv420p")))
        container.mux(stream.encode(None))
    return path.read_bytes()


@contextmanager
def server(folder: Path) -> Iterator[RtspCameras]:
    """Serves `main`, `sub` and `square`, whose proportions are others."""
    sizes = {"main": FULL, "sub": SMALL, "square": SQUARE}
    video = {name: (raw_h264(folder / f"{name}.raw", size), float(FPS)) for name, size in sizes.items()}
    with RtspCameras(free_port(), folder, video, 1) as found:
        yield found


class TwoStreams:
    """One camera in a stream manager of its own, and the pod of its type."""

    def __init__(self, valkey: EmbeddedValkey, networks: str = "127.0.0.1") -> None:
        self.client = redis.Redis(port=valkey.port, retry=None)
        environ = {"QUEUE_URL": valkey.url, "CAMERA_NETWORKS": networks, "SOURCE_STALL_S": "5"}
        self.settings = config.load(config.CameraSettings, environ)
        self.manager = StreamManager(self.settings, Lifecycle("camera stream"), CollectorRegistry(), "cameras")
        self._consumer = QueueConsumer(self.client, "people", "pod", self.settings)
        self._consumer.load_scripts()
        self._lock = threading.Lock()
        self.frames: list[tuple[float, Frame, int]] = []  # when it was taken, the frame, its order

    @contextmanager
    def running(self, url: str, substream: str | None, **fields: object) -> Iterator[TwoStreams]:
        """Runs the camera."""
        self.put(url, substream, **fields)
        try:
            with repeating(self.tick, 8):
                yield self
        finally:
            self.manager.close()
            self.client.close()

    def put(self, url: str, substream: str | None, **fields: object) -> None:
        """Adds the camera, or changes it."""
        spec = CameraSpec.model_validate({"name": NAME, "url": url, "substream": substream, "fps": FPS, **fields})
        with self._lock:
            self.manager.put(spec_plan(spec, self.settings))

    def tick(self) -> None:
        with self._lock:
            self.manager.tick()

    @property
    def stream(self) -> ProducerStream:
        """What runs now."""
        return self.manager.streams()[NAME]

    def watch(self, watched: bool = True) -> None:
        """As the websocket server does."""
        key = keys.size_wanted("people", NAME)
        if watched:
            self.client.set(key, keys.WATCHED_VALUE, px=120_000)
        else:
            self.client.delete(key)

    def take(self) -> list[Frame]:
        """Takes what waits in the queue."""
        found = self._consumer.pop(64, 0.0).frames
        for popped in found:
            frame = popped.frame
            assert simplejpeg.decode_jpeg_header(frame.data)[:2] == (frame.height, frame.width)
            self.frames.append((time.monotonic(), frame, popped.order))
        return [popped.frame for popped in found]

    def wait_size(self, size: tuple[int, int], timeout_s: float = 40) -> None:
        """Waits for a frame of this size."""

        def has_it() -> bool:
            return any((frame.width, frame.height) == size for frame in self.take())

        try:
            wait_for(has_it, timeout_s, f"frames of {size}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.stream.note}; {self.stream.reason}") from None

    def wait_note(self, words: str) -> str:
        """Waits until the status says this."""

        def note() -> str | None:
            self.take()
            found = self.stream.note
            return found if found is not None and words in found else None

        found = wait_for(note, 60, words)
        assert found is not None
        return found
