"""Targets that read what is said about cameras of the pool: the file, requests, the registry, bodies of the API."""

from __future__ import annotations

import base64
import functools
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hypothesis import strategies as st
from pydantic import SecretStr

from elastic_inference.adapters.camera_registry import camera_values
from elastic_inference.adapters.camera_registry.camera_file import CameraFileError, parse, render
from elastic_inference.adapters.camera_registry.requests import read_reply, read_request
from elastic_inference.adapters.camera_resource.kept_objects import kept
from elastic_inference.adapters.camera_resource.resource import read_camera, status_of
from elastic_inference.adapters.leases.lease_rows import read_leases
from elastic_inference.adapters.source.guarded import RtspGuard
from elastic_inference.adapters.source.hls_proxy import _target
from elastic_inference.adapters.source.playlist_guard import PlaylistBytes, PlaylistGuard
from elastic_inference.adapters.source.rtmp import RtmpAnswers
from elastic_inference.base.address_rules import DEFAULT_NETWORKS, AddressRules
from elastic_inference.domain.camera import CameraLogin, CameraSpec, CameraState, CameraStatus
from elastic_inference.domain.camera_changes import new_camera, patched, read_model, replaced
from elastic_inference.domain.camera_documents import Camera, ProbeRequest
from elastic_inference.domain.camera_errors import CameraRefusal
from elastic_inference.domain.errors import SourceError
from elastic_inference.domain.rest import Error, ErrorCode, ErrorDetail, document_json
from tests.fuzz.target import Target

_SECRET = "a-password-that-nobody-may-see"
_CAMERA = {
    "name": "gate",
    "url": f"http://10.0.0.8/v?key={_SECRET}",
    "login": {"user": "viewer", "password": _SECRET},
    "labels": {"site": "north"},
}
_OTHER_LOGIN = CameraLogin(user="another", password=SecretStr("another"))
_FIELDS = (*CameraSpec.model_fields, "zoom")


@functools.cache
def _current() -> CameraSpec:
    return CameraSpec.model_validate(_CAMERA)


def _file(data: bytes) -> None:
    try:
        cameras = parse(data)
    except CameraFileError as error:
        # If a camera's name is its password, the password is shown.
        shown = f"camera {_SECRET}, ", f"once: {_SECRET} is there"
        assert _SECRET not in str(error) or any(each in str(error) for each in shown)
        raise
    assert parse(render(cameras)) == cameras
    for name, spec in cameras.items():
        _is_kept(name, spec)


def _is_kept(name: str, spec: CameraSpec) -> None:
    """A camera comes out of the registry as it went in, and without its secrets where they do not belong."""
    camera = camera_values.CompleteCamera(7, spec)
    value = camera_values.spec_value(camera)
    public = camera_values.read_spec(name, value)
    assert public is not None
    assert camera_values.complete(public, camera_values.secrets_value(camera)) == camera
    # Another secret changes nothing of what everybody may see.
    changes: dict[str, Any] = {"login": _OTHER_LOGIN} if spec.login else {}
    changes |= {field: _other_values(url) for field in ("url", "substream") if (url := getattr(spec, field))}
    assert camera_values.spec_value(camera_values.CompleteCamera(7, spec.model_copy(update=changes))) == value


def _other_values(url: str) -> str:
    if "?" not in url:
        return url
    parts = urlsplit(url)
    pairs = [pair.partition("=")[0] + "=other" for pair in parts.query.split("&") if pair]
    return parts._replace(query="&".join(pairs)).geturl()


def _file_seeds() -> list[bytes]:
    return [
        render({"gate": _current(), "yard": CameraSpec(name="yard", url="file:///videos/a.mp4")}),
        b"cameras: []",
        b"cameras:\n- {name: a, url: 'rtsp://a', fps: 0}\n",
        b"a: &a [1]\nb: *a\n",
    ]


def _changes(data: bytes) -> None:
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    for change in (functools.partial(replaced, _current()), functools.partial(patched, _current()), new_camera):
        try:
            spec = change(given)
        except CameraRefusal as refusal:
            assert refusal.status == 400
            assert _SECRET not in str(refusal)
            assert _SECRET not in str(refusal.fields)
            continue
        _is_kept(spec.name, spec)
        urls = [url for url in (spec.url, spec.substream) if url is not None]
        if spec.login == _current().login or any(_SECRET in url for url in urls):
            assert all("//10.0.0.8" in url.lower() for url in urls), "a secret for another host"
    try:
        read_model(ProbeRequest, given if isinstance(given, dict) else {})
    except CameraRefusal as refusal:
        assert refusal.fields


def _change_seeds() -> list[bytes]:
    shown = _current().public().model_dump(mode="json", exclude={"login"})
    half: dict[str, Any] = {"login": {"user": "viewer", "password": "\ud800"}}
    patches: list[dict[str, Any]] = [half, {"url": "http://10.0.0.9/v"}, {"login": None}, {"labels": {"site": None}}]
    return [json.dumps(each).encode() for each in (shown, *patches, {"url": "http://10.0.0.8/?key=***"})]


def _change_inputs() -> st.SearchStrategy[bytes]:
    urls = st.sampled_from(
        ["http://10.0.0.9/v?key=***", "http://10.0.0.8/w?key=***", "rtsp://10.0.0.8@evil", "http://10.0.0.8#@evil", ""]
    )
    values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | urls
    nested = values | st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=8) | st.just("user"), values)
    return st.dictionaries(st.sampled_from(_FIELDS), nested, max_size=4).map(lambda each: json.dumps(each).encode())


def _registry(data: bytes) -> None:
    camera = camera_values.read_spec("gate", data)
    if camera is not None:
        assert camera.spec.name == "gate"
        camera_values.complete(camera, data)
    wanted = camera_values.read_wanted(data)
    assert wanted is None or 0 <= wanted[1] <= 4096
    status = camera_values.read_status(data)
    if status is not None:
        json.dumps([status.fps, status.cost, status.since_ms], allow_nan=False)
        assert camera_values.read_status(camera_values.status_value(status)) == status
        document_json(Camera("gate", 1, _current().public(), True, status))
    request = read_request(data, 1_790_000_000.0)
    assert request is None or _SECRET not in repr(request)
    reply = read_reply(data)
    assert reply.status in range(200, 504)
    assert len(reply.message) <= 1000
    document_json(Error(ErrorDetail(ErrorCode.CONFLICT, reply.message, dict(reply.fields))))
    rows = {line.partition(b"=")[0]: line.partition(b"=")[2] for line in data.split(b"\n")}
    leases, workers = read_leases(rows, rows, 1_790_000_000.0)
    json.dumps([[each.cost, each.epoch] for each in leases.values()], allow_nan=False)
    json.dumps([[each.capacity, each.load, each.seen_ago_s] for each in workers.values()], allow_nan=False)


def _registry_seeds() -> list[bytes]:
    camera = camera_values.CompleteCamera(7, _current())
    request = {"id": "a1", "action": "patch", "name": "gate", "spec": {"login": _SECRET}, "time_ms": 1_790_000_000_000}
    reply = {"status": 400, "error": {"message": "no", "fields": {"url": "no"}}}
    return [
        camera_values.spec_value(camera),
        camera_values.secrets_value(camera) or b"",
        b"7 0.1500",
        camera_values.status_value(CameraStatus(CameraState.LIVE, worker="pod-1", fps=15.0)),
        json.dumps(request).encode(),
        json.dumps(reply).encode(),
        json.dumps({"status": 409, "error": {"message": "\ud800", "fields": {"\udfff": "\ud800"}}}).encode(),
        json.dumps({"state": "live", "reason": "\ud800"}).encode(),
        b"gate=5 pod-1:ab 0.15 0 0 - 0\npod-1:ab=1790000000000000 2 0.1 0 3000000",
    ]


def _addresses(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    rules = AddressRules(DEFAULT_NETWORKS, Path("/nowhere"), lambda host: [host])
    for call in (rules.resolve, rules.file):
        try:
            call(text)
        except SourceError as error:
            assert len(str(error)) < 600
        except ValueError:
            assert call == rules.resolve, "a resolver returns addresses"
    RtspGuard().allows(data)
    guard = PlaylistGuard(PlaylistBytes())
    answers = RtmpAnswers()
    for at in range(0, len(data), 7):
        guard.allows(data[at : at + 7])
        answers.allows(data[at : at + 7])
    assert len(answers.refusal(has_login=False)) < 200
    host, port, head = _target(data)
    assert host
    assert 0 <= port <= 99_999
    assert b"\r\n\r\n" not in head[:-4]


def _address_seeds() -> list[bytes]:
    return [
        *(b"10.0.0.7", b"::ffff:127.0.0.1", b"file:///nowhere/../a%00"),
        b"GET http://a.example:81/x HTTP/1.1\r\nHost: a\r\nProxy-Connection: x\r\n\r\n",
        b"GET http://[::1]:443/ HTTP/1.1\r\n\r\n",
        b"\2\0\x20NetConnection.Connect.Rej\xc3ected [ code=403 need auth ]",
        b"#EXTM3U\n#EXTINF:1,\na.ts\n",
    ]


def _objects(data: bytes) -> None:
    """An object of the API server, with a Secret of the same bytes."""
    try:
        found = kept(json.loads(data))
    except (ValueError, RecursionError):
        return
    if found is None:
        return
    assert len(found["spec"]) <= camera_values.MAX_BYTES
    secret = {"user": data.decode("latin-1"), "gate": base64.b64encode(data).decode()}
    stored = read_camera(found, {"own": secret})
    assert (stored.spec is None) == (stored.problem is not None)
    assert len(stored.problem or "") < 1000
    document = status_of(stored, CameraStatus(CameraState.LIVE, worker="pod-1"), "2026-01-01T00:00:00Z")
    json.dumps(document).encode()


def _object_seeds() -> list[bytes]:
    metadata = {"name": "gate", "resourceVersion": "7", "generation": 3, "labels": {"a": "b"}}
    spec = {"url": "rtsp://10.0.0.7/live", "types": ["people"], "login_secret": "own"}
    status = {"state": "live", "conditions": [{"type": "Live", "status": "True", "lastTransitionTime": "x"}]}
    whole = {"metadata": metadata, "spec": spec, "status": status}
    odd = {"metadata": {"name": "gate", "labels": [1], "generation": "x"}, "spec": {"url": 7, "fps": 1e308}}
    return [json.dumps(each).encode() for each in (whole, odd, {"metadata": {"name": "gate"}, "status": [1]})]


TARGETS = (
    Target("objects of a cluster", _objects, (), _object_seeds),
    Target("files of cameras", _file, (CameraFileError,), _file_seeds),
    Target("changes of cameras", _changes, (), _change_seeds, _change_inputs),
    Target("registry of cameras", _registry, (), _registry_seeds),
    Target("addresses of cameras", _addresses, (ValueError,), _address_seeds),
)
