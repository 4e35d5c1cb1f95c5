"""The capacity planner against a running pod: pods and Redis MB/s at 1, 4 and 16 streams, predicted and measured.

`.venv/bin/python -m tests.bench.planner --model FILE [--fps F] [--seconds S] [--json] [--update]`. The pod's speed is
measured first, as a user would; then streams of 768x432 are pushed at a steady rate. Pods are the sum of the ratios
divided by the target; Redis counts its own bytes. Prints one line per number of streams; the exit code is 1 if a
prediction is off by more than a fifth. `--update` also stores the records; `--document` measures nothing and writes
doc/capacity.md from the stored records.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import redis

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.commands.planning.capacity import plan
from elastic_inference.commands.planning.plan_capacity import text
from elastic_inference.commands.planning.sheet import Demand, Measured, NodePlan
from elastic_inference.domain.frame import Frame
from tests.elasticity.report import PLANNER
from tests.support.document import markdown_table, replace_between
from tests.support.manifests import PROJECT
from tests.support.system import ServiceProcess, System

STREAMS = (1, 4, 16)
SIZE = (768, 432)
TYPE = "plan"
OFF_BY = 0.2
_COMPARED = ("pods, predicted", "pods, measured", "Redis MB/s, predicted", "Redis MB/s, measured")
CAPACITY = PROJECT / "doc" / "capacity.md"
STORED = PROJECT / "doc" / "benchmarks" / "planner.json"
# The demand of the sheet in doc/capacity.md.
MANY = Demand(cameras=100_000, fps=15.0, frame_bytes=50_000), Measured(fps_per_core=110), NodePlan()


def run(model: Path, fps: float = 6.0, seconds: float = 15.0) -> list[dict[str, Any]]:
    """Records {name, streams, pods, predicted_pods, redis_mb_s, predicted_redis_mb_s, off}."""
    image = _test_image()
    records = []
    with System() as system:
        pod = system.infer(TYPE, {"INFER_MODEL_PATH": str(model)}).wait_ready()
        with _Pushing(system.valkey, image, 16, 400.0):
            pod_fps = _saturated(pod, seconds)
        time.sleep(6)
        layout = NodePlan(pod_cores=1.0)
        with redis.Redis(port=system.valkey.port) as admin:
            for streams in STREAMS:
                demand = Demand(
                    cameras=streams, fps=fps, frame_bytes=len(image), detections=0.0, viewers=0, watched_streams=0
                )
                sheet = plan(demand, Measured(fps_per_core=pod_fps), layout)
                with _Pushing(system.valkey, image, streams, fps * streams):
                    time.sleep(6)
                    before, began, ratios = _bytes(admin), time.monotonic(), []
                    while time.monotonic() - began < seconds:
                        time.sleep(1)
                        ratios.append(pod.metric("ei_scale_ratio"))
                    elapsed = time.monotonic() - began
                    mb_s = (_bytes(admin) - before) / elapsed / 1e6
                predicted = sheet.redis_in_mb_s + sheet.redis_out_mb_s
                ratio = sum(ratios) / len(ratios)
                pods = max(1, math.ceil(ratio / layout.target - 1e-9))
                records.append(
                    {
                        "name": f"planner, {streams} streams",
                        "streams": streams,
                        "fps": fps,
                        "pod_fps": round(pod_fps, 1),
                        "ratio": round(ratio, 3),
                        "predicted_ratio": round(sheet.frames_s / pod_fps, 3),
                        "pods": pods,
                        "pods_unrounded": round(ratio / layout.target, 3),
                        "predicted_pods": sheet.pods,
                        "predicted_pods_unrounded": round(sheet.pods_unrounded, 3),
                        "redis_mb_s": round(mb_s, 3),
                        "predicted_redis_mb_s": round(predicted, 3),
                        "off": round(max(abs(predicted / mb_s - 1), abs(sheet.pods / pods - 1)), 3),
                    }
                )
    return records


class _Pushing:
    """A context in which frames are pushed at a steady rate, spread over the streams."""

    def __init__(self, valkey: EmbeddedValkey, image: bytes, streams: int, rate: float) -> None:
        client = connect(config.RedisTarget(url=Secret(valkey.url)))
        self._producers = [
            QueueProducer(client, TYPE, f"plan-{number}", config.QueueRules()) for number in range(streams)
        ]
        self._image, self._rate = image, rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._push, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _push(self) -> None:
        began, number = time.monotonic(), 0
        while not self._stop.wait(max(0.0, began + number / self._rate - time.monotonic())):
            stream = number % len(self._producers)
            frame = Frame(f"plan-{stream}", TYPE, self._image, number, time.time(), 0.0, *SIZE)
            self._producers[stream].push(frame)
            number += 1


def _saturated(pod: ServiceProcess, seconds: float) -> float:
    time.sleep(4)
    before, began = pod.metric("ei_frames_inferred_total"), time.monotonic()
    time.sleep(seconds)
    return (pod.metric("ei_frames_inferred_total") - before) / (time.monotonic() - began)


def _bytes(admin: redis.Redis) -> int:
    info: dict[str, Any] = admin.info("stats")  # type: ignore[assignment]
    return int(info["total_net_input_bytes"] + info["total_net_output_bytes"])


def _test_image() -> bytes:
    width, height = SIZE
    small = np.random.default_rng(1).integers(0, 255, (height // 6, width // 6, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.resize(small, SIZE), [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())


def compared(records: Sequence[Mapping[str, Any]]) -> str:
    """The plan compared with one pod, a row per number of streams."""
    rows = [
        (
            each["streams"],
            f"{each['predicted_pods']} ({each['predicted_pods_unrounded']:.2f})",
            f"{each['pods']} ({each['pods_unrounded']:.2f})",
            f"{each['predicted_redis_mb_s']:.2f}",
            f"{each['redis_mb_s']:.2f}",
        )
        for each in records
    ]
    return markdown_table(("streams", *_COMPARED), rows)


def planned(records: Sequence[Mapping[str, Any]]) -> str:
    """The plan compared with the pool, a row per number of streams."""
    rows = []
    for each in records:
        plan_pods = f"{each['planned_pods']} ({each['planned_pods_unrounded']:.2f})"
        pods = f"{each['pods']} ({each['pods_unrounded']:.2f})"
        redis_mb_s = (f"{each['planned_redis_mb_s']:.2f}", f"{each['redis_mb_s']:.2f}")
        rows.append((each["streams"], f"{each['streams'] * each['fps']:g}", plan_pods, pods, *redis_mb_s))
    return markdown_table(("streams", "frames per second", *_COMPARED), rows)


def bottlenecks() -> str:
    """The bottlenecks up to 100,000 cameras and up to twice as many, a row each."""
    sheet = plan(*MANY)
    rows = [(each.when, each.full, each.cure) for each in (*sheet.bottlenecks, *sheet.next_bottlenecks)]
    return markdown_table(("from", "bottleneck", "fix"), rows)


def many() -> str:
    """The sheet for 100,000 cameras as the command prints it, without the bottlenecks."""
    demand, _, layout = MANY
    sheet = replace(plan(*MANY), bottlenecks=(), next_bottlenecks=())
    return f"```\n{text(demand, layout, sheet)}\n```\n"


def document(before: str) -> str:
    """doc/capacity.md with the text between its marks generated again."""
    for name, new in (
        ("planner", compared(json.loads(STORED.read_text()))),
        ("pool", planned(json.loads(PLANNER.read_text()))),
        ("sheet", many()),
        ("bottlenecks", bottlenecks()),
    ):
        before = replace_between(before, name, new)
    return before


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(prog="planner", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", type=Path, help="a model file, or a folder of models")
    what.add_argument("--document", action="store_true", help="only write doc/capacity.md from the stored records")
    parser.add_argument("--fps", type=float, default=6.0, help="of each stream (%(default)g)")
    parser.add_argument("--seconds", type=float, default=15.0, help="duration of each measurement (%(default)g)")
    parser.add_argument("--json", action="store_true", help="the records as JSON")
    parser.add_argument("--update", action="store_true", help="store the records and write doc/capacity.md")
    options = parser.parse_args(arguments)
    if options.document:
        CAPACITY.write_text(document(CAPACITY.read_text()))
        return 0
    records = run(options.model, options.fps, options.seconds)
    print(json.dumps(records, indent=2) if options.json else compared(records))
    if options.update:
        STORED.write_text(json.dumps(records, indent=1) + "\n")
        CAPACITY.write_text(document(CAPACITY.read_text()))
    return 1 if any(each["off"] > OFF_BY for each in records) else 0


if __name__ == "__main__":
    sys.exit(main())
