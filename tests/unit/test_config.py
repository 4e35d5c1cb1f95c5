"""Settings: defaults, former names, what a wrong value gets, and that no secret shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from elastic_inference import config
from elastic_inference.config_document import SETTINGS, settings_markdown
from elastic_inference.errors import SettingError

DOCUMENT = Path(__file__).resolve().parents[2] / "doc" / "configuration.md"
NEEDED = {config.FileSettings: {"VIDEO_FILE": "/clip.mp4"}}


def test_document_is_written_from_the_fields() -> None:
    assert DOCUMENT.read_text() == settings_markdown(), "run `make docs`"


@pytest.mark.parametrize("settings_class", SETTINGS, ids=lambda found: found.__name__)
def test_defaults_are_valid(settings_class: type[config.CommonSettings]) -> None:
    settings = config.load(settings_class, NEEDED.get(settings_class, {}))
    assert str(settings.queue) == str(settings.broker) == "redis://127.0.0.1:6379/0"


def test_an_empty_variable_is_not_set() -> None:
    assert config.load(config.CameraSettings, {"CAMERA_FPS": " ", "STREAM_NAME": ""}).camera_fps == 15


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"QUEUE_PORT": "70000"}, ("QUEUE_PORT='70000'", "65535")),
        ({"QUEUE_PORT": "x"}, ("QUEUE_PORT='x'", "integer")),
        ({"QUEUE_URL": "http://host"}, ("QUEUE_URL", "redis+sentinel://")),
        ({"INFER_TYPE": "a,b:c"}, ("INFER_TYPE", "expected a letter or digit")),
        ({"INFER_TYPE": "a,a"}, ("INFER_TYPE", "once")),
        ({"STREAM_NAME": "a/b"}, ("STREAM_NAME='a/b'", "expected")),
        ({"CAMERA": "ftp://x"}, ("CAMERA='ftp://x'", "rtsp://")),
        ({"JPEG_QUALITY": "0"}, ("JPEG_QUALITY='0'", "1")),
        ({"LOG_FORMAT": "xml"}, ("LOG_FORMAT='xml'", "json")),
        ({"QUEUE_PASSWORD_FILE": "/none/such"}, ("QUEUE_PASSWORD_FILE", "/none/such", "readable file")),
    ],
)
def test_wrong_values_are_named(environ: dict[str, str], words: tuple[str, ...]) -> None:
    with pytest.raises(SettingError) as caught:
        config.load(config.CameraSettings, environ)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_missing_video_file_is_named() -> None:
    with pytest.raises(SettingError, match="VIDEO_FILE"):
        config.load(config.FileSettings, {})


@pytest.mark.parametrize("former", [*config.FORMER_NAMES, "WEBSOCKET_SERVER_HOST"])
def test_former_names_warn_once_and_work(former: str) -> None:
    value = "4711" if former.endswith("PORT") else "7" if former == "CAMERA_INDEX" else "elsewhere"
    settings_class = {
        "CAMERA_INDEX": config.CameraSettings,
        "MODEL_DIR": config.InferenceSettings,
    }.get(former, config.GatewaySettings)
    with pytest.warns(FutureWarning, match=former) as caught:
        settings = config.load(settings_class, {former: value})
    assert len(caught) == 1
    if former == "WEBSOCKET_SERVER_HOST":
        assert isinstance(settings, config.GatewaySettings)
        assert settings.websocket_server_url == "ws://elsewhere:31611"
    else:
        assert str(getattr(settings, config.FORMER_NAMES[former].lower())) == value


def test_broker_takes_from_the_queue_what_it_has_not(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("from-file\n")
    environ = {"QUEUE_HOST": "::1", "QUEUE_USERNAME": "camera", "QUEUE_PASSWORD_FILE": str(secret)}
    settings = config.load(config.GatewaySettings, environ | {"BROKER_PORT": "7000"})
    assert str(settings.queue) == "redis://[::1]:6379/0"
    assert str(settings.broker) == "redis://[::1]:7000/0"
    assert settings.broker.username == "camera"
    assert settings.broker.password is not None
    assert settings.broker.password.get_secret_value() == "from-file"


def test_no_secret_shows() -> None:
    environ = {
        "QUEUE_URL": "redis://camera:hidden1@host:1/0",
        "QUEUE_PASSWORD": "hidden2",
        "GATEWAY_TOKEN": "hidden3",
    }
    settings = config.load(config.GatewaySettings, environ)
    for text in (repr(settings), str(settings.queue), repr(settings.queue), str(settings)):
        assert "hidden" not in text
    with pytest.raises(SettingError) as caught:
        config.load(config.GatewaySettings, {"QUEUE_URL": "redis:/camera:hidden@host"})
    assert "hidden@" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:pw@cam:554/stream?token=x", "rtsp://cam:554/stream"),
        ("redis://h:1,g:2/0", "redis://h:1,g:2/0"),
        ("0", "0"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_hide_password(url: str, shown: str) -> None:
    assert config.hide_password(url) == shown
