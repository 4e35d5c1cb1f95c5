"""Turns the specification of a camera of the pool into a stream's plan: how to open and pace it.

Called by the source worker.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from elastic_inference.adapters.source.camera import camera_label, open_camera
from elastic_inference.adapters.source.captured_frame import Source
from elastic_inference.adapters.source.file import FileSource
from elastic_inference.base.config import CameraSettings
from elastic_inference.base.url import hide_password
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.flows.produce.camera_settings import camera_settings
from elastic_inference.flows.produce.frame_pacing import CameraCap, FileCap, Gate
from elastic_inference.flows.produce.stream import Encoding, StreamPlan

# Files rarely stall. A network share that hangs this long is reported as stalled.
FILE_STALL_S = 30.0


def spec_plan(spec: CameraSpec, settings: CameraSettings) -> StreamPlan:
    """The plan of a camera; `spec` holds the login and the full URL, `settings` applies to all cameras."""
    if spec.is_file:
        what, stall_s = f"The video {unquote(urlsplit(spec.url).path)}", FILE_STALL_S
    else:
        what, stall_s = camera_label(hide_password(spec.url)), settings.source_stall_s
    rules = settings.address_rules
    # What the source depends on: any other field may change while it is open.
    login = spec.login and (spec.login.user, spec.login.password)
    connection = (spec.url, spec.substream, login, spec.transport, spec.certificate)

    def open_source() -> Source:
        if spec.is_file:
            device, pixels = settings.video_decode_device, settings.max_frame_pixels
            return FileSource(rules.file(spec.url), device, pixels, lambda: rules.file(spec.url))
        return open_camera(camera_settings(spec, settings), rules)

    def open_substream() -> Source:
        second = spec.model_copy(update={"url": spec.substream})
        return open_camera(camera_settings(second, settings), rules)

    def make_gate() -> Gate:
        return FileCap(spec.fps, what) if spec.is_file else CameraCap(spec.fps)

    return StreamPlan(
        name=spec.name,
        what=what,
        types=spec.types,
        connection=connection,
        open_source=open_source,
        make_gate=make_gate,
        fps=spec.fps,
        stall_s=stall_s,
        encoding=Encoding(spec.quality, spec.width, spec.height),
        size=spec.size or settings.camera_size,
        gate=spec.gate or settings.camera_gate,
        open_substream=None if spec.substream is None else open_substream,
    )
