"""What a probe found about a camera or a file; the only definition of these fields.

`adapters.source.probe` makes it; `ei-camera-probe` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, with_config

from elastic_inference.domain.fields import Count, Pixels, Rate, rounded
from elastic_inference.domain.late import CLOSED

_Seconds = Annotated[Rate, rounded(3)]
_Number = Annotated[Rate, rounded(2)]


@with_config(CLOSED)
@dataclass(frozen=True, slots=True)
class ProbeReport:
    """A source that delivered at least one frame."""

    camera: Annotated[str, Field(description="The address, without login and query.")]
    transport: Annotated[str | None, Field(description="How it was reached: RTSP over TCP, HTTP …; null for a file.")]
    container: Annotated[str | None, Field(description="FFmpeg's name of the container or protocol.")]
    codec: Annotated[str | None, Field(description="FFmpeg's name of the codec: h264, hevc, mjpeg …")]
    profile: Annotated[str | None, Field(description="The codec's profile; null if the stream states none.")]
    width: Annotated[Pixels, Field(description="Of the first frame as it would be pushed, pixels.")]
    height: Annotated[Pixels, Field(description="Of the first frame as it would be pushed, pixels.")]
    fps: Annotated[
        _Number | None, Field(description="Frames per second as measured; null for a file or a single frame.")
    ]
    stated_fps: Annotated[_Number | None, Field(description="Frames per second that the stream states.")]
    key_frame_s: Annotated[_Seconds | None, Field(description="Between the last two key frames; null if fewer came.")]
    interlaced: Annotated[bool | None, Field(description="null if frames pass through undecoded.")]
    pixel_format: Annotated[str | None, Field(description="FFmpeg's name of the pixel format.")]
    colours: Annotated[str | None, Field(description="Matrix and range, and whether the stream states them.")]
    login: Annotated[bool, Field(description="Whether a login was given; the camera then accepted it.")]
    open_s: Annotated[_Seconds, Field(description="How long opening took.")]
    first_frame_s: Annotated[_Seconds, Field(description="From then until the first frame.")]
    brightness: Annotated[_Number, Field(le=255, description="The first frame's mean grey level: 0 is black.")]
    passes_through: Annotated[bool, Field(description="Whether frames are pushed as the camera encoded them.")]
    jpeg_bytes: Annotated[Count, Field(description="Size of the first frame's JPEG.")]
    cpu_ms: Annotated[_Number, Field(description="CPU time per frame on the machine that probed, milliseconds.")]
    used_fps: Annotated[_Number, Field(description="Frames per second that would be pushed.")]
    warnings: Annotated[tuple[str, ...], Field(description="Warnings, a sentence each; empty if there are none.")]

    @property
    def core_share(self) -> float:
        """The share of one core of the machine that probed."""
        return self.used_fps * self.cpu_ms / 1000
