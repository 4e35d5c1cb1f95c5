"""The API of models: wishes, canaries, what pods report, who may do it, and the command that calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.adapters.stream_broker.model_wishes import CANARY, SWITCH, ModelWishes
from elastic_inference.commands import models as command
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.model_wish import (
    CanaryChoice,
    Failure,
    Figures,
    ModelChoice,
    ModelFailure,
    ModelStage,
    PodModel,
    record_json,
)
from tests.support.gateway import RunningGateway

TYPE = "/api/types/face"
STATE = PodModel(stage=ModelStage.COMPARING, canary="a_INT8", figures=Figures(frames=7, agreement=0.75, frame_s=0.01))


@pytest.fixture
def gateway(valkey: EmbeddedValkey) -> Iterator[RunningGateway]:
    with RunningGateway(valkey.url) as running, redis.Redis(port=valkey.port) as client:
        publisher = ResultPublisher(client, "face", "pod-1", 0)
        state = {"model_state": record_json(STATE)}
        publisher.report_worker(1, 0, 0, capacity_fps=20.0, device="CPU", model="a", precision="FP32", more=state)
        yield running
        publisher.close()


@pytest.fixture
def wishes(client: redis.Redis) -> ModelWishes:
    return ModelWishes(client, "face")


def fail(wishes: ModelWishes, field: str, identity: str | None) -> None:
    """What a pod does when a model fails."""
    wishes.fail(field, Failure(id=identity or "", reason=ModelFailure.SLOW, message="Too slow.", pod="pod-1"))


def test_a_pod_shows_its_model_and_its_canary(gateway: RunningGateway) -> None:
    found = gateway.ask(f"{TYPE}/model").json
    assert (found["type"], found["choice"], found["canary"]) == ("face", None, None)
    (pod,) = found["pods"]
    assert (pod["pod"], pod["model"], pod["stage"], pod["canary"]) == ("pod-1", "a", "comparing", "a_INT8")
    assert (pod["figures"]["frames"], pod["figures"]["agreement"], pod["figures"]["frame_s"]) == (7, 0.75, 0.01)


def test_a_chosen_model_reaches_the_pods_with_what_they_go_back_to(
    gateway: RunningGateway, wishes: ModelWishes
) -> None:
    answer = gateway.ask(f"{TYPE}/model", "PUT", {"model": "b_INT8", "max_time_factor": 2})
    assert (answer.status, answer.json["choice"]["model"]) == (200, "b_INT8")
    first, _ = wishes.read()
    assert first is not None
    assert (first.choice, first.former) == (ModelChoice(model="b_INT8", max_time_factor=2), None)
    gateway.ask(f"{TYPE}/model", "PUT", {"model": "c"})
    second, _ = wishes.read()
    assert second is not None
    assert (second.former, second.id != first.id) == ("b_INT8", True)
    fail(wishes, SWITCH, second.id)
    assert gateway.ask(f"{TYPE}/model").json["failure"]["reason"] == "slow"
    gateway.ask(f"{TYPE}/model", "PUT", {"model": "d"})
    third, _ = wishes.read()
    assert third is not None
    assert third.former == "b_INT8", "the pods never ran c"
    assert gateway.ask(f"{TYPE}/model").json["failure"] is None
    gateway.ask(f"{TYPE}/model", "DELETE")
    last, _ = wishes.read()
    assert last is not None
    assert (last.choice, last.former) == (None, "d")


def test_a_canary_is_tried_dropped_and_promoted(gateway: RunningGateway, wishes: ModelWishes) -> None:
    gateway.ask(f"{TYPE}/model", "PUT", {"model": "b"})
    chosen, _ = wishes.read()
    answer = gateway.ask(f"{TYPE}/canary", "PUT", {"model": "c", "share": 0.25, "min_agreement": 0.5})
    assert answer.json["canary"]["share"] == 0.25
    tried, _ = wishes.read()
    assert chosen is not None
    assert tried is not None
    assert (tried.id, tried.canary) == (chosen.id, CanaryChoice(model="c", share=0.25, min_agreement=0.5))
    gateway.ask(f"{TYPE}/canary", "DELETE")
    dropped, _ = wishes.read()
    assert dropped == chosen, "the pods need not change anything else"
    for path, method in ((f"{TYPE}/canary", "DELETE"), (f"{TYPE}/canary/promote", "POST")):
        assert gateway.ask(path, method).status == 409
    gateway.ask(f"{TYPE}/canary", "PUT", {"model": "c"})
    tried, _ = wishes.read()
    assert tried is not None
    fail(wishes, CANARY, tried.canary_id)
    assert gateway.ask(f"{TYPE}/model").json["canary_failure"]["message"] == "Too slow."
    assert gateway.ask(f"{TYPE}/canary/promote", "POST").status == 409
    gateway.ask(f"{TYPE}/canary", "PUT", {"model": "c", "min_agreement": 0.5})
    assert gateway.ask(f"{TYPE}/canary/promote", "POST").status == 200
    promoted, _ = wishes.read()
    assert promoted is not None
    assert (promoted.choice, promoted.canary) == (ModelChoice(model="c", min_agreement=0.5), None)
    assert promoted.former == "b"


def test_of_two_admins_who_change_a_model_the_second_is_told(gateway: RunningGateway, wishes: ModelWishes) -> None:
    read = gateway.ask(f"{TYPE}/model").headers["Etag"]
    first = gateway.ask(f"{TYPE}/model", "PUT", {"model": "b"}, **{"If-Match": read})
    assert (first.status, first.headers["Etag"] != read) == (200, True)
    wish, _ = wishes.read()
    changes = (("model", "PUT", {"model": "c"}), ("model", "DELETE", None), ("canary", "PUT", {"model": "c"}))
    for path, method, body in changes:
        for stale in (read, "what is this", '"0000"'):
            second = gateway.ask(f"{TYPE}/{path}", method, body, **{"If-Match": stale})
            assert (second.status, second.code) == (412, "precondition_failed")
            assert "Somebody has changed the model" in second.json["error"]["message"]
    assert wishes.read()[0] == wish, "nothing has changed"
    tried = gateway.ask(f"{TYPE}/canary", "PUT", {"model": "c"}, **{"If-Match": first.headers["Etag"]})
    for path, method in (("canary/promote", "POST"), ("canary", "DELETE")):
        assert gateway.ask(f"{TYPE}/{path}", method, **{"If-Match": first.headers["Etag"]}).status == 412
    assert gateway.ask(f"{TYPE}/canary", "DELETE", **{"If-Match": tried.headers["Etag"]}).status == 200
    assert gateway.ask(f"{TYPE}/model", "PUT", {"model": "d"}, **{"If-Match": "*"}).status == 200


def test_the_revision_is_that_of_the_request_and_not_of_what_pods_do(
    gateway: RunningGateway, wishes: ModelWishes
) -> None:
    chosen = gateway.ask(f"{TYPE}/model", "PUT", {"model": "b"}).headers["Etag"]
    wish, _ = wishes.read()
    assert wish is not None
    fail(wishes, SWITCH, wish.id)
    found = gateway.ask(f"{TYPE}/model", **{"If-None-Match": chosen})
    assert (found.status, found.headers["Etag"]) == (200, chosen)
    assert found.json["failure"]["reason"] == "slow"


def test_of_changes_at_the_same_moment_one_is_made(gateway: RunningGateway, wishes: ModelWishes) -> None:
    read = gateway.ask(f"{TYPE}/model").headers["Etag"]
    with ThreadPoolExecutor(8) as pool:
        names = [f"m{number}" for number in range(8)]
        answers = list(
            pool.map(lambda name: gateway.ask(f"{TYPE}/model", "PUT", {"model": name}, **{"If-Match": read}), names)
        )
    assert sorted(each.status for each in answers) == [200, *[412] * 7]
    (won,) = (name for name, each in zip(names, answers, strict=True) if each.status == 200)
    wish, _ = wishes.read()
    assert wish is not None
    assert wish.choice is not None
    assert wish.choice.model == won


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "../x"},
        {"model": "/x"},
        {"model": "http://a/b"},
        {"model": 5},
        {"model": "x" * 200},
        {"model": "x", "max_time_factor": -1},
        {"model": "x", "path": "/etc"},
        b"[",
        b"",
    ],
)
def test_a_wrong_request_changes_nothing(gateway: RunningGateway, wishes: ModelWishes, body: object) -> None:
    for path in (f"{TYPE}/model", f"{TYPE}/canary"):
        answer = gateway.ask(path, "PUT", body)
        assert (answer.status, answer.code) == (400, "bad_request")
    assert wishes.read() == (None, {})


def test_foreign_values_in_the_keys_are_replaced(
    gateway: RunningGateway, wishes: ModelWishes, client: redis.Redis
) -> None:
    client.hset(keys.model_wish("face"), "foreign", "1")
    client.set(keys.model_failures("face"), "foreign")
    assert gateway.ask(f"{TYPE}/model").json["choice"] is None
    assert wishes.read() == (None, {})
    assert gateway.ask(f"{TYPE}/model", "PUT", {"model": "b"}).json["choice"]["model"] == "b"
    wish, _ = wishes.read()
    assert wish is not None
    fail(wishes, SWITCH, wish.id)
    assert gateway.ask(f"{TYPE}/model").json["failure"]["reason"] == "slow"


def test_an_unknown_type_is_not_found(gateway: RunningGateway) -> None:
    for kind in ("car", "..", "a%2Fb"):
        assert gateway.ask(f"/api/types/{kind}/model").status == 404
        assert gateway.ask(f"/api/types/{kind}/model", "PUT", {"model": "b"}).status == 404


def test_only_admins_of_all_cameras_may_see_or_change_models(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    rows = [
        {"name": "wall", "token": "v" * 32, "role": "viewer", "cameras": ["*"]},
        {"name": "gate", "token": "g" * 32, "role": "admin", "cameras": ["gate-*"]},
    ]
    tokens.write_text(json.dumps({"tokens": rows}))
    with RunningGateway(valkey.url, GATEWAY_TOKENS_FILE=str(tokens)) as gateway:
        for token in ("v", "g"):
            login = {"Authorization": f"Bearer {token * 32}"}
            for path, method in ((f"{TYPE}/model", "GET"), (f"{TYPE}/model", "PUT"), (f"{TYPE}/canary", "DELETE")):
                assert gateway.ask(path, method, None, **login).status == 403
        assert gateway.ask(f"{TYPE}/model").status == 401
    with RunningGateway(valkey.url) as gateway:
        assert gateway.ask(f"{TYPE}/model", "DELETE", Origin="http://other.example").status == 403


def test_the_command_changes_and_shows_models(
    gateway: RunningGateway, wishes: ModelWishes, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        code = command.main(["-g", f"http://{gateway.host}", "face", *arguments])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    assert run("show") == (
        0,
        "face: the model of the settings\n"
        "  pod-1: a FP32, comparing; canary: 7 frames, agreement 0.75, confidence –/–, CPU ms 10/–\n",
    )
    assert run("switch", "b", "--min-agreement", "0.8")[0] == 0
    wish, _ = wishes.read()
    assert wish is not None
    assert wish.choice == ModelChoice(model="b", min_agreement=0.8)
    assert "canary: c on 0.3 of the frames" in run("canary", "c", "--share", "0.3")[1]
    assert run("promote")[1].startswith("face: c\n")
    assert run("drop") == (1, "error: The type face has no canary.\n")
    assert run("reset")[1].startswith("face: the model of the settings\n")
    assert run("switch", "../x")[0] == 1
    assert command.main(["-g", "file:///etc/passwd", "face", "show"]) == 2
    assert command.main(["-g", "http://127.0.0.1:9", "face", "show"]) == 1


@pytest.mark.parametrize(
    ("path", "change"),
    [(f"{TYPE}/model", {"model": "b"}), (f"{TYPE}/canary", {"model": "b"}), ("/api/sinks/x", {"kind": "log"})],
)
def test_a_full_redis_refuses_a_change_and_is_not_called_silent(
    gateway: RunningGateway, client: redis.Redis, path: str, change: dict[str, str]
) -> None:
    client.config_set("maxmemory", 1)
    try:
        answer = gateway.ask(path, "PUT", change)
        assert gateway.ask("/api/types/face/model").status == 200, "it can be read"
    finally:
        client.config_set("maxmemory", 0)
    assert answer.status == 503
    assert "no memory left" in answer.json["error"]["message"]
