"""Targets that read images: JPEG headers, whole JPEGs, and a camera's stream of them."""

from __future__ import annotations

import functools
import io

import numpy as np
import simplejpeg
from PIL import Image

from elastic_inference.adapters.drawing import draw_result
from elastic_inference.adapters.jpeg_planes import Canvas
from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.adapters.source.jpeg_stream import JpegStream, whole_jpeg
from elastic_inference.domain.errors import InvalidFrameError, SourceError
from elastic_inference.domain.frame import jpeg_orientation, jpeg_size, shown_size
from elastic_inference.domain.jpeg_header import JpegHeader, jpeg_header
from elastic_inference.flows.inference.jpeg import JpegDecoder, one_scan
from tests.fuzz.target import Reader, Target
from tests.support.jpeg import tiny_jpeg
from tests.support.results import make_result

# Small enough to try hundreds a second. The sizes of real images are the concern of other tests.
MAX_PIXELS = 128 * 128
MAX_IMAGE_BYTES = 3000
_DECODER = JpegDecoder("BGR")
_ENCODER = JpegEncoder(width=24, max_pixels=MAX_PIXELS)


@functools.cache
def jpegs() -> tuple[bytes, ...]:
    """Small JPEGs of the kinds that cameras send."""
    pixels = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    made = [tiny_jpeg()]
    for subsampling in ("444", "420", "Gray"):
        if subsampling == "Gray":
            made.append(bytes(simplejpeg.encode_jpeg(pixels[:, :, :1].copy(), 60, colorspace="GRAY")))
        else:
            made.append(bytes(simplejpeg.encode_jpeg(pixels, 60, colorspace="BGR", colorsubsampling=subsampling)))
    for mode, options in (("RGB", {"progressive": True}), ("CMYK", {}), ("RGB", {"restart_marker_blocks": 1})):
        file = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(file, "JPEG", quality=50, **options)
        made.append(file.getvalue())
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=50, exif=exif)
    return (*made, file.getvalue())


def _header(data: bytes) -> None:
    assert 1 <= jpeg_orientation(data) <= 8
    facts = jpeg_header(data)
    width, height = jpeg_size(data)
    assert facts is None or facts == JpegHeader(width, height, jpeg_orientation(data), one_scan(data), facts.planes)
    assert 1 <= width <= 65535
    assert 1 <= height <= 65535
    assert sorted(shown_size(memoryview(data))) == sorted((width, height))


def _decode(data: bytes) -> None:
    width, height = shown_size(data)
    if width * height > MAX_PIXELS:
        return
    for smallest in (1, 16):
        image = _DECODER.decode(data, width, height, smallest, smallest)
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        # The memory around the input must stay as it is.
        model = np.full((24, 24, 3), 7, np.uint8)
        _DECODER.decode_into(Canvas(model[4:-4, 4:-4]), data, (width, height), (smallest, smallest))
        model[4:-4, 4:-4] = 7
        assert (model == 7).all()
    _ENCODER.encode(CapturedFrame(0.0, 0.0, jpeg=data))
    draw_result(make_result(), data)


def _mjpeg(data: bytes) -> None:
    reader = Reader(data)
    step = 1 + reader.byte() * 16
    body = reader.rest()
    whole_jpeg(body)
    stream = JpegStream(MAX_IMAGE_BYTES)
    for at in range(0, len(body), step):
        for image in stream.feed(body[at : at + step]):
            assert image.startswith(b"\xff\xd8")
            assert len(image) <= MAX_IMAGE_BYTES + 2
        assert len(stream._buffer) <= MAX_IMAGE_BYTES + 3 * 8192


def mjpeg_bodies() -> list[bytes]:
    """Multipart bodies: good ones, and broken ones as some cameras send them."""
    images = [image for image in jpegs() if len(image) < MAX_IMAGE_BYTES]
    bodies = []
    for length in ("", "Content-Length: %d\r\n", "Content-Length: 0\r\n", "content-length : 99999999999\r\n"):
        text = b"\x08"
        for image in images[:3]:
            stated = length.replace("%d", str(len(image))).encode()
            text += b"--cut\r\nContent-Type: image/jpeg\r\n" + stated + b"\r\n" + image + b"\r\n"
        bodies.append(text + b"--cut--\r\n")
    return [*bodies, b"\x01" + b"".join(images[:3]), b"\x03" + images[1][:-2] + images[2]]


TARGETS = (
    Target("JPEG headers", _header, (InvalidFrameError,), jpegs),
    Target("JPEG images", _decode, (InvalidFrameError,), jpegs),
    Target("MJPEG and multipart", _mjpeg, (SourceError,), mjpeg_bodies),
)
