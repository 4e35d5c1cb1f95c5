"""JPEGs with a subsampling that has no name, which libjpeg-turbo's interface refuses: FFmpeg decodes them.

Called by `jpeg_encoder` and `motion`. The pod uses OpenCV for such images, and drawing uses Pillow.
"""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt

from elastic_inference.adapters.decoded_image import MISSING_PART, is_rare
from elastic_inference.domain.errors import InvalidFrameError
from elastic_inference.domain.frame import jpeg_size
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_PIXELS


def decode_rare(jpeg: bytes, form: str, refused: ValueError, damaged: bool = False) -> npt.NDArray[np.uint8]:
    """The image at its full size as `rgb24` (H x W x 3) or `gray` (H x W). Raises ValueError.

    `refused` is the error of simplejpeg; it is raised again for any other image. Of a `damaged` image, FFmpeg must
    have decoded three quarters.
    """
    if not is_rare(refused):
        raise refused
    try:
        width, height = jpeg_size(jpeg)
    except InvalidFrameError as error:
        raise ValueError(str(error)) from None
    if width * height > DEFAULT_MAX_FRAME_PIXELS:
        raise ValueError(f"{width}x{height}, at most {DEFAULT_MAX_FRAME_PIXELS} pixels can be decoded")
    context = av.CodecContext.create("mjpeg", "r")
    context.thread_count = 1
    try:
        frames = [*context.decode(av.Packet(jpeg)), *context.decode(None)]
        if not frames:
            raise ValueError("it holds no image")
        if damaged and _stops_early(frames[0]):
            raise ValueError("a quarter of it or more is missing")
        return np.asarray(frames[0].to_ndarray(format=form), np.uint8)
    except av.FFmpegError as error:
        raise ValueError(str(error)) from None


def _stops_early(image: av.VideoFrame) -> bool:
    """Whether the lowest quarter was not decoded: FFmpeg stops at a wrong code, and leaves zeros.

    Zeros in luma and chroma are a green that no RGB image becomes.
    """
    if image.format.is_rgb or len(image.planes) < 3:
        return False
    return not any(bytes(plane)[-(plane.buffer_size // MISSING_PART) :].strip(b"\0") for plane in image.planes)
