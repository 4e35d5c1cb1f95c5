"""Video files made for a test with PyAV: frame i is grey of level 20 i."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

LEVEL = 20


def write_video(
    path: Path, frames: int, fps: float = 10, codec: str = "mjpeg", size: tuple[int, int] = (64, 48)
) -> Path:
    """Writes `frames` frames at `fps`; the container follows from the path's suffix."""
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
        if codec == "mjpeg":
            stream.codec_context.color_range = 2
        for number in range(frames):
            image = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), number * LEVEL, np.uint8), "rgb24")
            container.mux(
                stream.encode(image.reformat(format=stream.pix_fmt, dst_color_range=2 if codec == "mjpeg" else 1))
            )
        container.mux(stream.encode(None))
    return path
