"""A captured frame, and the interface of every source.

The other modules of this folder implement it; `produce` uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One frame: either `jpeg`, as the camera encoded it, or `pixels` (height x width x 3, uint8, BGR).

    `ts` is the capture time in Unix seconds by this machine's clock; `captured` is the same moment by its monotonic
    clock.
    """

    ts: float
    captured: float
    jpeg: bytes | None = None
    pixels: npt.NDArray[np.uint8] | None = None


class Source(Protocol):
    """An open camera or file. Call `grab` and `retrieve` from one thread; any thread may call `interrupt`.

    Reading takes two steps, so that a frame that is not wanted is never converted.
    """

    def grab(self) -> None:
        """Blocks until the next frame arrives. Raises SourceError."""

    def retrieve(self) -> CapturedFrame:
        """Returns the frame that `grab` read. Raises SourceError, or InvalidFrameError for one unusable frame."""

    def interrupt(self) -> None:
        """Ends a blocked `grab`, where the kind of source allows it. Afterwards the source can only be closed."""

    def close(self) -> None:
        """Releases the device, file or connection."""
