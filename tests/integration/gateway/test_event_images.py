"""`GET /api/events/<id>/snapshot` over real HTTP: the image, its ETag, why it is missing, what a viewer may see."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

from elastic_inference.adapters.event_store.image_reader import GONE
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.events.missing import SENTENCES, Missing
from tests.support.event_workers import example_event
from tests.support.gateway import JPEG, Answer, RunningGateway
from tests.support.openapi import check

ADMIN, VIEWER = "admin-of-images-0001", "viewer-of-images-0001"
STREAM = "gate:people:inferred"
ID = f"{STREAM}/1-5-object-1"
PATH = "/api/events/{event}/snapshot"


def address(event_id: str = ID, image: str | None = "1-5") -> str:
    return f"/api/events/{quote(event_id, safe='')}/snapshot" + (f"?image={image}" if image else "")


def ask(gateway: RunningGateway, path: str, token: str = "", **headers: str) -> Answer:
    login = {"Authorization": f"Bearer {token}"} if token else {}
    return gateway.ask(path, **login, **headers)


def write(client: redis.Redis, **fields: Any) -> None:
    document = example_event(id=ID, camera="gate", stream=STREAM, **fields)
    client.xadd(keys.events(keys.partition_of("gate", 16)), {"json": document})


def test_the_image_of_an_event_and_its_tag(gateway: RunningGateway, client: redis.Redis) -> None:
    client.set(keys.snapshot_image(f"{STREAM}/1-5"), JPEG)
    answer = check(ask(gateway, address()), PATH)
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, JPEG, "image/jpeg")
    assert answer.headers["Cache-Control"] == "private, max-age=3600"
    assert answer.headers["Vary"] == "Authorization, Cookie"
    again = ask(gateway, address(), **{"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    # As nginx passes it on where it strips a prefix.
    assert ask(gateway, address().replace("%2F", "/")).body == JPEG


def test_without_a_number_it_is_that_of_the_newest_revision(gateway: RunningGateway, client: redis.Redis) -> None:
    client.set(keys.snapshot_image(f"{STREAM}/1-5"), JPEG)
    assert ask(gateway, address(image=None)).status == 404
    write(client, rev=1, snapshot_reason="It was dark.")
    answer = check(ask(gateway, address(image=None)), PATH)
    assert (answer.status, answer.json["error"]["message"]) == (404, "It was dark.")
    write(client, rev=2, snapshot=f"https://a.example{address()}")
    answer = ask(gateway, address(image=None))
    assert (answer.status, answer.body, answer.headers["Cache-Control"]) == (200, JPEG, "private, no-cache")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (keys.snapshot_state(f"{STREAM}/1-5"), "pod", SENTENCES[Missing.POD]),
        (keys.snapshot_state(f"{STREAM}/1-5"), "<b>", GONE),
        (keys.snapshot_image(f"{STREAM}/1-5"), "<html>", SENTENCES[Missing.INVALID]),
    ],
)
def test_why_there_is_none(gateway: RunningGateway, client: redis.Redis, key: str, value: str, text: str) -> None:
    client.set(key, value)
    answer = check(ask(gateway, address()), PATH)
    assert (answer.status, answer.json["error"]["message"]) == (404, text)
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_entry_promises_no_image_that_is_gone(gateway: RunningGateway, client: redis.Redis) -> None:
    now_ms = time.time() * 1000
    # Kept, on its way, removed, missing with a reason, and too young for a judgement.
    wanted = {5: None, 6: None, 7: GONE, 8: SENTENCES[Missing.LATE], 9: None}
    client.set(keys.snapshot_image(f"{STREAM}/1-5"), JPEG)
    client.set(keys.snapshot_state(f"{STREAM}/1-6"), "?")
    client.set(keys.snapshot_state(f"{STREAM}/1-8"), "late")
    for number in wanted:
        at_ms = now_ms if number == 9 else now_ms - 3_600_000
        document = example_event(
            id=f"{STREAM}/1-{number}-object-1", camera="gate", stream=STREAM, at_ms=at_ms, began_ms=at_ms,
            snapshot=address(f"{STREAM}/1-{number}-object-1", f"1-{number}"), snapshot_box=(0.1, 0.1, 0.5, 0.5),
        )  # fmt: skip
        client.xadd(keys.events(keys.partition_of("gate", 16)), {"json": document})
    log = check(gateway.ask("/api/events/log"), "/api/events/log").json["events"]
    assert {int(each["id"].split("-")[1]): each["snapshot_reason"] for each in log} == wanted
    for each in log:
        kept = each["snapshot_reason"] is None
        assert (each["snapshot"] is not None, each["snapshot_box"] is not None) == (kept, kept)
        one = gateway.ask(f"/api/events/{quote(each['id'], safe='')}").json
        assert (one["snapshot"], one["snapshot_reason"]) == (each["snapshot"], each["snapshot_reason"])


def test_an_image_that_is_on_its_way_is_waited_for(
    gateway: RunningGateway, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elastic_inference.flows.gateway.event_images.WAIT_S", 60.0)
    client.set(keys.snapshot_state(f"{STREAM}/1-5"), "?")
    timer = threading.Timer(0.5, client.set, (keys.snapshot_image(f"{STREAM}/1-5"), JPEG))
    timer.start()
    assert ask(gateway, address()).body == JPEG
    timer.join()


def test_one_that_does_not_come_is_a_404(
    gateway: RunningGateway, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elastic_inference.flows.gateway.event_images.WAIT_S", 0.2)
    client.set(keys.snapshot_state(f"{STREAM}/1-5"), "?")
    assert "on its way" in ask(gateway, address()).json["error"]["message"]


@pytest.mark.parametrize("image", ["x", "1-", "1-5/../6", "9" * 40 + "-1"])
def test_a_wrong_number_is_refused(gateway: RunningGateway, image: str) -> None:
    answer = check(ask(gateway, address(image=quote(image, safe=""))), PATH)
    assert (answer.status, answer.code) == (400, "bad_request")


@pytest.fixture
def guarded(valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[RunningGateway]:
    tokens = tmp_path / "tokens.json"
    row = {"name": "guard", "token": VIEWER, "role": "viewer", "cameras": ["gate"]}
    tokens.write_text(json.dumps({"tokens": [row]}))
    with RunningGateway(valkey.url, GATEWAY_TOKEN=ADMIN, GATEWAY_TOKENS_FILE=str(tokens)) as gateway:
        yield gateway


def test_a_viewer_gets_images_of_its_cameras_only(guarded: RunningGateway, client: redis.Redis) -> None:
    other = "yard:people:inferred"
    for stream in (STREAM, other):
        client.set(keys.snapshot_image(f"{stream}/1-5"), JPEG)
    theirs = address(f"{other}/1-5-object-1")
    assert ask(guarded, address(), VIEWER).body == JPEG
    assert ask(guarded, theirs, ADMIN).body == JPEG
    assert ask(guarded, theirs, VIEWER).status == 404
    assert ask(guarded, address(f"{other}/1-5-object-1", None), VIEWER).status == 404
    assert ask(guarded, address()).status == 401
