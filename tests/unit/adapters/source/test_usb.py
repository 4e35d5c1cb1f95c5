"""USB cameras, as far as they can be tested without a device: raw JPEG packets, and errors about a device."""

from __future__ import annotations

from pathlib import Path

import pytest
import simplejpeg
from tests.support.videos import write_video

from elastic_inference.adapters.source.container import Container
from elastic_inference.adapters.source.usb import UsbSource, open_usb
from elastic_inference.domain.errors import SourceError


def ignore() -> None:
    pass


def test_jpeg_packets_pass_through_undecoded(tmp_path: Path) -> None:
    # No camera here: FFmpeg returns the packets of an MJPEG file just as it does those of a V4L2 camera.
    path = write_video(tmp_path / "clip.avi", 3, codec="mjpeg")
    source = UsbSource(Container(str(path), "The camera", raw_jpeg=True), "The camera")
    stored = path.read_bytes()
    for number in range(3):
        source.grab(ignore)
        captured = source.retrieve()
        assert captured.image is None
        assert captured.jpeg is not None
        assert captured.jpeg in stored
        assert simplejpeg.decode_jpeg(captured.jpeg, "GRAY").mean() == pytest.approx(number * 20, abs=4)
    with pytest.raises(SourceError, match="The camera delivers no more frames"):
        source.grab(ignore)
    source.close()


def test_a_missing_or_wrong_device_is_reported_in_one_line(tmp_path: Path) -> None:
    for camera, why in (
        ("213", "/dev/video213 does not exist"),
        ("/dev/video213", "does not exist"),
        ("/dev/null", "can't be opened: it is not a camera"),
        (str(tmp_path), "is not a camera"),
    ):
        with pytest.raises(SourceError, match=why) as caught:
            open_usb(camera, 15, 1)
        assert "\n" not in str(caught.value)
