"""A pool without inference: publishes results of known images through the real broker, for tests of viewers.

Started as a process by the dashboard's end-to-end tests and benchmark. Each image shows rectangles of a single colour,
and each detection's box is exactly one of them, so a test can compare what it sees. Reads commands as JSON lines from
standard input and writes answers as JSON lines to standard output, until the input ends.

    python tests/support/result_publisher.py --broker-url redis://127.0.0.1:6379/0 --streams gate-1:people,gate-1:face

Commands: `stop`, `start` {streams}: stop or resume publishing · `override` {stream, detections}: publish these
detections instead of the true ones, null ends that · `message` {stream, document, image}: publish one message as it is,
`image` is `good`, `broken` or `none` · `worker` {type, replicas, infer_fps, drop_fps, scale_ratio}: what the pods
report · `counts`: the number of published results by stream.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import redis
import simplejpeg

from elastic_inference.adapters.stream_broker.publisher import ResultPublisher
from elastic_inference.domain.result import Detection, Result
from elastic_inference.domain.result_message import join_message

LOOP_FRAMES = 60
VARIANTS = 4
# One colour (RGB) per shape, all far from the colours of labels.
SHAPE_COLOURS = ((255, 0, 255), (0, 255, 255), (160, 255, 0))
LABELS = ("person", "car", "bike")
QUEUE_MS, INFER_MS, AGE_MS = 3.0, 12.0, 8.0


@dataclass
class DrawnImage:
    """A JPEG and the boxes (0..1) of the shapes in it."""

    jpeg: bytes
    boxes: tuple[tuple[float, float, float, float], ...]


@dataclass
class PublishedStream:
    """A published stream."""

    identifier: str
    type: str
    images: list[DrawnImage]
    running: bool = True
    override: tuple[Detection, ...] | None = None
    published: int = 0
    seq: int = 0
    order: int = field(default_factory=lambda: time.time_ns() // 1000)


def backgrounds(clip: Path | None, width: int, height: int, variant: int) -> list[np.ndarray]:
    """`LOOP_FRAMES` images (RGB), from a clip or drawn."""
    if clip:
        capture = cv2.VideoCapture(str(clip))
        capture.set(cv2.CAP_PROP_POS_FRAMES, variant * LOOP_FRAMES)
        found = []
        while len(found) < LOOP_FRAMES:
            read, image = capture.read()
            if not read:
                capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                continue
            found.append(cv2.cvtColor(cv2.resize(image, (width, height)), cv2.COLOR_BGR2RGB))
        capture.release()
        return found
    # A row and a column, which numpy spreads out: a wave is the same along the other side.
    rows, columns = (each.astype(np.float32) for each in np.ogrid[0:height, 0:width])
    drawn = []
    for index in range(LOOP_FRAMES):
        turn = 2 * np.pi * (index / LOOP_FRAMES + variant / VARIANTS)
        # From 20 to 120: no channel overflows, and OpenCV needs a sixth of numpy's time for them.
        shade = 70 + 30 * np.sin(columns / 60 + turn) + 20 * np.cos(rows / 40)
        drawn.append(cv2.merge([cv2.convertScaleAbs(shade, alpha=alpha) for alpha in (0.8, 1.0, 1.1)]))
    return drawn


def make_images(clip: Path | None, width: int, height: int, variant: int) -> list[DrawnImage]:
    """A loop of images with moving shapes."""
    made = []
    for index, image in enumerate(backgrounds(clip, width, height, variant)):
        boxes = []
        turn = 2 * np.pi * index / LOOP_FRAMES
        for shape, colour in enumerate(SHAPE_COLOURS):
            w, h = int(width * (0.16 - 0.02 * shape)), int(height * (0.42 - 0.08 * shape))
            x = int(width * (0.2 + 0.28 * shape + 0.06 * np.sin(turn + variant + shape)) - w / 2)
            y = int(height * (0.58 + 0.1 * np.cos(turn * (1 + shape) + variant)) - h / 2)
            cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), colour, cv2.FILLED)
            boxes.append((x / width, y / height, (x + w) / width, (y + h) / height))
        # 4:4:4 keeps the shapes' edges where they are.
        subsampling = "420" if clip else "444"
        jpeg = simplejpeg.encode_jpeg(image, quality=80, colorspace="RGB", colorsubsampling=subsampling)
        made.append(DrawnImage(jpeg, tuple(boxes)))
    return made


def model_of(infer_type: str) -> tuple[str, str]:
    """(model, precision) that the pods of a type report."""
    return f"{infer_type.partition('-')[0]}-test-model", "INT8" if "int8" in infer_type else "FP32"


class Pool:
    """All streams and pods. Only the thread that calls `run` talks to Redis."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.fps: float = arguments.fps
        self.size = (arguments.width, arguments.height)
        entries = [entry.partition(":") for entry in arguments.streams.split(",")]
        names = list(dict.fromkeys(name for name, _, _ in entries))
        variants = range(min(VARIANTS, len(names)))
        made = [make_images(arguments.clip, *self.size, variant) for variant in variants]
        self.streams: dict[str, PublishedStream] = {}
        for name, _, infer_type in entries:
            identifier = f"{name}:{infer_type}:inferred"
            self.streams[identifier] = PublishedStream(identifier, infer_type, made[names.index(name) % VARIANTS])
        self.names = names
        self.client = redis.Redis.from_url(arguments.broker_url)
        types = sorted({stream.type for stream in self.streams.values()})
        self.publishers = {each: ResultPublisher(self.client, each, f"pod-{each}-0", 1000) for each in types}
        self.replicas: dict[tuple[str, int], ResultPublisher] = {}
        self.workers: dict[str, dict[str, Any]] = {each: {"replicas": 1, "scale_ratio": 0.5} for each in types}
        self.commands: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def run(self) -> None:
        """Publishes until the input ends."""
        threading.Thread(target=self._read_commands, daemon=True).start()
        start = time.monotonic()
        # Streams of the same name are in step.
        due = [
            (start + self.names.index(identifier.partition(":")[0]) / len(self.names) / self.fps, identifier)
            for identifier in self.streams
        ]
        heapq.heapify(due)
        next_report = start
        answer(ready=True)
        while True:
            if not self._take_commands():
                return
            now = time.monotonic()
            if now >= next_report:
                next_report = now + 1.0
                self._report_workers()
            while due and due[0][0] <= now:
                when, identifier = heapq.heappop(due)
                stream = self.streams[identifier]
                if stream.running:
                    self._publish(stream)
                # After a delay of more than a second (a suspended machine) there is no burst to catch up.
                heapq.heappush(due, (max(when, now - 1.0) + 1 / self.fps, identifier))
            time.sleep(max(0.0, min(due[0][0], next_report) - time.monotonic(), 0.0005))

    def _publish(self, stream: PublishedStream) -> None:
        image = stream.images[stream.seq % LOOP_FRAMES]
        result = self._result(stream, image)
        self.publishers[stream.type].publish([(result, image.jpeg)])
        stream.published += 1

    def _result(self, stream: PublishedStream, image: DrawnImage) -> Result:
        stream.seq += 1
        stream.order += 1
        model, precision = model_of(stream.type)
        found = stream.override
        if found is None:
            boxes = image.boxes
            if "int8" in stream.type and stream.seq % 30 < 15:
                boxes = boxes[:-1]  # the smaller model misses one sometimes
            found = tuple(
                Detection(LABELS[index], index + 1, round(0.93 - 0.2 * index, 2), box)
                for index, box in enumerate(boxes)
            )
        server_ms = self.publishers[stream.type].server_ms(time.monotonic())
        return Result(
            stream=stream.identifier,
            type=stream.type,
            model=model,
            precision=precision,
            device="CPU",
            order=stream.order,
            seq=stream.seq,
            ts=time.time(),
            width=self.size[0],
            height=self.size[1],
            pod=f"pod-{stream.type}-0",
            age_ms=AGE_MS,
            queue_ms=QUEUE_MS,
            infer_ms=INFER_MS,
            detections=found,
            arrived_ms=None if server_ms is None else server_ms - QUEUE_MS - INFER_MS,
        )

    def _report_workers(self) -> None:
        for infer_type, said in self.workers.items():
            live = sum(stream.running for stream in self.streams.values() if stream.type == infer_type)
            model, precision = model_of(infer_type)
            replicas = int(said["replicas"])
            for index in range(replicas):
                publisher = self.publishers[infer_type] if not index else self._replica(infer_type, index)
                infer_fps = float(said.get("infer_fps", live * self.fps)) / replicas
                drop_fps, ratio = float(said.get("drop_fps", 0.0)) / replicas, float(said["scale_ratio"])
                publisher.report_worker(
                    infer_fps,
                    drop_fps,
                    ratio,
                    capacity_fps=(infer_fps + drop_fps) / ratio if ratio else 0.0,
                    device="CPU",
                    model=model,
                    precision=precision,
                )

    def _replica(self, infer_type: str, index: int) -> ResultPublisher:
        """A pod that only reports. It is made once: each one keeps a connection, and there are a hundred of them."""
        if (infer_type, index) not in self.replicas:
            name = f"pod-{infer_type}-{index}"
            self.replicas[infer_type, index] = ResultPublisher(self.client, infer_type, name, 0)
        return self.replicas[infer_type, index]

    def _take_commands(self) -> bool:
        with contextlib.suppress(queue.Empty):
            while True:
                command = self.commands.get_nowait()
                if command is None:
                    return False
                self._do(command)
        return True

    def _do(self, command: dict[str, Any]) -> None:
        what = command["do"]
        if what in ("stop", "start"):
            for identifier in command["streams"]:
                self.streams[identifier].running = what == "start"
        elif what == "override":
            given = command["detections"]
            self.streams[command["stream"]].override = None if given is None else tuple(map(detection, given))
        elif what == "message":
            stream = self.streams[command["stream"]]
            good = stream.images[0].jpeg
            jpeg = {"good": good, "broken": good[:200] + b"\0" * 50, "none": b""}[command["image"]]
            document = command["document"]
            if isinstance(document, dict):
                stream.order += 1
                document = json.dumps({"order": stream.order, **document})
            self.client.publish(stream.identifier, join_message(document.encode(), jpeg))
        elif what == "worker":
            self.workers[command["type"]].update({key: command[key] for key in command if key not in ("do", "type")})
            self._report_workers()
        elif what == "counts":
            answer(counts={stream.identifier: stream.published for stream in self.streams.values()})
            return
        answer(done=what)

    def _read_commands(self) -> None:
        for line in sys.stdin:
            self.commands.put(json.loads(line))
        self.commands.put(None)


def detection(given: dict[str, Any]) -> Detection:
    """The detection that a command describes."""
    x_min, y_min, x_max, y_max = given["box"]
    return Detection(given["label"], int(given.get("label_id", 0)), given["confidence"], (x_min, y_min, x_max, y_max))


def answer(**fields: Any) -> None:
    """Writes one JSON line to standard output."""
    print(json.dumps(fields), flush=True)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="publish results of known images through a real broker")
    parser.add_argument("--broker-url", default=os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0"))
    parser.add_argument("--streams", required=True, help="name:type, comma-separated")
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--height", type=int, default=432)
    parser.add_argument("--clip", type=Path, help="a video whose frames are shown behind the shapes (default: drawn)")
    with contextlib.suppress(KeyboardInterrupt):
        Pool(parser.parse_args()).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
