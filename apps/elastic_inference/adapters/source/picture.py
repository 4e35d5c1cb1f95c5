"""A captured picture and what every source can do.

Implemented by the modules beside this one, used by `produce`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: either `jpeg`, as the camera encoded it, or `pixels` (height x width x 3, uint8, BGR).

    `ts` is the capture in Unix seconds by this machine's clock, `captured` the same moment by its monotonic clock.
    """

    ts: float
    captured: float
    jpeg: bytes | None = None
    pixels: npt.NDArray[np.uint8] | None = None


class Source(Protocol):
    """An open camera or file. `grab` and `retrieve` belong to one thread, `interrupt` may be called by any.

    Two steps, since a picture that nobody wants need not be converted.
    """

    def grab(self) -> None:
        """Blocks until the next picture is there. Raises SourceError."""

    def retrieve(self) -> Picture:
        """The picture that `grab` got. Raises SourceError, or InvalidFrameError for one picture that is unusable."""

    def interrupt(self) -> None:
        """Makes a `grab` that blocks give up, where the kind of source can; it may then only be closed."""

    def close(self) -> None:
        """Frees the device, the file or the connection."""
