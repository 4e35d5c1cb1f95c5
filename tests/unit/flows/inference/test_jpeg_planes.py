"""Images resized plane by plane look like those resized in colour; all others are left to `decode`."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image
from tests.conftest import missing_tool

from elastic_inference.adapters import jpeg_planes
from elastic_inference.adapters.jpeg_planes import Canvas, PlaneBuffer
from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.domain.jpeg_memory import row_bytes
from elastic_inference.flows.inference.adapters.preprocessing import (
    PreparedModel,
    Resize,
    begin_input,
    preprocess,
)
from elastic_inference.flows.inference.frame_detector import min_decoded_size
from elastic_inference.flows.inference.jpeg import JpegDecoder, _resize

SQUARE = PreparedModel(None, "input", 300, 300)
LETTERBOX = PreparedModel(None, "input", 417, 331, "RGB", Resize.LETTERBOX, fill=114)
CENTRED = PreparedModel(None, "input", 128, 128, "RGB", Resize.LETTERBOX, fill=(1, 2, 3), centred=True)


@pytest.fixture(autouse=True)
def _library() -> None:
    if not jpeg_planes.available():
        missing_tool("libturbojpeg (Debian: libturbojpeg0)")


def colours(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack((x * 255 // width, y * 255 // height, (x + y) * 127 // (width + height))).astype(np.uint8)


def jpeg(width: int = 640, height: int = 480, subsampling: str = "420") -> bytes:
    return simplejpeg.encode_jpeg(colours(width, height), 90, "BGR", subsampling)


def canvas() -> Canvas:
    return Canvas(np.zeros((300, 300, 3), np.uint8))


def both_ways(data: bytes, size: tuple[int, int], model: PreparedModel) -> tuple[np.ndarray, np.ndarray]:
    """The model's input, resized in colour and plane by plane."""
    decoder, minimum = JpegDecoder(model.colour), min_decoded_size(*size, model)
    whole = np.full((1, model.height, model.width, 3), 77, np.uint8)
    planes = whole.copy()
    preprocess(decoder.decode(data, *size, *minimum), model, out=whole)
    assert decoder.decode_into(Canvas(begin_input(*size, model, planes)), data, size, minimum)
    assert not decoder.damaged
    return whole, planes


@pytest.mark.parametrize("model", [SQUARE, LETTERBOX, CENTRED], ids=["stretched", "letterbox", "centred"])
@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440"])
@pytest.mark.parametrize("size", [(768, 432), (1280, 720), (1921, 1081), (641, 361), (301, 203), (35, 39)])
def test_both_ways_look_the_same(size: tuple[int, int], subsampling: str, model: PreparedModel) -> None:
    whole, planes = both_ways(jpeg(*size, subsampling), size, model)
    difference = np.abs(whole.astype(int) - planes)
    assert difference.mean() < 2.5
    # At the frame's edges, which may lie a pixel apart.
    assert np.percentile(difference, 99) < 12


@pytest.mark.parametrize("colour", ["BGR", "RGB"])
@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440"])
@pytest.mark.parametrize("by", [1, 2, 4, 8])
def test_an_image_that_is_not_resized_goes_straight_into_the_input(by: int, subsampling: str, colour: str) -> None:
    data, size = jpeg(641, 361, subsampling), (641, 361)
    small = -(-641 // by), -(-361 // by)
    around = np.full((small[1] + 4, small[0] + 6, 3), 9, np.uint8)
    part = around[2:-2, 3:-3]
    decoder = JpegDecoder(colour, ByteBudget(row_bytes(641)))
    assert decoder.decode_into(Canvas(part), data, size, small)
    expected = JpegDecoder(colour).decode(data, *size, *small)
    # At half scale, one of the two ways takes the library's slow transform.
    assert np.abs(expected.astype(int) - part).max() <= (6 if by == 2 else 0)
    part[:] = 9
    assert (around == 9).all()
    assert not decoder.decode_into(Canvas(part), data[:-3000], size, small), "a part is missing"


def saved(mode: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(colours(640, 480)).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 3
    return saved("RGB", exif=exif)


@pytest.mark.parametrize(
    "data",
    [
        saved("L"),
        saved("CMYK"),
        saved("RGB", progressive=True),
        saved("RGB", keep_rgb=True),
        turned(),
        jpeg(subsampling="411"),
        jpeg()[:-3000],
        jpeg()[:2] + b"\0" + jpeg()[2:],
        jpeg()[:-2] + b"\0" * 20 + b"\xff\xd9",
        jpeg(subsampling="444").replace(b"\x01\x11\x00\x02\x11\x01", b"\x01\x31\x00\x02\x11\x01"),
    ],
    ids=["grey", "cmyk", "progressive", "rgb", "turned", "411", "damaged", "stray", "padded", "odd"],
)
def test_other_images_are_left_to_the_usual_way(data: bytes) -> None:
    decoder = JpegDecoder("BGR")
    image = canvas()
    assert decoder.decode_into(image, jpeg(), (640, 480), (300, 300))
    assert not decoder.decode_into(image, data, (640, 480), (300, 300))
    assert decoder.decode(data, 640, 480, 300, 300).shape[2] == 3
    decoder.release()
    assert decoder.decode_into(image, jpeg(), (640, 480), (300, 300)), "the next one is fine"


def test_a_size_other_than_the_headers_is_refused() -> None:
    assert not JpegDecoder("BGR").decode_into(canvas(), jpeg(), (641, 480), (300, 300))


def test_nothing_is_written_beside_the_image() -> None:
    model = np.full((340, 420, 3), 9, np.uint8)
    part = model[20:321, 10:311]
    assert JpegDecoder("RGB").decode_into(Canvas(part), jpeg(641, 361), (641, 361), (300, 300))
    model[20:321, 10:311] = 9
    assert (model == 9).all()


def test_the_memory_counts_and_is_returned() -> None:
    needed = row_bytes(640) + jpeg_planes.plane_bytes(640, 480)
    budget, image = ByteBudget(needed), canvas()
    decoder = JpegDecoder("BGR", budget)
    assert decoder.decode_into(image, jpeg(), (640, 480), (300, 300))
    assert budget.used == needed
    decoder.release()
    assert budget.used == 0
    assert not JpegDecoder("BGR", ByteBudget(needed - 1)).decode_into(image, jpeg(), (640, 480), (300, 300))


def test_planes_of_a_large_image_are_not_kept() -> None:
    decoder, image = JpegDecoder("BGR"), canvas()
    assert decoder.decode_into(image, jpeg(), (640, 480), (300, 300))
    kept = decoder._planes
    decoder.release()
    assert decoder._planes is kept
    assert decoder.decode_into(image, jpeg(2400, 1600), (2400, 1600), (1600, 1600))
    decoder.release()
    assert decoder._planes.size == 0


def test_without_the_library_everything_goes_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_planes, "_LIBRARY", "libmissing.so.0")
    jpeg_planes._library.cache_clear()
    try:
        assert not jpeg_planes.available()
        decoder = JpegDecoder("BGR")
        assert not decoder.decode_into(canvas(), jpeg(), (640, 480), (300, 300))
        assert decoder.decode(jpeg(), 640, 480, 300, 300).shape == (480, 640, 3)
    finally:
        jpeg_planes._library.cache_clear()


def test_a_frame_of_another_size_leaves_nothing_of_the_one_before() -> None:
    decoder, target = JpegDecoder("RGB"), np.zeros((1, 128, 128, 3), np.uint8)
    for size in ((640, 480), (480, 640), (640, 480)):
        minimum = min_decoded_size(*size, CENTRED)
        expected = preprocess(JpegDecoder("RGB").decode(jpeg(*size), *size, *minimum), CENTRED)
        assert decoder.decode_into(Canvas(begin_input(*size, CENTRED, target)), jpeg(*size), size, minimum)
        assert np.percentile(np.abs(expected.astype(int) - target), 99) < 12
    assert cv2.countNonZero(cv2.absdiff(target[0, 0], np.full((128, 3), (1, 2, 3), np.uint8))) == 0


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (1, 2)], ids=str)
@pytest.mark.parametrize("height", [90, 151, 299, 300, 301, 432, 450])
def test_chroma_planes_that_are_resized_together_do_not_mix(height: int, subsampling: tuple[int, int]) -> None:
    source, target = PlaneBuffer(768, 432, subsampling), PlaneBuffer(300, height, subsampling)
    random = np.random.default_rng(height)
    source.luma[:] = random.integers(0, 256, source.luma.shape, np.uint8)
    for plane, least in zip(source.chroma_planes(), (0, 200), strict=True):
        plane[:] = random.integers(least, least + 50, plane.shape, np.uint8)
    _resize(source, target)
    pairs = zip(source.chroma_planes(), target.chroma_planes(), strict=True)
    for plane, small in [(source.luma, target.luma), *pairs]:
        expected = cv2.resize(plane, small.shape[::-1], interpolation=cv2.INTER_LINEAR)
        assert np.abs(expected.astype(int) - small).max() <= 1
