"""`/api/cameras/<name>/counts` over real HTTP: what event workers have saved, for those who see the camera."""

from __future__ import annotations

import json

import pytest
import redis

from elastic_inference.domain import keys
from elastic_inference.domain.events.camera_counts import MAX_COUNTS_BYTES, counts_json
from elastic_inference.domain.events.count_history import CountHistory
from elastic_inference.domain.events.counts import Counts
from elastic_inference.domain.events.rules import CameraRules, Line, Zone
from tests.support.gateway import ADMIN_TOKEN, GUARD_TOKEN, RunningGateway
from tests.support.openapi import check

RULES = CameraRules(
    (Zone(name="yard", points=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))),),
    (Line.model_validate({"name": "gate", "from": (0, 0), "to": (1, 1)}),),
)
EMPTY = {"at_ms": None, "minutes": [], "zones": [], "lines": []}


def write(client: redis.Redis, camera: str, document: bytes) -> None:
    client.hset(keys.event_states(keys.partition_of(camera, 16)), keys.camera_counts(camera), document)


def document(camera: str) -> bytes:
    history, counts = CountHistory(camera), Counts()
    for _ in range(2):
        counts.zone("yard", "person").enter()
    counts.line("gate", "person").outward += 1
    history.sample(RULES, [("people", counts)], 29_833_333 * 60_000, True)
    return counts_json(history.document())


def test_counters_are_shown_to_those_who_see_the_camera(with_tokens: RunningGateway, client: redis.Redis) -> None:
    for camera in ("cam-1", "cam-2"):
        write(client, camera, document(camera))
    for token, camera in ((ADMIN_TOKEN, "cam-1"), (ADMIN_TOKEN, "cam-2"), (GUARD_TOKEN, "cam-1")):
        answer = with_tokens.ask(f"/api/cameras/{camera}/counts", Authorization=f"Bearer {token}")
        found = check(answer, "/api/cameras/{name}/counts").json
        assert found == json.loads(document(camera))
        assert found["zones"][0]["labels"][0]["by_minute"]["entered"] == [2]
        assert found["lines"][0]["labels"][0]["out"] == 1
    for path in ("cam-2/counts", "cam-9/counts", "no%20name/counts"):
        answer = with_tokens.ask(f"/api/cameras/{path}", Authorization=f"Bearer {GUARD_TOKEN}")
        assert check(answer, "/api/cameras/{name}/counts").status == 404
    assert with_tokens.ask("/api/cameras/cam-1/counts").status == 401


@pytest.mark.parametrize("wrong", [b"{", b"x" * (MAX_COUNTS_BYTES + 1), document("cam-2"), b"[]"])
def test_what_no_event_worker_has_written_is_not_shown(
    gateway: RunningGateway, client: redis.Redis, wrong: bytes
) -> None:
    write(client, "cam-1", wrong)
    for camera in ("cam-1", "cam-3"):
        answer = check(gateway.ask(f"/api/cameras/{camera}/counts"), "/api/cameras/{name}/counts")
        assert (answer.status, answer.json) == (200, {"camera": camera, **EMPTY})


def test_a_key_of_another_program_is_no_crash(gateway: RunningGateway, client: redis.Redis) -> None:
    client.set(keys.event_states(keys.partition_of("cam-1", 16)), "x")
    assert check(gateway.ask("/api/cameras/cam-1/counts"), "/api/cameras/{name}/counts").status == 503
