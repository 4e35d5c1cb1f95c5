"""JPEGs as they come: reduced scales, odd colour models, broken ones."""

from __future__ import annotations

import base64
import threading

import cv2
import numpy as np
import pytest
import simplejpeg
from tests.support.jpeg import with_size

from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason, StaleFrameError
from elastic_inference.domain.frame import shown_size
from elastic_inference.domain.jpeg_memory import one_scan
from elastic_inference.flows.inference.jpeg import MAX_SCANS, JpegDecoder, divisor

# 16x16 of RGB (200, 100, 50), in the colour model of printers.
CMYK_16X16 = (
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwANCQoLCggNCwoLDg4NDxMgFRMSEhMnHB4XIC4pMTAuKS0sMzpKPjM2RjcsLUBXQUZMTlJT"
    "UjI+WmFaUGBKUVJP/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EABcAAQEBAQAAAAAAAAAAAAAAAAAGBQf/xAAUEAEAAAAAAAAAAAAA"
    "AAAAAAAA/9oADgRDAE0AWQBLAAA/AKxnI904AAAB/9k="
)


def colours(width: int = 640, height: int = 480) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack((x * 255 // width, y * 255 // height, np.full_like(x, 40))).astype(np.uint8)


def jpeg(width: int = 640, height: int = 480, subsampling: str = "420") -> bytes:
    return simplejpeg.encode_jpeg(colours(width, height), 90, "BGR", subsampling)


@pytest.mark.parametrize(
    ("size", "minimum", "expected"),
    [
        ((1280, 720), (640, 360), 2),
        ((1280, 720), (641, 360), 1),
        ((1280, 720), (300, 300), 2),
        ((768, 432), (300, 300), 1),
        ((3840, 2160), (300, 300), 4),
        ((7680, 4320), (300, 300), 8),
        ((100, 100), (300, 300), 1),
        ((1281, 721), (161, 91), 8),
    ],
)
def test_the_smallest_scale_that_covers(size: tuple[int, int], minimum: tuple[int, int], expected: int) -> None:
    assert divisor(*size, *minimum) == expected


@pytest.mark.parametrize("minimum", [(640, 480), (320, 240), (160, 120), (80, 60), (1000, 1000)])
def test_a_reduced_image_shows_the_same(minimum: tuple[int, int]) -> None:
    decoded = JpegDecoder("BGR").decode(jpeg(), 640, 480, *minimum)
    assert decoded.shape[1] >= min(minimum[0], 640)
    expected = cv2.resize(colours(), (decoded.shape[1], decoded.shape[0]), interpolation=cv2.INTER_AREA)
    assert np.abs(decoded.astype(int) - expected.astype(int)).mean() < 3


@pytest.mark.parametrize("size", [(641, 481), (639, 479), (17, 9), (1, 1)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    decoded = JpegDecoder("BGR").decode(jpeg(*size), *size, size[0] // 2 or 1, size[1] // 2 or 1)
    assert decoded.shape[2] == 3


def test_the_colours_come_in_the_order_asked_for() -> None:
    data = jpeg()
    bgr = JpegDecoder("BGR").decode(data, 640, 480, 640, 480).copy()
    rgb = JpegDecoder("RGB").decode(data, 640, 480, 640, 480)
    assert np.array_equal(bgr[:, :, ::-1], rgb)


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
def test_every_subsampling(subsampling: str) -> None:
    assert JpegDecoder("BGR").decode(jpeg(subsampling=subsampling), 640, 480, 320, 240).shape == (240, 320, 3)


def test_a_grey_jpeg_becomes_three_channels() -> None:
    data = cv2.imencode(".jpg", colours()[:, :, 0])[1].tobytes()
    decoded = JpegDecoder("RGB").decode(data, 640, 480, 320, 240)
    assert decoded.shape == (240, 320, 3)
    assert np.array_equal(decoded[:, :, 0], decoded[:, :, 2])


def test_a_cmyk_jpeg_has_its_colours() -> None:
    decoded = JpegDecoder("RGB").decode(base64.b64decode(CMYK_16X16), 16, 16, 16, 16)
    assert np.abs(decoded.astype(int) - (200, 100, 50)).max() < 6


def test_a_progressive_jpeg() -> None:
    data = cv2.imencode(".jpg", colours(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert JpegDecoder("BGR").decode(data, 640, 480, 320, 240).shape == (240, 320, 3)


def test_padding_before_the_end_is_harmless() -> None:
    data = jpeg()
    padded = data[:-2] + b"\0" * 20 + data[-2:]
    assert np.array_equal(
        JpegDecoder("BGR").decode(padded, 640, 480, 640, 480), JpegDecoder("BGR").decode(data, 640, 480, 640, 480)
    )


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_jpeg_of_which_much_is_missing_is_truncated(share: float) -> None:
    data = jpeg()
    with pytest.raises(InvalidFrameError) as caught:
        JpegDecoder("BGR").decode(data[: int(len(data) * share)], 640, 480, 320, 240)
    assert caught.value.reason is InvalidReason.TRUNCATED


@pytest.mark.parametrize("cut", [2, 40, 3000])
def test_a_jpeg_with_little_missing_is_decoded_and_marked(cut: int) -> None:
    decoder = JpegDecoder("BGR")
    data = jpeg()
    whole = decoder.decode(data, 640, 480, 640, 480).copy()
    assert not decoder.damaged
    image = decoder.decode(data[:-cut], 640, 480, 640, 480)
    assert decoder.damaged
    assert np.array_equal(image[:300], whole[:300])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_is_applied(orientation: int) -> None:
    pixels = colours(64, 32)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + b"\0\0\0\0\0\0"
    plain = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    data = plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:]
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    width, height = shown_size(data)
    assert (height, width) == expected.shape[:2]
    image = JpegDecoder("BGR").decode(data, width, height, width, height)
    assert np.abs(image.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("data", [b"\xff\xd8\xff\xe0" + b"abc" * 50, b"\xff\xd8" + b"\0" * 500, b"GIF89a", b""])
def test_data_that_is_not_a_jpeg_is_called_so(data: bytes) -> None:
    with pytest.raises(InvalidFrameError) as caught:
        JpegDecoder("BGR").decode(data, 640, 480, 320, 240)
    assert caught.value.reason is InvalidReason.NOT_JPEG


def test_after_a_broken_one_the_next_is_fine() -> None:
    decoder = JpegDecoder("BGR")
    data = jpeg()
    for _ in range(3):
        with pytest.raises(InvalidFrameError):
            decoder.decode(data[:2000], 640, 480, 320, 240)
        assert decoder.decode(data, 640, 480, 320, 240).shape == (240, 320, 3)


def progressive(extra_scans: int = 0) -> bytes:
    """A progressive JPEG of 64x48, its last scan repeated."""
    good, encoded = cv2.imencode(".jpg", colours(64, 48), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert good
    data = encoded.tobytes()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * extra_scans + data[-2:]


def test_one_frame_of_very_many_scans_holds_no_worker() -> None:
    decoder = JpegDecoder("BGR")
    assert decoder.decode(progressive(), 64, 48, 64, 48).shape == (48, 64, 3)
    with pytest.raises(InvalidFrameError, match="scans") as raised:
        decoder.decode(progressive(MAX_SCANS), 64, 48, 64, 48)
    assert raised.value.reason is InvalidReason.NOT_JPEG


def test_a_scan_after_the_only_one_is_never_looked_for() -> None:
    data = jpeg(64, 48)
    assert one_scan(data)
    assert one_scan(simplejpeg.encode_jpeg(colours(64, 48)[:, :, :1].copy(), 90, "GRAY", "Gray"))
    assert JpegDecoder("BGR").decode(data[:-2] + b"\xff\xda" * 100 + data[-2:], 64, 48, 64, 48).shape == (48, 64, 3)


@pytest.mark.parametrize("lie", [b"\xff\xd0", b"\xff\x01", b"\x00", b"\xff\xd9"], ids=["RST", "TEM", "rubbish", "EOI"])
def test_an_unclear_header_may_mean_more_scans(lie: bytes) -> None:
    data = jpeg(64, 48)
    assert not one_scan(data[:2] + lie + data[2:])
    assert not one_scan(progressive())
    at = data.index(b"\xff\xda")
    assert not one_scan(data[: at + 4] + b"\x01" + data[at + 5 :]), "the first of several, each with one component"
    assert not one_scan(data[:3])


def test_what_never_fits_into_the_memory_is_too_large() -> None:
    needed = 2 * 1024 * 1024
    data, budget = progressive(), ByteBudget(needed)
    decoder = JpegDecoder("BGR", budget)
    assert decoder.decode(data, 64, 48, 64, 48).shape == (48, 64, 3)
    assert 64 * 48 * 3 < budget.used < 100_000
    costly = with_size(data, 1280, 960)
    with pytest.raises(InvalidFrameError, match="MiB of memory") as raised:
        decoder.decode(costly, 1280, 960, 160, 120)
    assert raised.value.reason is InvalidReason.TOO_LARGE
    decoder.release()
    assert budget.used == 0


def test_what_does_not_fit_now_waits_for_the_others() -> None:
    data, budget = with_size(progressive(), 1280, 960), ByteBudget(6 * 1024 * 1024)
    decoders = [JpegDecoder("BGR", budget) for _ in range(4)]
    peaks = []

    def work(decoder: JpegDecoder) -> None:
        for _ in range(5):
            with pytest.raises(InvalidFrameError, match="is missing"):
                decoder.decode(data, 1280, 960, 160, 120)
            peaks.append(budget.used)
            decoder.release()

    threads = [threading.Thread(target=work, args=(decoder,)) for decoder in decoders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(peaks) == 20
    assert max(peaks) <= budget.total
    assert budget.used == 0


def test_a_wait_that_takes_too_long_ends_and_the_next_gets_its_turn() -> None:
    data, budget = progressive(), ByteBudget(1_000_000)
    budget.take(999_000)
    with pytest.raises(StaleFrameError):
        JpegDecoder("BGR", budget, wait_s=0.05).decode(data, 64, 48, 64, 48)
    budget.give_back(999_000)
    assert JpegDecoder("BGR", budget, wait_s=0.05).decode(data, 64, 48, 64, 48).shape == (48, 64, 3)


def test_opencv_decodes_at_full_scale_and_its_memory_counts() -> None:
    data = jpeg(64, 48, "444").replace(b"\x01\x11\x00\x02\x11\x01", b"\x01\x31\x00\x02\x11\x01")
    rows, pixels = 64 * 256, 64 * 48 * 3
    budget = ByteBudget(rows + 2 * pixels)
    decoder = JpegDecoder("RGB", budget)
    assert decoder.decode(data, 64, 48, 8, 6).shape == (48, 64, 3)
    assert budget.used == budget.total
    with pytest.raises(InvalidFrameError) as raised:
        JpegDecoder("RGB", ByteBudget(rows + 2 * pixels - 1)).decode(data, 64, 48, 8, 6)
    assert raised.value.reason is InvalidReason.TOO_LARGE


def test_a_large_buffer_is_not_kept() -> None:
    decoder = JpegDecoder("BGR")
    small, large = jpeg(640, 480), simplejpeg.encode_jpeg(np.zeros((1600, 2400, 3), np.uint8))
    kept = decoder.decode(small, 640, 480, 640, 480).base
    decoder.release()
    assert decoder.decode(small, 640, 480, 640, 480).base is kept
    decoder.decode(large, 2400, 1600, 2400, 1600)
    decoder.release()
    assert decoder._buffer.size == 0
