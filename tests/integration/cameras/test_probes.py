"""A source worker's threads answer requests to probe cameras, on a real Valkey."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio as aioredis

from elastic_inference.adapters.camera_registry import requests
from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera, secrets_value, spec_value
from elastic_inference.adapters.camera_registry.requests import CameraRequests, Reply
from elastic_inference.adapters.source.probe import HANG_S
from elastic_inference.base.config import CameraSettings, load
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.flows.produce.pool import probe_child, probes
from elastic_inference.flows.produce.pool.probes import ProbeAnswers
from tests.support.bad_cameras import BadCamera
from tests.support.fixed_answer import HEAD, JPEG, serving
from tests.support.gateway import JPEG as IMAGE

LOGIN = {"user": "viewer", "password": "se cret"}
BASIC = b"Authorization: Basic " + base64.b64encode(b"viewer:se cret")


@pytest.fixture(autouse=True)
def answers(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(probes, "WATCH_S", 0.1)
    # Its process starts slowly on a busy machine.
    monkeypatch.setattr(probes, "_START_S", 60.0)
    monkeypatch.setattr(requests, "ANSWER_LIMIT_S", 90.0)
    monkeypatch.setattr(requests, "REQUEST_LIFE_S", 90.0)
    found = ProbeAnswers(load(CameraSettings, {"QUEUE_URL": valkey.url, "CAMERA_NETWORKS": "127.0.0.1"}))
    found.start()
    yield
    found.close()
    for thread in found._threads:
        thread.join(10)


@pytest.fixture
async def asking(valkey: EmbeddedValkey) -> AsyncIterator[CameraRequests]:
    client = aioredis.Redis(port=valkey.port)
    yield CameraRequests(client)
    await client.aclose()


async def probe(asking: CameraRequests, **request: Any) -> Reply:
    reply = await asking.ask(keys.CAMERA_PROBES, "probe", str(request.get("name", "")), request)
    assert "se cret" not in str(reply)
    assert "k1" not in str(reply)
    return reply


async def test_a_camera_is_reported_with_its_first_frame(asking: CameraRequests) -> None:
    with serving(JPEG) as camera:
        found = await probe(asking, url=f"http://127.0.0.1:{camera.port}/a.jpg?key=k1")
    assert found.status == 200
    assert found.document["report"]["width"] == 320
    assert base64.b64decode(found.document["image"]) == IMAGE


async def test_what_fails_is_said_in_a_sentence(asking: CameraRequests) -> None:
    with serving(HEAD % (b"404 Not Found", b"")) as camera:
        missing = await probe(asking, url=f"http://127.0.0.1:{camera.port}/a.jpg")
    assert (missing.status, "404" in missing.message) == (400, True)
    outside = await probe(asking, url="http://127.0.0.2/a.jpg")
    assert (outside.status, "CAMERA_NETWORKS" in outside.message) == (400, True)
    file = await probe(asking, url="file:///etc/passwd")
    assert (file.status, "VIDEO_DIR" in file.message) == (400, True)
    wrong = await probe(asking, url="rtsp://a", certificate="../x.pem")
    assert (wrong.status, list(wrong.fields)) == (400, ["certificate"])
    no_folder = await probe(asking, url="rtsps://127.0.0.1", certificate="camera.pem")
    assert (no_folder.status, "CAMERA_CA_DIR" in no_folder.message) == (400, True)
    assert (await probe(asking, url="rtsp://127.0.0.1", name="none")).status == 404


async def test_a_known_camera_lends_its_login_to_its_own_host_alone(
    asking: CameraRequests, client: redis.Redis
) -> None:
    challenge = HEAD % (b"401 Unauthorized", b'WWW-Authenticate: Basic realm="x"\r\n')
    with serving(challenge) as camera, serving(challenge) as other:
        address = f"http://127.0.0.1:{camera.port}/a.jpg"
        spec = CameraSpec.model_validate({"name": "gate", "url": address + "?key=k1", "login": LOGIN})
        known = CompleteCamera(1, spec)
        client.hset(keys.CAMERA_SPECS, "gate", spec_value(known))
        client.hset(keys.CAMERA_SECRETS, "gate", secrets_value(known) or b"")
        refused = await probe(asking, url=address + "?key=***", name="gate")
        assert "refuses the user name or password" in refused.message
        assert BASIC in camera.asked[-1]
        assert b"?key=k1" in camera.asked[-1]
        asked = len(camera.asked)
        without = await probe(asking, url=address, name="gate", login=None)
        assert "asks for a login" in without.message
        assert not any(BASIC in each for each in camera.asked[asked:])
        await probe(asking, url=f"http://localhost:{other.port}/a.jpg", name="gate")
        assert not any(BASIC in each for each in other.asked)


async def test_a_camera_that_crashes_the_decoder_is_said_to_and_the_next_probe_works(
    asking: CameraRequests, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "crashes.py").write_text("import os\nos.abort()\n")
    with monkeypatch.context() as patch:
        patch.setattr(probes, "CHILD", "crashes")
        patch.setenv("PYTHONPATH", str(tmp_path))
        found = await probe(asking, url="http://127.0.0.1:9/a.jpg")
    assert (found.status, found.message) == (400, "The video of this camera crashes the decoder.")
    with serving(JPEG) as camera:
        assert (await probe(asking, url=f"http://127.0.0.1:{camera.port}/a.jpg")).status == 200


async def test_who_has_waited_too_long_for_other_probes_is_told_so(
    asking: CameraRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "_LIMIT_S", 4.0)
    monkeypatch.setattr(probes, "_WAIT_S", 0.5)
    with BadCamera() as silent:
        url = f"rtsp://127.0.0.1:{silent.port}/"
        found = await asyncio.gather(*(probe(asking, url=url, transport="tcp") for _ in range(probes.THREADS + 1)))
    said = sorted((each.status, each.message) for each in found)
    assert [status for status, _ in said] == [*[400] * probes.THREADS, 429]
    assert "Other cameras are being probed" in said[-1][1]


async def test_a_worker_without_cpu_time_does_not_blame_the_camera(
    asking: CameraRequests, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probes, "_LIMIT_S", 1.0)
    monkeypatch.setattr(probes, "_START_S", 0.5)
    found = await probe(asking, url="http://127.0.0.2/a.jpg")  # is refused at once, but too late
    assert (found.status, "too little CPU time" in found.message) == (503, True)
    # It starts, but only when no time is left.
    (tmp_path / "late.py").write_text(
        "import json, sys, time\n"
        "from elastic_inference.flows.produce.pool import probe_child\n"
        "json_load = json.load\n"
        "json.load = lambda file: json_load(file) | {'until_monotonic': time.monotonic() + 1}\n"
        "sys.exit(probe_child.main())\n"
    )
    monkeypatch.setattr(probes, "_START_S", 60.0)
    monkeypatch.setattr(probes, "CHILD", "late")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = await probe(asking, url="http://127.0.0.2/a.jpg")
    assert (found.status, "too little CPU time" in found.message) == (503, True)


def test_a_probe_that_hangs_is_answered_before_its_process_is_killed() -> None:
    """As when nobody answers for the camera's name. Else the worker's CPU time was blamed."""
    task = {"limit_s": 8.0, "until_monotonic": 109.2}
    assert probe_child.limit_of(task, 100.0) == 8.0
    assert probe_child.limit_of(task, 101.2) == pytest.approx(8.0 - HANG_S)
