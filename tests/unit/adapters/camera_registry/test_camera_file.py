"""`cameras.yaml`: keys given twice, which two readers of YAML saw differently, and errors that show no password."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.camera_registry.camera_file import CameraFileError, parse, render
from elastic_inference.domain.camera import CameraSpec

SECRET = "a-password-that-nobody-may-see"
GATE = "- name: gate\n  url: http://10.0.0.8/v\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "",
            "the file is empty: expected `cameras:` and below it a list of cameras. To have none,",
        ),
        ("# only a comment\n", "the file is empty"),
        ("cameras:\n", "line 1: expected `cameras:` and below it a list of cameras. To have none, write `cameras: []`"),
        ("cameras: ~\n", "line 1: expected `cameras:` and below it a list"),
        (f"cameras:\n{GATE}cameras:\n{GATE}{GATE}", "line 4: cameras: expected each key once, but line 1 has it too"),
        (f"cameras: none\ncameras:\n{GATE}", "line 2: cameras: expected each key once, but line 1 has it too"),
        (f"cameras:\n-\n- - a\ncameras:\n{GATE}", "line 4: cameras: expected each key once"),
        (f"cameras:\n{GATE}  url: rtsp://10.0.0.9/\n", "line 4: url: expected each key once, but line 3 has it too"),
        (f"cameras:\n{GATE}  labels: {{a: b,\n    a: c}}\n", "line 5: a: expected each key once"),
        ("<<: [{cameras: [1]}, {cameras: []}]\n", "line 1: expected no YAML merge"),
        (f"cameras:\n{GATE}{GATE}", "line 4: expected each name once: gate is there already"),
        (f"cameras:\n{GATE}  fps: 0\n", "line 4: camera gate, fps: expected more than 0"),
        (f"cameras:\n{GATE}  zoom: 1\n", "line 4: camera gate, zoom: there is no such field"),
        (f"cameras:\n{GATE}  labels: {{site: 1}}\n", "line 4: camera gate, labels.site: expected a text"),
    ],
)
def test_mistakes_are_named_with_their_line(text: str, words: str) -> None:
    with pytest.raises(CameraFileError) as caught:
        parse(text.encode())
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        # Found by the fuzzer: a line break was lost, and the URL has become the name.
        f"cameras:\n- name: gathttp://10.0.0.8/v?key={SECRET}\n  login:\n    user: a\n",
        f"cameras:\n- name: gat[0.0.0.8/v?key={SECRET}\n",
        f"cameras:\n{GATE}  {SECRET}: 1\n",
        f"cameras:\n{GATE}  login:\n    {SECRET}: 1\n",
        f"cameras:\n{GATE}  labels:\n    {SECRET}: 1\n",
        f"cameras:\n{GATE}  login: {{user: a, password: *{SECRET}}}\n",
        f"cameras:\n{GATE}  login: {{user: a, password: !{SECRET}}}\n",
        f"{SECRET}: 1\n{SECRET}: 2\n",
    ],
)
def test_no_error_shows_what_may_be_a_password(text: str) -> None:
    with pytest.raises(CameraFileError) as caught:
        parse(text.encode())
    assert SECRET not in str(caught.value)


def test_what_is_written_is_read_again() -> None:
    login = {"user": "on", "password": "!no: *yes # 1"}
    cameras = {
        "on": CameraSpec.model_validate({"name": "on", "url": "rtsp://h/?a=*b", "login": login, "labels": {"<<": "="}}),
        "1": CameraSpec.model_validate({"name": "1", "url": "file:///a", "labels": {"=": "<<", "1": "~"}}),
    }
    assert parse(render(cameras)) == cameras
    assert parse(b"cameras: []") == {}
