"""Raw JPEGs through OpenCV, which USB cameras hand out in the same form."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from elastic_inference.adapters.source.opencv import CaptureSource, trim_jpeg
from elastic_inference.adapters.source.usb import open_usb
from elastic_inference.domain.errors import SourceError


def test_padding_after_the_picture_is_cut_off() -> None:
    assert trim_jpeg(b"\xff\xd8abc\xff\xd9\x00\x00\x00") == b"\xff\xd8abc\xff\xd9"
    assert trim_jpeg(b"\xff\xd8abc\xff\xd9") == b"\xff\xd8abc\xff\xd9"
    assert trim_jpeg(b"no end") == b"no end"


def test_a_raw_capture_passes_its_jpegs_through(tmp_path: Path) -> None:
    # No camera here: OpenCV hands out the packets of an MJPEG file just as it does those of a V4L2 camera.
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(3):
        writer.write(np.full((48, 64, 3), number * 50, np.uint8))
    writer.release()
    source = CaptureSource(
        cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1]), "The camera", raw=True
    )
    stored = path.read_bytes()
    for number in range(3):
        source.grab()
        captured = source.retrieve()
        assert captured.pixels is None
        assert captured.jpeg is not None
        assert captured.jpeg in stored
        assert simplejpeg.decode_jpeg(captured.jpeg).mean() == pytest.approx(number * 50, abs=3)
    with pytest.raises(SourceError, match="The camera gives no more frames"):
        source.grab()
    source.close()


def test_a_missing_or_wrong_device_is_said_in_one_line(tmp_path: Path) -> None:
    for camera, why in (
        ("213", "/dev/video213 does not exist"),
        ("/dev/video213", "does not exist"),
        ("/dev/null", "can't be opened"),
        (str(tmp_path), "is not a camera"),
    ):
        with pytest.raises(SourceError, match=why) as caught:
            open_usb(camera, 15, 1)
        assert "\n" not in str(caught.value)
