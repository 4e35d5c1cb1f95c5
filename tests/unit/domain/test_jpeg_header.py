"""What is remembered of a JPEG's header is what reading it anew would say."""

from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from tests.support.jpeg import tiny_jpeg, with_size

from elastic_inference.domain.frame import jpeg_orientation, jpeg_size, shown_size
from elastic_inference.domain.jpeg_header import jpeg_header
from elastic_inference.domain.jpeg_memory import one_scan

PIXELS = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
SUBSAMPLINGS = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2)}


def saved(mode: str = "RGB", orientation: int = 1, **options: object) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).convert(mode).save(file, "JPEG", exif=exif, **options)
    return file.getvalue()


@pytest.mark.parametrize("again", [False, True], ids=["first", "remembered"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_facts_are_those_of_the_header(orientation: int, again: bool) -> None:
    data = saved(orientation=orientation)
    facts = jpeg_header(data + b"x" if again else data)
    assert facts is not None
    assert (facts.width, facts.height) == jpeg_size(data)
    assert facts.shown == shown_size(data)
    assert facts.orientation == jpeg_orientation(data) == orientation
    assert facts.one_scan is one_scan(data) is True


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_the_planes_of_each_subsampling(subsampling: str) -> None:
    facts = jpeg_header(simplejpeg.encode_jpeg(PIXELS, 80, "BGR", subsampling))
    assert facts is not None
    assert facts.planes == SUBSAMPLINGS[subsampling]


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_have_no_such_planes(mode: str) -> None:
    facts = jpeg_header(saved(mode))
    assert facts is not None
    assert facts.planes is None


def test_a_header_of_another_size_is_another_header() -> None:
    data = simplejpeg.encode_jpeg(PIXELS, 80, "BGR", "420")
    for size in ((64, 48), (48, 64), (64, 48)):
        facts = jpeg_header(with_size(data, *size))
        assert facts is not None
        assert facts.shown == size


def test_a_progressive_image_has_several_scans() -> None:
    facts = jpeg_header(saved(progressive=True))
    assert facts is not None
    assert not facts.one_scan


def test_nothing_is_said_of_an_unclear_header() -> None:
    data = simplejpeg.encode_jpeg(PIXELS, 80, "BGR", "420")
    scan = data.index(b"\xff\xda")
    size = data.index(b"\xff\xc0")
    twice = data[:size] + data[size : size + 19] + data[size:]
    for unclear in (
        data[:2] + b"\0" + data[2:],
        data[:scan],
        data[: scan + 14],
        b"",
        b"GIF89a",
        tiny_jpeg()[:12],
        twice,
    ):
        assert jpeg_header(unclear) is None


def test_many_kinds_of_headers_are_kept_apart() -> None:
    for side in range(1, 60):
        facts = jpeg_header(with_size(simplejpeg.encode_jpeg(PIXELS, 80, "BGR", "420"), side, 2 * side))
        assert facts is not None
        assert facts.shown == (side, 2 * side)
