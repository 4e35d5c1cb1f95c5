"""Colours of decoded frames in the JPEG: each matrix, range and layout, against the formulas of ITU-T H.273."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.decoder import Deinterlacer
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder

PATCH = 32
COLOURS = (
    *((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255), (255, 255, 255)),
    *((0, 0, 0), (128, 128, 128), (200, 60, 30), (20, 90, 180), (240, 200, 170)),
)
# The shares of red and blue in luma, by the numbers of the matrices.
WEIGHTS = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
WEIGHTS[9] = (0.2627, 0.0593)
MPEG, JPEG, UNSTATED = 1, 2, 0


def patches(
    matrix: int, colour_range: int, *, layout: str = "420", bits: int = 8, weights: tuple[float, float] | None = None
) -> av.VideoFrame:
    """A frame with a row of patches of COLOURS; `weights` are those of the matrix by default."""
    red, blue = weights or WEIGHTS[matrix]
    rgb = np.repeat(np.array(COLOURS) / 255, PATCH, axis=0)
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    planes = [luma, (rgb[:, 2] - luma) / (2 - 2 * blue), (rgb[:, 0] - luma) / (2 - 2 * red)]
    top, scale = (1 << bits) - 1, 1 << (bits - 8)
    if colour_range == JPEG:
        levels = [planes[0] * top, *(plane * top + 128 * scale for plane in planes[1:])]
    else:
        levels = [(16 + planes[0] * 219) * scale, *((128 + plane * 224) * scale for plane in planes[1:])]
    samples = [np.rint(level).clip(0, top).astype(np.uint8 if bits == 8 else np.uint16) for level in levels]
    image = av.VideoFrame(rgb.shape[0], PATCH, f"yuv{layout}p{'' if bits == 8 else f'{bits}le'}")
    for plane, row in zip(image.planes, samples, strict=True):
        fill(plane, row[:: len(row) // plane.width])
    image.colorspace, image.color_range = matrix, colour_range
    return image


def fill(plane: av.video.plane.VideoPlane, row: npt.NDArray[np.generic]) -> None:
    """Writes `row` into each row of the plane."""
    padded = row.tobytes().ljust(plane.line_size, b"\0")
    plane.update(padded * (plane.buffer_size // plane.line_size))


def shown(image: av.VideoFrame, resized_to: int | None = None) -> list[tuple[int, ...]]:
    """The colours in the middle of each patch of the JPEG."""
    data, *_ = JpegEncoder(100, resized_to).encode(CapturedFrame(0.0, 0.0, image=image))
    pixels = simplejpeg.decode_jpeg(data, "RGB")
    height, width = pixels.shape[:2]
    middles = [int((at + 0.5) * width / len(COLOURS)) for at in range(len(COLOURS))]
    return [tuple(map(int, pixels[height // 2, middle])) for middle in middles]


def assert_shown(found: Sequence[tuple[int, ...]], within: int = 6) -> None:
    """Each colour is shown as it was, `within` this many levels."""
    for expected, colour in zip(COLOURS, found, strict=True):
        assert np.abs(np.array(expected) - np.array(colour)).max() <= within, (expected, colour)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("layout", ["420", "422", "444"])
@pytest.mark.parametrize("colour_range", [MPEG, JPEG, UNSTATED])
@pytest.mark.parametrize("matrix", sorted(WEIGHTS))
def test_each_matrix_and_range_is_shown_true(matrix: int, colour_range: int, layout: str, bits: int) -> None:
    assert_shown(shown(patches(matrix, colour_range, layout=layout, bits=bits)))


@pytest.mark.parametrize("width", [len(COLOURS) * 16, len(COLOURS) * 48, len(COLOURS) * 16 - 1])
def test_a_resized_frame_keeps_its_colours(width: int) -> None:
    assert_shown(shown(patches(1, MPEG), width))


@pytest.mark.parametrize("pixel_format", ["nv12", "p010le", "yuyv422"])
def test_another_layout_is_converted_too(pixel_format: str) -> None:
    image = patches(1, MPEG).reformat(format=pixel_format)
    assert_shown(shown(image))


def enlarged(image: av.VideoFrame, width: int, height: int, pixel_format: str = "yuv420p") -> av.VideoFrame:
    large = image.reformat(width, height, format=pixel_format, interpolation="POINT")
    large.colorspace, large.color_range = 2, UNSTATED
    return large


def test_a_video_that_states_no_matrix_is_shown_as_players_show_it() -> None:
    width = len(COLOURS) * PATCH
    assert_shown(shown(enlarged(patches(1, MPEG), width, 720)))
    assert_shown(shown(enlarged(patches(1, MPEG), 1536, 64)))
    assert_shown(shown(enlarged(patches(5, MPEG), width, 576)))
    # A capture device means BT.601 at each size.
    assert_shown(shown(enlarged(patches(5, MPEG), 1536, 720, "yuyv422")))


def test_colours_that_change_in_the_running_stream_are_followed() -> None:
    encoder = JpegEncoder(100)
    for matrix, colour_range in ((1, MPEG), (5, MPEG), (1, JPEG), (5, JPEG), (1, MPEG)):
        data, *_ = encoder.encode(CapturedFrame(0.0, 0.0, image=patches(matrix, colour_range)))
        red = simplejpeg.decode_jpeg(data, "RGB")[PATCH // 2, PATCH // 2]
        assert np.abs(red.astype(int) - COLOURS[0]).max() <= 6


def test_each_kind_of_frame_is_converted_anew_in_any_order() -> None:
    encoder = JpegEncoder(100)
    kinds = [
        *((1, MPEG, "420", 8), (1, UNSTATED, "420", 8), (9, MPEG, "420", 8), (1, JPEG, "420", 8), (5, JPEG, "420", 8)),
        *((1, MPEG, "422", 8), (1, MPEG, "420", 10), (1, MPEG, "420", 8)),
    ]
    for matrix, colour_range, layout, bits in [each for kind in kinds for each in (kind, kind, kinds[0])]:
        image = patches(matrix, colour_range, layout=layout, bits=bits)
        data, *_ = encoder.encode(CapturedFrame(0.0, 0.0, image=image))
        again, *_ = JpegEncoder(100).encode(
            CapturedFrame(0.0, 0.0, image=patches(matrix, colour_range, layout=layout, bits=bits))
        )
        assert data == again


@pytest.mark.parametrize("size", [(96, 48), (95, 47)])
@pytest.mark.parametrize(("colour_range", "expected"), [(MPEG, (0, 128, 255)), (JPEG, (16, 126, 235))])
def test_grey_video_is_expanded_if_its_range_is_limited(
    colour_range: int, expected: tuple[int, ...], size: tuple[int, int]
) -> None:
    width, height = size
    image = av.VideoFrame.from_ndarray(np.repeat([[16, 126, 235]], height, 0).astype(np.uint8).repeat(32, 1), "gray")
    image = image.reformat(width, height)
    image.color_range = colour_range
    data, *_ = JpegEncoder(100).encode(CapturedFrame(0.0, 0.0, image=image))
    levels = simplejpeg.decode_jpeg(data, "GRAY")[height // 2, (16, 48, 80), 0]
    assert np.abs(levels.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv422p10le"])
@pytest.mark.parametrize(("less_wide", "less_high"), [(1, 1), (0, 1), (1, 0)])
def test_an_odd_size_keeps_its_colours(pixel_format: str, less_wide: int, less_high: int) -> None:
    image = patches(1, MPEG, layout="444")
    width, height = image.width - less_wide, image.height - less_high
    odd = image.reformat(width, height, format=pixel_format)
    assert_shown(shown(odd))
    assert_shown(shown(odd, resized_to=width - 1))


def test_no_conversion_starts_threads() -> None:
    image = patches(1, MPEG)
    image.pts, image.time_base = 0, Fraction(1, 25)
    before = set(os.listdir("/proc/self/task"))
    deinterlacer = Deinterlacer(image)
    encoders = [JpegEncoder(80), JpegEncoder(80, 2 * image.width)]
    for encoder in encoders:
        encoder.encode(CapturedFrame(0.0, 0.0, image=image))
    assert len([*deinterlacer.push(image), *deinterlacer.flush()]) == 1
    assert set(os.listdir("/proc/self/task")) <= before
