"""A captured frame, and the interface of every source.

The other modules of this folder implement it; `produce` uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from elastic_inference.adapters.source.source_facts import SourceFacts

if TYPE_CHECKING:
    import av


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One frame: either `jpeg`, as the camera encoded it, or `image`, as FFmpeg decoded it.

    `image` has the frame's own size, pixel format and colour range. `ts` is the capture time in Unix seconds by this
    machine's clock; `captured` is the same moment by its monotonic clock. `small`: it comes from a substream. `turn` is
    EXIF's orientation of `image`; that of a JPEG is in the JPEG itself.
    """

    ts: float
    captured: float
    jpeg: bytes | None = None
    image: av.VideoFrame | None = None
    small: bool = False
    turn: int = 1

    @classmethod
    def of(cls, frame: av.VideoFrame | bytes, ts: float, captured: float, turn: int = 1) -> CapturedFrame:
        """A decoded frame, or a JPEG as the camera encoded it, with its times."""
        if isinstance(frame, bytes):
            return cls(ts, captured, jpeg=frame)
        return cls(ts, captured, image=frame, turn=turn)


class Source(Protocol):
    """An open camera or file. Call `grab` and `retrieve` from one thread; any thread may call `interrupt`.

    Reading takes two steps, so that a frame that is not wanted is never converted.
    """

    def grab(self, on_data: Callable[[], None]) -> float | None:
        """Blocks until the next frame arrives, and returns its media time in seconds, or None if it has none.

        Media times are continuous over the loops of a file. `on_data` is called for each piece of data that arrives,
        even if it completes no frame: a camera that sends packets is not stalled. Raises SourceError.
        """

    def retrieve(self) -> CapturedFrame:
        """Returns the frame that `grab` read, once: it is large, and is not kept.

        Raises SourceError, or InvalidFrameError for one unusable frame.
        """

    def rest(self, quiet: bool, on_skip: Callable[[float | None], None]) -> None:
        """While `quiet`, it may decode fewer frames, where that saves something. Any thread may call it.

        `on_skip` is called, within `grab`, for each frame that is skipped, with its media time.
        """

    def thin(self, wants: Callable[[float], bool], on_skip: Callable[[], None]) -> None:
        """Frames that are not wanted may be skipped before they are decoded, where that saves something.

        `wants` says whether a frame that many seconds after the last one is used. `on_skip` is called for each frame
        that is skipped. Both are called within `grab`. Call it before the first `grab`.
        """

    def facts(self) -> SourceFacts:
        """What is known about the source by now: transport, codec, size, rate and the like."""

    def interrupt(self) -> None:
        """Ends a blocked `grab`, where the kind of source allows it. Afterwards the source can only be closed."""

    def close(self) -> None:
        """Releases the device, file or connection."""
