"""The camera stream service: a USB or network camera into the frame queue."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

from prometheus_client import CollectorRegistry

from elastic_inference.adapters.source.camera import camera_label, open_camera
from elastic_inference.base.config import CameraSettings
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.base.service_runner import run_service
from elastic_inference.flows.produce.frame_pacing import CameraCap
from elastic_inference.flows.produce.stream import Encoding, StreamPlan
from elastic_inference.flows.produce.stream_manager import StreamManager
from elastic_inference.flows.produce.stream_name import default_name

log = logging.getLogger(__name__)


def run(settings: CameraSettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
    """Streams until told to stop; keeps reopening a camera that is unavailable."""
    if settings.camera_pool:
        # It loads the models of cameras, which one camera does not need.
        from elastic_inference.flows.produce.pool.source_worker import SourceWorker  # noqa: PLC0415

        SourceWorker(settings, lifecycle, registry).run()
        return
    name = settings.stream_name or default_name("camera")
    what = camera_label(settings.camera)
    log.info("%s: %s to %s", name, what, ", ".join(settings.infer_type))
    keep_freed_memory()
    substream = settings.camera_substream
    second = settings if substream is None else replace(settings, camera=substream)
    plan = StreamPlan(
        name=name,
        what=what,
        types=settings.infer_type,
        connection=(settings.camera, substream),
        open_source=lambda: open_camera(settings),
        make_gate=lambda: CameraCap(settings.camera_fps),
        fps=settings.camera_fps,
        stall_s=settings.source_stall_s,
        encoding=Encoding(settings.jpeg_quality, settings.frame_width, settings.frame_height),
        size=settings.camera_size,
        gate=settings.camera_gate,
        open_substream=None if substream is None else lambda: open_camera(second),
    )
    StreamManager(settings, lifecycle, registry, name).run_one(plan)


def main() -> int:
    """Runs the service; returns the exit code."""
    return run_service(CameraSettings, run)


if __name__ == "__main__":
    sys.exit(main())
