"""Finding JPEG images in a stream of bytes, however the bytes arrive and whatever is between the images."""

from __future__ import annotations

import time

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.adapters.source.jpeg_stream import JpegStream, whole_jpeg
from elastic_inference.domain.errors import SourceError


def make_jpeg(seed: int, size: int = 48) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    return bytes(simplejpeg.encode_jpeg(noise, 90, colorspace="BGR"))


def with_thumbnail(jpeg: bytes) -> bytes:
    """The image with an EXIF segment that holds a whole JPEG of its own."""
    inner = b"Exif\0\0" + make_jpeg(99, 16)
    return jpeg[:2] + b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner + jpeg[2:]


IMAGES = [make_jpeg(1), with_thumbnail(make_jpeg(2)), make_jpeg(3, 64)]


def body(images: list[bytes], form: str) -> bytes:
    """A camera's body; `form` names what is wrong with it."""
    text = b""
    for image in images:
        length = {
            "length": f"Content-Length: {len(image)}\r\n",
            "zero length": "Content-Length: 0\r\n",
            "short length": f"Content-Length: {len(image) // 2}\r\n",
            "long length": f"Content-Length: {len(image) + 7}\r\n",
        }.get(form, "")
        head = f"--cut\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode()
        if form == "bare":
            head = b""
        elif form == "other boundary":
            head = head.replace(b"--cut", b"--not what the head said")
        elif form == "empty line":
            head += b"\r\n"
        text += head + image + (b"" if form == "bare" else b"\r\n")
    return text + b"--cut--\r\n"


FORMS = ["length", "none", "zero length", "short length", "long length", "bare", "other boundary", "empty line"]


@given(form=st.sampled_from(FORMS), sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=20))
def test_images_come_out_whole_whatever_their_boundaries(form: str, sizes: list[int]) -> None:
    stream = JpegStream(100_000)
    data = body([*IMAGES, IMAGES[0]], form)
    found: list[bytes] = []
    at = turn = 0
    while at < len(data):
        step = sizes[turn % len(sizes)]
        found += stream.feed(data[at : at + step])
        at += step
        turn += 1
    assert found[: len(IMAGES)] == IMAGES
    assert stream.oversize == 0
    assert stream.unfinished == 0


def test_an_image_without_end_marker_gets_one_and_is_counted() -> None:
    stream = JpegStream(100_000)
    cut = [image[:-2] for image in IMAGES]
    found = stream.feed(body([*cut, IMAGES[0]], "none"))
    assert found == [*IMAGES, IMAGES[0]]
    assert stream.unfinished == len(cut)


@pytest.mark.parametrize("form", ["length", "none"])
def test_an_image_that_is_too_large_is_skipped_and_the_next_one_read(form: str) -> None:
    stream = JpegStream(8000)
    small = make_jpeg(4, 24)
    data = body([make_jpeg(5, 128), small, small], form)
    found = [image for at in range(0, len(data), 777) for image in stream.feed(data[at : at + 777])]
    assert found[0] == small
    assert stream.oversize >= 1


def test_a_body_without_images_is_an_error_and_takes_no_memory() -> None:
    stream = JpegStream(10_000)
    for _ in range(80):
        stream.feed(b"z" * 1000)
    with pytest.raises(SourceError, match="no JPEG image"):
        stream.feed(b"z" * 20_000)
    assert len(stream._buffer) < 20_000


@given(st.lists(st.binary(max_size=2000), max_size=20))
def test_any_bytes_give_images_or_a_source_error(pieces: list[bytes]) -> None:
    stream = JpegStream(5000)
    try:
        for piece in pieces:
            stream.feed(b"\xff\xd8" + piece)
    except SourceError:
        pass
    assert len(stream._buffer) <= 5000 + 8192 + 2100


def test_padding_after_the_image_is_cut_off() -> None:
    for image in IMAGES:
        assert whole_jpeg(image + b"\0" * 500) == image
        assert whole_jpeg(image) == image
        assert whole_jpeg(image[:-2]) == image, "a thumbnail's end is not the image's"
    assert whole_jpeg(b"no image") == b"no image"


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n", id="a boundary's text"),
        pytest.param(b"\xff", id="fill bytes"),
        pytest.param(b"\xff\xd8", id="starts alone"),
        pytest.param(b"\xff\xd8\xff\xd9", id="empty images"),
    ],
)
def test_nonsense_inside_an_image_costs_its_length_and_no_more(part: bytes) -> None:
    stream, size = JpegStream(4 * 1024 * 1024), 2_000_000
    data = b"\xff\xd8" + part * (size // len(part))
    began_s = time.process_time()
    for at in range(0, size, 128):
        stream.feed(data[at : at + 128])
    # A tenth to half a second on a quiet machine; over ten seconds if each search began at the start of the image.
    assert time.process_time() - began_s < 4
