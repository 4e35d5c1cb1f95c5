"""Which module opens which address."""

from __future__ import annotations

from importlib import import_module

import pytest
from pydantic import ValidationError

from elastic_inference.adapters.source.camera import open_camera
from elastic_inference.base import config
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_choices import CAMERA_SCHEMES
from elastic_inference.domain.errors import SettingError, SourceError, SourceFatalError


@pytest.mark.parametrize("name", sorted({*CAMERA_SCHEMES.values(), "usb"}))
def test_every_module_opens_a_camera_of_the_settings(name: str) -> None:
    module = import_module(f"elastic_inference.adapters.source.{name}")
    assert module.open_source.__annotations__["settings"] == "CameraSettings"


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ("/dev/null/video9", "/dev/null/video9"),
        ("213", "/dev/video213"),
        ("http://127.0.0.1:1/", "127.0.0.1:1"),
        ("RTSP://127.0.0.1:1/", "127.0.0.1:1"),
    ],
)
def test_each_address_reaches_its_module(camera: str, said: str) -> None:
    settings = config.load(config.CameraSettings, {"CAMERA": camera, "SOURCE_STALL_S": "1"})
    with pytest.raises(SourceError, match=said):
        open_camera(settings)


def test_a_protocol_that_ffmpeg_does_not_have_is_said_at_once() -> None:
    settings = config.load(config.CameraSettings, {"CAMERA": "srt://user:secret@127.0.0.1:9000"})
    with pytest.raises(SourceFatalError) as caught:
        open_camera(settings)
    assert str(caught.value) == (
        "The camera srt://127.0.0.1:9000 needs a protocol that this FFmpeg does not support: use its RTSP, RTMP or "
        "HTTP address, or a media server that offers its stream as RTSP."
    )


def test_onvif_is_refused_with_what_to_give_instead() -> None:
    told = "ONVIF is not supported yet: expected the RTSP URL"
    with pytest.raises(SettingError, match=told):
        config.load(config.CameraSettings, {"CAMERA": "ONVIF://10.0.0.7/"})
    with pytest.raises(ValidationError, match=told):
        CameraSpec.model_validate({"name": "gate", "url": "onvif://10.0.0.7/"})
