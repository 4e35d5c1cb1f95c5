"""The file stream service: a video file, looped at its own rate, into the frame queue."""

from __future__ import annotations

import logging
import sys

from prometheus_client import CollectorRegistry

from elastic_inference.adapters.source.file import FileSource
from elastic_inference.base.config import FileSettings
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.base.service_runner import run_service
from elastic_inference.flows.produce.frame_pacing import FilePace
from elastic_inference.flows.produce.stream import Encoding, StreamPlan
from elastic_inference.flows.produce.stream_manager import StreamManager
from elastic_inference.flows.produce.stream_name import default_name

log = logging.getLogger(__name__)
# Files rarely stall. A network share that hangs this long is reported as stalled.
STALL_S = 30.0


def run(settings: FileSettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
    """Streams until told to stop. Raises SourceFatalError if the file is missing or is not a video."""
    source = FileSource(settings.video_file, settings.video_decode_device, settings.max_frame_pixels)
    fps = settings.video_fps or source.fps
    name = settings.stream_name or default_name("file")
    log.info("%s: %s at %.3g frames a second to %s", name, settings.video_file, fps, ", ".join(settings.infer_type))
    keep_freed_memory()
    what = f"The video {settings.video_file}"
    plan = StreamPlan(
        name=name,
        what=what,
        types=settings.infer_type,
        connection=settings.video_file,
        open_source=lambda: source,
        make_gate=lambda: FilePace(fps, settings.video_fps is not None, what),
        fps=fps,
        stall_s=max(STALL_S, 3 / fps),
        encoding=Encoding(settings.jpeg_quality, settings.frame_width, settings.frame_height),
    )
    StreamManager(settings, lifecycle, registry, name).run_one(plan)


def main() -> int:
    """Runs the service; returns the exit code."""
    return run_service(FileSettings, run)


if __name__ == "__main__":
    sys.exit(main())
