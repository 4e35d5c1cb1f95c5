"""JPEGs whose subsampling has no name in libjpeg-turbo's interface: producer, pod, drawing and motion all read them."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from tests.support.results import make_result

from elastic_inference.adapters.drawing import draw_result
from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder, mean_grey
from elastic_inference.adapters.source.motion import MotionDetector
from elastic_inference.domain.errors import InvalidFrameError
from elastic_inference.domain.frame import shown_size
from elastic_inference.flows.inference.jpeg import JpegDecoder

WIDTH, HEIGHT, GREY = 320, 240, 128
# Of the standard Huffman tables: no change of the mean, end of the block.
_LUMA, _CHROMA = "001010", "0000"


def grey_jpeg(*factors: tuple[int, int]) -> bytes:
    """A grey image with these factors (across, down) of luma and both chroma planes."""
    good = simplejpeg.encode_jpeg(np.full((HEIGHT, WIDTH, 3), GREY, np.uint8), colorsubsampling="420")
    data = bytearray(good[: (scan := good.index(b"\xff\xda")) + 2 + int.from_bytes(good[scan + 2 : scan + 4], "big")])
    frame = data.index(b"\xff\xc0")
    for number, (across, down) in enumerate(factors):
        data[frame + 11 + 3 * number] = across << 4 | down
    counts = [across * down for across, down in factors]
    across, down = (8 * max(each) for each in zip(*factors, strict=True))
    units = -(-WIDTH // across) * -(-HEIGHT // down)
    bits = (_LUMA * counts[0] + _CHROMA * (counts[1] + counts[2])) * units
    bits += "1" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return bytes(data) + body + b"\xff\xd9"


RARE = [
    grey_jpeg((3, 1), (1, 1), (1, 1)),
    grey_jpeg((2, 2), (2, 1), (1, 1)),
    grey_jpeg((1, 1), (2, 2), (2, 2)),
    grey_jpeg((4, 2), (1, 1), (1, 1)),
]


@pytest.mark.parametrize("data", RARE, ids=["3x1", "2x2,2x1", "1x1,2x2", "4x2"])
def test_every_part_reads_it(data: bytes) -> None:
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(data)
    small, *size = JpegEncoder(80, 160).encode(CapturedFrame(0, 0, jpeg=data))
    assert (size, mean_grey(small)) == ([160, 120], pytest.approx(GREY, abs=2))
    decoder = JpegDecoder("RGB")
    assert decoder.decode(data, WIDTH, HEIGHT, WIDTH, HEIGHT).mean() == pytest.approx(GREY, abs=1)
    assert not decoder.damaged, "it is whole"
    drawn = draw_result(make_result(width=WIDTH, height=HEIGHT, detections=()), data)
    assert (shown_size(drawn), mean_grey(drawn)) == ((WIDTH, HEIGHT), pytest.approx(GREY, abs=2))
    assert mean_grey(data) == pytest.approx(GREY, abs=2)
    MotionDetector().moves(CapturedFrame(0, 0, jpeg=data), 0.0, alone=False)


@pytest.mark.parametrize("data", RARE, ids=["3x1", "2x2,2x1", "1x1,2x2", "4x2"])
def test_without_its_end_marker_it_is_shown_and_half_of_it_is_not(data: bytes) -> None:
    # All of one colour, which missing rows have too.
    cut = data[:-2]
    decoder = JpegDecoder("RGB")
    assert decoder.decode(cut, WIDTH, HEIGHT, WIDTH, HEIGHT).mean() == pytest.approx(GREY, abs=1)
    assert decoder.damaged
    small, *size = JpegEncoder(80, 160).encode(CapturedFrame(0, 0, jpeg=cut))
    assert (size, mean_grey(small)) == ([160, 120], pytest.approx(GREY, abs=2))
    half = data[: (data.index(b"\xff\xda") + len(data)) // 2]
    for call in (
        lambda: decoder.decode(half, WIDTH, HEIGHT, WIDTH, HEIGHT),
        lambda: JpegEncoder(80, 160).encode(CapturedFrame(0, 0, jpeg=half)),
    ):
        with pytest.raises(InvalidFrameError, match="is missing"):
            call()


def test_one_that_takes_too_much_memory_is_refused() -> None:
    with pytest.raises(InvalidFrameError, match="subsampling"):
        JpegEncoder(80, 16, max_memory=8 * WIDTH * HEIGHT).encode(CapturedFrame(0, 0, jpeg=RARE[0]))
    at = RARE[0].index(b"\xff\xc0") + 5
    huge = RARE[0][:at] + b"\xff\x00\xff\x00" + RARE[0][at + 4 :]
    with pytest.raises(ValueError, match="at most"):
        mean_grey(huge)
    with pytest.raises(InvalidFrameError, match="at most"):
        MotionDetector().moves(CapturedFrame(0, 0, jpeg=huge), 0.0, alone=False)
