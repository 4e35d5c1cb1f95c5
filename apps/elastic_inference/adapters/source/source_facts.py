"""What is known about an open source. Every kind of source fills it in; `probe` reads it."""

from __future__ import annotations

from dataclasses import dataclass

# The transport of still images, which are fetched at the rate for which the source was opened.
POLLED = "HTTP, polled"


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """The facts; None for those that the source does not state, or that are not known yet."""

    transport: str | None = None
    container: str | None = None
    codec: str | None = None
    profile: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    pixel_format: str | None = None
    colours: str | None = None
    hdr: str | None = None
    key_frame_s: float | None = None
    interlaced: bool | None = None
