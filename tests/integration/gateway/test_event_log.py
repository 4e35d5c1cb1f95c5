"""`/api/events/log` and `/api/events/<id>` over real HTTP: pages, filters, what a viewer sees, server-sent events."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote, urlencode

import redis
import redis.asyncio as aioredis

from elastic_inference.adapters.event_store.event_log import EventLog
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.events.event import Event, EventKind, Phase
from tests.support.event_workers import example_event
from tests.support.gateway import ADMIN_TOKEN, GUARD_TOKEN, RunningGateway, first_event
from tests.support.openapi import check, check_schema

CAMERAS = tuple(f"cam-{number}" for number in range(5))


def write(client: redis.Redis, camera: str, number: int, **fields: Any) -> str:
    """An event at the time `number`, in the partition of its camera; returns its id."""
    stream = keys.stream_id(camera, "people")
    event_id = f"{stream}/1-{number}-object-1"
    document = example_event(id=event_id, camera=camera, stream=stream, at_ms=float(number), **fields)
    client.xadd(keys.events(keys.partition_of(camera, 16)), {"json": document}, id=f"{number}-1")
    return event_id


def log_of(gateway: RunningGateway, token: str = "", **query: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = gateway.ask(f"/api/events/log?{urlencode(query)}", **headers)
    assert answer.status == 200, answer.body
    return check(answer, "/api/events/log").json


def times(page: Any) -> list[float]:
    return [each["at_ms"] for each in page["events"]]


def test_pages_give_every_event_once_the_newest_first(gateway: RunningGateway, client: redis.Redis) -> None:
    for number in range(1000, 1057):
        # Several partitions, and the same time in two of them.
        write(client, CAMERAS[number % 5], number)
    write(client, "cam-7", 1050)
    seen: list[float] = []
    cursor: dict[str, str] = {}
    while True:
        page = log_of(gateway, limit=10, **cursor)
        seen += times(page)
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == sorted([*range(1000, 1057), 1050], reverse=True)


def test_filters(gateway: RunningGateway, client: redis.Redis) -> None:
    client.xadd(keys.events(0), {"json": "no event"}, id="1-1")
    client.xadd(keys.events(1), {"other": "field"}, id="1-1")
    for number in range(1000, 1010):
        write(client, CAMERAS[number % 5], number)
    write(client, "cam-1", 1011, kind=EventKind.ZONE, zone="door", label="dog")
    assert times(log_of(gateway, camera="cam-2")) == [1007, 1002]
    assert times(log_of(gateway, zone="door")) == times(log_of(gateway, kind="zone")) == [1011]
    assert times(log_of(gateway, label="dog")) == [1011]
    assert times(log_of(gateway, type="car")) == []
    assert times(log_of(gateway, since=1003, until=1004)) == [1004, 1003]
    for wrong in ("limit=0", "limit=x", "kind=x", "cursor=x", "since=nan", "since=-1"):
        assert gateway.ask(f"/api/events/log?{wrong}").status == 400


async def test_a_search_for_what_is_rare_lets_others_go_on(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(1000, 4000):
        write(pipe, f"cam-{number % 16}", number)
    pipe.execute()
    broker, turns, seen_in = aioredis.Redis(port=valkey.port), 0, set[int]()

    def wanted(_event: Event) -> bool:
        seen_in.add(turns)
        return False

    searching = asyncio.create_task(EventLog(broker).page(wanted, 10, None))
    while not searching.done():
        await asyncio.sleep(0)
        turns += 1
    await broker.aclose()
    assert (await searching).events == ()
    assert len(seen_in) > 3000 / 60, "other requests and live video have their turns meanwhile"


def test_one_event_by_its_id_is_its_newest_revision(gateway: RunningGateway, client: redis.Redis) -> None:
    event_id = write(client, "cam-1", 1000, phase=Phase.BEGIN)
    write(client, "cam-1", 1001)
    document = example_event(id=event_id, camera="cam-1", rev=2)
    client.xadd(keys.events(keys.partition_of("cam-1", 16)), {"json": document}, id="1002-1")
    answer = check(gateway.ask(f"/api/events/{quote(event_id, safe='')}"), "/api/events/{event}")
    assert (answer.json["id"], answer.json["rev"]) == (event_id, 2)
    assert gateway.ask("/api/events/nothing").status == 404


def test_new_events_are_sent_to_who_listens(gateway: RunningGateway, client: redis.Redis) -> None:
    with gateway.events() as events:
        event_id = write(client, "cam-1", 1000)
        found = first_event(events, "log")
        check_schema(found, "LogEvent")
        assert [each["id"] for each in found["events"]] == [event_id]
        newer = write(client, "cam-2", 1001)
        found = first_event(events, "log", lambda each: len(each["events"]) == 2)
        assert [each["id"] for each in found["events"]] == [newer, event_id]


def test_a_viewer_sees_the_events_of_its_cameras_only(with_tokens: RunningGateway, client: redis.Redis) -> None:
    ids = {camera: write(client, camera, 1000 + index) for index, camera in enumerate(CAMERAS)}
    assert times(log_of(with_tokens, GUARD_TOKEN)) == [1001]
    assert len(log_of(with_tokens, ADMIN_TOKEN)["events"]) == len(CAMERAS)
    assert log_of(with_tokens, GUARD_TOKEN, camera="cam-2")["events"] == []
    login = {"Authorization": f"Bearer {GUARD_TOKEN}"}
    found = {camera: with_tokens.ask(f"/api/events/{quote(ids[camera], safe='')}", **login).status for camera in ids}
    assert found == {camera: 200 if camera == "cam-1" else 404 for camera in CAMERAS}
    with with_tokens.events(**login) as events:
        page = first_event(events, "log")
        assert [each["camera"] for each in page["events"]] == ["cam-1"]
