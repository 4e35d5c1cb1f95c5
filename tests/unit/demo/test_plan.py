"""What the demo runs, from its options."""

import socket
from pathlib import Path

import pytest

from elastic_inference.demo import main, plan
from elastic_inference.errors import ElasticInferenceError


def make(tmp_path: Path, **changes: object) -> plan.Plan:
    values: dict[str, object] = {
        "streams": (plan.Stream("a.mp4", ("people", "face"), "a"), plan.Stream("0", ("people",), "camera-0", True)),
        "models_dir": tmp_path,
        "state_dir": tmp_path,
        "host": "127.0.0.1",
        "gateway_port": 31002,
        "queue_port": 31003,
        "websocket_port": 31611,
    }
    return plan.Plan(**{**values, **changes})  # type: ignore[arg-type]


def test_one_pod_a_type_and_one_producer_a_stream(tmp_path: Path) -> None:
    children = plan.children(make(tmp_path))
    assert [child.name for child in children] == [
        "redis",
        "websocket",
        "gateway",
        "infer people",
        "infer face",
        "file a",
        "camera camera-0",
    ]
    by_name = {child.name: child for child in children}
    assert by_name["file a"].environ["INFER_TYPE"] == "people,face"
    assert by_name["camera camera-0"].environ["CAMERA"] == "0"


def test_producers_end_first_and_redis_last(tmp_path: Path) -> None:
    groups = {child.name: child.group for child in plan.children(make(tmp_path))}
    assert groups["file a"] < groups["infer face"] < groups["gateway"] < groups["redis"]


def test_a_camera_url_is_not_an_argument(tmp_path: Path) -> None:
    stream = plan.Stream("rtsp://user:secret@camera/1", ("people",), "camera", True)
    for child in plan.children(make(tmp_path, streams=(stream,))):
        assert not any("secret" in part for part in child.command)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/clips/Shop front.mp4", "Shop_front"),
        ("0", "camera-0"),
        ("rtsp://user:secret@gate-1.local:554/stream", "gate-1.local"),
        ("http://10.0.0.9/mjpg", "10.0.0.9"),
    ],
)
def test_streams_are_named_after_their_source(source: str, name: str) -> None:
    assert plan.stream_name(source, []) == name
    assert plan.stream_name(source, [name]) == f"{name}-2"


def test_a_port_asked_for_must_be_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ElasticInferenceError, match=f"Port {port} is in use"):
            plan.choose_port(port, 1, "127.0.0.1", "--port")
        assert plan.choose_port(None, port, "127.0.0.1", "--port") != port


def test_types_belong_to_the_sources_in_order() -> None:
    options = main.parse(["--video", "a.mp4", "--camera", "0", "--type", "people", "--type", "face,car"])
    assert options.sources == [["video", "a.mp4", "people"], ["camera", "0", "face,car"]]


@pytest.mark.parametrize("arguments", [["--type", "people"], ["--port", "70000"], ["--port", "x"], ["--nonsense"]])
def test_wrong_options_end_with_a_usage_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.parse(arguments)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err
