"""Settings: defaults, former names, what a wrong value gets, and that no secret shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from elastic_inference.base import config
from elastic_inference.base.config_document import settings_markdown
from elastic_inference.base.settings.setting import text_of
from elastic_inference.base.url import hide_password
from elastic_inference.domain.camera_choices import GateKind
from elastic_inference.domain.errors import SettingError

DOCUMENT = Path(__file__).resolve().parents[3] / "doc" / "configuration.md"
NEEDED = {config.FileSettings: {"VIDEO_FILE": "/clip.mp4"}}


def test_document_is_written_from_the_fields() -> None:
    assert DOCUMENT.read_text() == settings_markdown(), "run `make docs`"


@pytest.mark.parametrize("settings_class", config.SERVICES, ids=lambda found: found.__name__)
def test_defaults_are_valid(settings_class: type[config.CommonSettings]) -> None:
    settings = config.load(settings_class, NEEDED.get(settings_class, {}))
    assert str(settings.queue) == str(settings.broker) == "redis://127.0.0.1:6379/0"


def test_an_empty_variable_is_not_set() -> None:
    assert config.load(config.CameraSettings, {"CAMERA_FPS": " ", "STREAM_NAME": ""}).camera_fps == 15


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"QUEUE_PORT": "70000"}, ("QUEUE_PORT='70000'", "expected an integer, at least 1, at most 65535")),
        ({"QUEUE_PORT": "x"}, ("QUEUE_PORT='x'", "expected an integer")),
        ({"QUEUE_PORT": "1.5"}, ("QUEUE_PORT='1.5'", "expected an integer")),
        ({"SOURCE_STALL_S": "nan"}, ("SOURCE_STALL_S='nan'", "expected a number, at least 0.5, at most 600")),
        ({"CAMERA_FPS": "0"}, ("CAMERA_FPS='0'", "more than 0")),
        ({"CAMERA_POOL": "perhaps"}, ("CAMERA_POOL='perhaps'", "expected one of true, false")),
        ({"CAMERA_SIZE": "small"}, ("CAMERA_SIZE='small'", "expected one of auto, source")),
        ({"CAMERA_NETWORKS": "10.0.0.0/8,x"}, ("CAMERA_NETWORKS=", "comma-separated")),
        ({"BROKER_PORT": "0"}, ("BROKER_PORT='0'", "at least 1")),
        ({"QUEUE_URL": "http://host"}, ("QUEUE_URL", "redis+sentinel://")),
        ({"INFER_TYPE": "a,b:c"}, ("INFER_TYPE", "expected a letter or digit")),
        ({"INFER_TYPE": "a,a"}, ("INFER_TYPE", "once")),
        ({"STREAM_NAME": "a/b"}, ("STREAM_NAME='a/b'", "expected")),
        ({"CAMERA": "ftp://x"}, ("CAMERA='ftp://x'", "rtsp://")),
        ({"CAMERA": "rtsp://h/1", "CAMERA_SUBSTREAM": "/dev/video1"}, ("CAMERA_SUBSTREAM='/dev/video1'", "rtsp://")),
        ({"CAMERA": "0", "CAMERA_SUBSTREAM": "rtsp://h/2"}, ("CAMERA_SUBSTREAM=", "only a CAMERA with a network")),
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


@pytest.mark.parametrize(
    ("environ", "value"),
    [
        ({"QUEUE_PORT": " 7000 "}, 7000),
        ({"QUEUE_PORT": "7000.0"}, 7000),
        ({"LOG_LEVEL": "debug"}, "DEBUG"),
        ({"CAMERA_POOL": "True"}, True),
        ({"CAMERA_POOL": "off"}, False),
        ({"CAMERA_GATE": "motion"}, GateKind.MOTION),
        ({"INFER_TYPE": " a, b ,"}, ("a", "b")),
        ({"CAMERA_NETWORKS": ","}, ()),
        ({"VIDEO_DIR": "/clips"}, Path("/clips")),
        ({"BROKER_PASSWORD": " two words \n"}, config.Secret("two words")),
    ],
)
def test_text_becomes_a_value(environ: dict[str, str], value: object) -> None:
    (variable,) = environ
    found = getattr(config.load(config.CameraSettings, environ), variable.lower())
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("settings_class", config.SERVICES, ids=lambda found: found.__name__)
def test_every_number_is_bounded(settings_class: type[config.CommonSettings]) -> None:
    for setting in config.settings_of(settings_class).values():
        if setting.kind in (int, float):
            limits = setting.limits
            assert limits.le is not None, setting.name
            assert limits.ge is not None or limits.gt is not None, setting.name
            assert setting.default is None or limits.allow(setting.default), setting.name


@pytest.mark.parametrize("settings_class", config.SERVICES, ids=lambda found: found.__name__)
def test_a_default_is_what_its_text_gives(settings_class: type[config.CommonSettings]) -> None:
    for setting in config.settings_of(settings_class).values():
        if not setting.is_required and setting.default not in (None, ""):
            assert setting.value(text_of(setting.default)) == setting.default, setting.name


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


def test_broker_inherits_missing_settings_from_the_queue(tmp_path: Path) -> None:
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
        ("/clips/password=1/a.mp4", "/clips/password=1/a.mp4"),
        # Cameras that take the login in the path.
        ("rtsp://h/user=a_password=x_y_channel=1_stream=0.sdp", "rtsp://h/user=a_password=***_channel=1_stream=0.sdp"),
        ("rtsp://h/user=a&password=&channel=1", "rtsp://h/user=a&password=&channel=1"),
        ("rtsp://h/usr=a&Pwd=x/1?y", "rtsp://h/usr=a&Pwd=***/1"),
        ("/clips/a#1.mp4", "/clips/a#1.mp4"),
        ("http://[::1/x", "http://[::1/x"),
        # What the password should have encoded, and what is mistyped.
        ("rtsp://admin:pa/ss@192.168.1.5/s", "rtsp://192.168.1.5/s"),
        ("rtsp://admin:pa#ss@h/s", "rtsp://h/s"),
        ("rtsp://admin:pa@ss@h/s#x", "rtsp://h/s"),
        ("rtsp://admin:pa?ss@h/s", "rtsp://(hidden)"),
        ("http://cam/video?user=a&pwd=p@ss", "http://(hidden)"),
        ("redis://:pa/ss@host:6379/0", "redis://host:6379/0"),
        ("admin:secret@h/video", "h/video"),
        ("admin:se://cret@h/video", "h/video"),
        ("admin:secret@h/video?pwd=p@ss", "(hidden)"),
        ("rtsp:/admin:secret@h", "h"),
        ("rtsp//admin:secret@h", "h"),
    ],
)
def test_hide_password(url: str, shown: str) -> None:
    assert hide_password(url) == shown


@pytest.mark.parametrize(
    ("settings_class", "variable", "value"),
    [
        (config.CameraSettings, "CAMERA", "rtsp://admin:pa/hunter2@192.168.1.5/s"),
        (config.CameraSettings, "CAMERA", "rtsp://admin:pa#hunter2@h/s"),
        (config.CameraSettings, "CAMERA_SUBSTREAM", "rtsp://admin:pa#hunter2@h/s"),
        (config.CameraSettings, "CAMERA", "http://cam/video?user=a&pwd=p@hunter2"),
        (config.GatewaySettings, "QUEUE_URL", "redis://:pa/hunter2@host:6379/0"),
        (config.GatewaySettings, "BROKER_URL", "redis://:pa#hunter2@host:6379/0"),
        (config.GatewaySettings, "BROKER_URL", "redis+sentinel://u:pa?hunter2@h:1,g:2/name"),
    ],
)
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(
    settings_class: type[config.CommonSettings], variable: str, value: str
) -> None:
    with pytest.raises(SettingError, match="percent-encode the password") as caught:
        config.load(settings_class, {variable: value})
    assert variable in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        (
            "udp://@:5004",
            "expected udp://0.0.0.0:5004, which listens on that port of this machine, or udp://239.…:5004",
        ),
        ("rtp://:5004", "expected rtp://0.0.0.0:5004, which listens"),
        ("udp://239.1.1.1", "expected udp://0.0.0.0:5000, which listens"),
        ("udp://0.0.0.0:99999", "a port from 1 to 65535"),
    ],
)
@pytest.mark.parametrize("name", ["CAMERA", "CAMERA_SUBSTREAM"])
def test_an_address_at_which_we_listen_needs_an_address_and_a_port(name: str, camera: str, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        config.load(config.CameraSettings, {name: camera})
    assert words in str(caught.value)


@pytest.mark.parametrize("value", ["admin:hunter2@h/video", "rtsp:/admin:hunter2@h", "rtsp//admin:hunter2@h"])
def test_a_mistyped_camera_shows_no_password(value: str) -> None:
    with pytest.raises(SettingError, match=r"expected a USB index, /dev/videoN, rtsp://… or http://…") as caught:
        config.load(config.CameraSettings, {"CAMERA": value})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", ["h:70000", "h:0", "h:x", "192.168..1.5", "[::1", "", "a b"])
def test_an_invalid_address_is_one_line(address: str) -> None:
    environ = {"WEBSOCKET_SERVER_URL": f"ws://{address}"}
    with pytest.raises(SettingError, match=r"expected ws://host:port.*1 to 65535"):
        config.load(config.GatewaySettings, environ)
    with pytest.raises(SettingError, match=r"CAMERA.*expected.*1 to 65535"):
        config.load(config.CameraSettings, {"CAMERA": f"http://{address}/"})
    for url in ("ws://h/", "ws://[::1]:31611", "ws://ei-relay.ns.svc:31611"):
        assert config.load(config.GatewaySettings, {"WEBSOCKET_SERVER_URL": url}).websocket_server_url == url


def test_a_former_port_is_checked_too() -> None:
    environ = {"WEBSOCKET_SERVER_HOST": "relay", "WEBSOCKET_SERVER_PORT": "70000"}
    with pytest.warns(FutureWarning), pytest.raises(SettingError, match="1 to 65535"):
        config.load(config.GatewaySettings, environ)


@pytest.mark.parametrize("variable", ["QUEUE_HOST", "BROKER_HOST", "GATEWAY_HOST", "METRICS_HOST"])
@pytest.mark.parametrize("host", ["redis://host", "192.168..1.5", "a b", "host/0", "host:6379", "x" * 64])
def test_a_host_is_a_name_or_an_address_alone(variable: str, host: str) -> None:
    with pytest.raises(SettingError, match=f"{variable}.*expected a host name or an IP address alone"):
        config.load(config.GatewaySettings, {variable: host})
    for good in ("::1", "[::1]", "queue.example.", "10.0.0.1", "fe80::1%eth0", "my_host"):
        config.load(config.GatewaySettings, {variable: good})


def login(target: config.RedisTarget) -> tuple[str | None, str | None]:
    return target.username, target.password.get_secret_value() if target.password else None


@pytest.mark.parametrize(
    ("broker", "expected"),
    [
        ({}, ("camera", "queues")),
        ({"BROKER_HOST": "other"}, ("camera", "queues")),
        ({"BROKER_URL": "redis://other/0"}, ("camera", "queues")),
        # The URL contains its own login: the queue's must not go to that server.
        ({"BROKER_URL": "redis://worker:own@other/0"}, (None, None)),
        ({"BROKER_URL": "redis://:own@other/0"}, (None, None)),
        ({"BROKER_URL": "redis+sentinel://worker:own@h:1,g:2/name"}, (None, None)),
        ({"BROKER_URL": "redis://worker:old@other/0", "BROKER_PASSWORD": "own"}, (None, "own")),
        ({"BROKER_URL": "redis://worker:old@other/0", "BROKER_USERNAME": "viewer"}, ("viewer", None)),
        # The same server as the queue's.
        ({"QUEUE_URL": "redis://a:b@q/0", "BROKER_URL": "redis://a:b@q/0"}, ("camera", "queues")),
    ],
)
def test_the_queues_login_goes_to_no_broker_that_has_its_own(
    broker: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    environ = {"QUEUE_HOST": "q", "QUEUE_USERNAME": "camera", "QUEUE_PASSWORD": "queues"}
    settings = config.load(config.GatewaySettings, environ | broker)
    assert login(settings.broker) == expected
    assert login(settings.queue) == ("camera", "queues")
