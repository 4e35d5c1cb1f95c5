"""The camera stream service: a USB or network camera into the frame queue."""

from __future__ import annotations

import logging
import sys

from prometheus_client import CollectorRegistry

from elastic_inference.config import CameraSettings
from elastic_inference.lifecycle import Lifecycle
from elastic_inference.memory import keep_freed_memory
from elastic_inference.produce.pace import CameraCap
from elastic_inference.produce.producer import Producer
from elastic_inference.produce.stream_name import default_name
from elastic_inference.service import run_service
from elastic_inference.source.camera import camera_label, open_camera

log = logging.getLogger("ei.camera-stream")


def run(settings: CameraSettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
    """Streams until the stop; a camera that is away is opened again and again."""
    name = settings.stream_name or default_name("camera")
    what = camera_label(settings.camera)
    log.info("%s: %s to %s", name, what, ", ".join(settings.infer_type))
    keep_freed_memory()
    Producer(
        settings=settings,
        name=name,
        what=what,
        open_source=lambda: open_camera(settings),
        gate=CameraCap(settings.camera_fps),
        stall_s=settings.source_stall_s,
        lifecycle=lifecycle,
        registry=registry,
    ).run()


def main() -> int:
    """Runs the service; the process's exit code."""
    return run_service(CameraSettings, run)


if __name__ == "__main__":
    sys.exit(main())
