"""Changes of a camera's specification: logins stay inside, and each wrong field gets a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_changes import new_camera, patched, read_model, replaced
from elastic_inference.domain.camera_documents import ProbeRequest
from elastic_inference.domain.camera_errors import CameraRefusal

LOGIN = {"user": "viewer", "password": "se cret"}
GATE: dict[str, Any] = {
    "name": "gate",
    "url": "http://10.0.0.8/v?key=k1&mode=a%20b",
    "substream": "http://10.0.0.8/s?key=k2",
    "login": LOGIN,
    "labels": {"site": "north", "floor": "1"},
}
CURRENT = CameraSpec.model_validate(GATE)
SHOWN = CURRENT.public().model_dump(mode="json", exclude={"login"})


def fields_of(call: Any, *arguments: Any) -> dict[str, str]:
    with pytest.raises(CameraRefusal) as raised:
        call(*arguments)
    assert raised.value.status == 400
    assert "se cret" not in str(raised.value)
    assert "k1" not in str(raised.value)
    return raised.value.fields


def test_what_was_shown_can_be_sent_back_and_changes_nothing() -> None:
    assert "key=***" in SHOWN["url"]
    assert replaced(CURRENT, SHOWN) == CURRENT
    assert patched(CURRENT, SHOWN) == CURRENT
    assert patched(CURRENT, {}) == CURRENT


def test_a_login_stays_changes_or_goes() -> None:
    assert replaced(CURRENT, {"url": "http://10.0.0.8/other"}).login == CURRENT.login
    assert patched(CURRENT, {"login": None}).login is None
    assert replaced(CURRENT, SHOWN | {"login": None}).login is None
    changed = patched(CURRENT, {"login": {"password": "new"}}).login
    assert changed is not None
    assert (changed.user, changed.password.get_secret_value()) == ("viewer", "new")
    only_user = patched(CURRENT, {"login": {"user": "boss"}}).login
    assert only_user is not None
    assert only_user.password.get_secret_value() == "se cret"
    assert patched(CURRENT, {"login_secret": "gate-login"}).login is None


@pytest.mark.parametrize(
    "patch",
    [
        *[{"url": "http://evil.example/v"}, {"substream": "http://evil.example/v"}],
        {"url": "http://evil.example/v", "login": {"user": "viewer"}},
    ],
    ids=["url", "substream", "user alone"],
)
def test_a_login_is_not_sent_to_another_host(patch: dict[str, Any]) -> None:
    assert list(fields_of(patched, CURRENT, patch)) == ["login"]
    assert patched(CURRENT, patch | {"login": {"user": "a", "password": "b"}}).login is not None
    assert patched(CURRENT, patch | {"login": None}).login is None


def test_hidden_values_of_a_query_stay_for_the_same_host_only() -> None:
    moved = patched(CURRENT, {"url": "http://10.0.0.8:81/w?mode=***&key=***&x=1"})
    assert moved.url == "http://10.0.0.8:81/w?mode=a%20b&key=k1&x=1"
    for url in ("http://evil.example/?key=***", "http://10.0.0.8/?other=***"):
        assert list(fields_of(patched, CURRENT, {"url": url, "login": None})) == ["url"]
    assert list(fields_of(new_camera, {"name": "a", "url": "http://10.0.0.8/?key=***"})) == ["url"]


def test_a_patch_resets_fields_and_merges_labels() -> None:
    found = patched(patched(CURRENT, {"fps": 5}), {"fps": None, "labels": {"floor": None, "door": "2"}})
    assert found.fps == 15.0
    assert found.labels == {"site": "north", "door": "2"}
    assert fields_of(patched, CURRENT, {"url": None}) == {"url": "It is required."}


def test_a_camera_keeps_its_name() -> None:
    for change in (replaced, patched):
        assert list(fields_of(change, CURRENT, SHOWN | {"name": "yard"})) == ["name"]
    assert list(fields_of(new_camera, {"name": "probe", "url": "rtsp://a"})) == ["name"]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"name": None}, "name", "in quotes"),
    ({"name": "a b"}, "name", "expected a letter or digit"),
    ({"url": "gopher://a"}, "url", "expected rtsp://host/path (or rtsps, http,"),
    ({"url": "udp://@:5004"}, "url", "expected udp://0.0.0.0:5004, which listens on that port of this machine, or"),
    ({"url": "rtp://239.1.1.1"}, "url", "expected rtp://0.0.0.0:5000, which"),
    ({"url": "udp://@239.1.1.1:5004"}, "url", "expected no @ in the URL: write only the address and the port"),
    ({"url": "srt://10.0.0.7:9000"}, "url", "SRT is not supported: expected the camera's RTSP, RTMP or HTTP"),
    ({"url": "/dev/video0"}, "url", "a USB camera cannot be in the pool"),
    ({"url": "rtsp://u:p@a"}, "url", "`login`"),
    ({"url": "rtsp://" + "a" * 3000}, "url", "at most 2048 characters"),
    ({"login": {"user": "a"}}, "login.password", "it is required"),
    ({"login": {"user": "", "password": ""}}, "login.user", "empty"),
    ({"login": {"user": "a", "password": "b", "pin": "1"}}, "login.pin", "user, password"),
    ({"login": {"user": "a", "password": "b"}, "login_secret": "x"}, "login", "not both"),
    ({"types": []}, "types", "one entry"),
    ({"types": "people"}, "types", "a list"),
    ({"types": ["people", "fa ce"]}, "types.1", "letter or digit"),
    ({"types": ["people", "people"]}, "types", "once"),
    ({"fps": 0}, "fps", "more than 0"),
    ({"fps": "fast"}, "fps", "a number"),
    ({"width": 3}, "width", "at least 16"),
    ({"quality": 80.5}, "quality", "whole number"),
    ({"size": "huge"}, "size", "'auto', 'source'"),
    ({"enabled": "perhaps"}, "enabled", "true or false"),
    ({"labels": {"": "x"}}, "labels.", "empty"),
    ({"labels": {"a": 1}}, "labels.a", "a text"),
    ({"labels": "north"}, "labels", "a mapping"),
    ({"certificate": "../key.pem"}, "certificate", "sha256"),
    ({"zoom": 3}, "zoom", "no such field"),
]


@pytest.mark.parametrize(("change", "field", "words"), WRONG, ids=lambda part: str(part)[:40])
def test_a_wrong_field_is_named_with_a_sentence(change: dict[str, Any], field: str, words: str) -> None:
    fields = fields_of(new_camera, {"name": "a", "url": "rtsp://10.0.0.7"} | change)
    assert list(fields) == [field]
    assert words.lower() in fields[field].lower()
    assert fields[field][0].isupper()
    assert fields[field].endswith(".")


def test_what_is_no_object_is_refused() -> None:
    for given in (None, [], "x", {1: 2}):
        with pytest.raises(CameraRefusal, match="JSON object"):
            new_camera(given)


def test_a_probe_is_checked_like_a_camera() -> None:
    assert list(fields_of(read_model, ProbeRequest, {"url": "rtsp://u:p@a", "fps": 1})) == ["url", "fps"]


@pytest.mark.parametrize(
    "given",
    [
        {"url": "file:///videos/a.mp4", "substream": "rtsp://10.0.0.7/2"},
        {"url": "rtsp://10.0.0.7/1", "substream": "file:///a.mp4"},
    ],
)
def test_a_file_has_no_substream(given: dict[str, str]) -> None:
    with pytest.raises(CameraRefusal) as refused:
        new_camera({"name": "gate", **given})
    assert refused.value.fields == {"substream": "Expected none: only cameras with a network address have a substream."}


def test_a_password_in_the_path_stays_inside_too() -> None:
    def path(password: str, channel: int) -> str:
        return f"rtsp://10.0.0.9/user=a_password={password}_channel={channel}.sdp"

    current = CameraSpec.model_validate({"name": "xm", "url": path("k1", 1), "substream": path("k1", 2)})
    shown = current.public().model_dump(mode="json", exclude={"login"})
    assert (shown["url"], shown["substream"]) == (path("***", 1), path("***", 2))
    assert replaced(current, shown) == current
    assert patched(current, {"url": path("***", 2)}).url == path("k1", 2)
    assert patched(current, {"url": path("k3", 1)}).url == path("k3", 1)
    assert list(fields_of(patched, current, {"url": path("***", 7)})) == ["url"]
    assert list(fields_of(new_camera, {"name": "b", "url": path("***", 1)})) == ["url"]
