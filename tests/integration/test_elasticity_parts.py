"""What `make test-elasticity` needs beside a cluster: the models of its pods, and the account of its load."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import redis

from elastic_inference.domain import keys
from elastic_inference.domain.result import result_json
from tests.elasticity.load import Load
from tests.elasticity.model_switch import (
    FAILS,
    OTHER_MODEL,
    SETTINGS_MODEL,
    ModelApi,
    prepare_command,
    running_labels,
)
from tests.support.gateway import RunningGateway
from tests.support.inference_pod import Pod, running_pod
from tests.support.redis_logins import PASSWORDS, Logins
from tests.support.results import make_result
from tests.support.waiting import wait_for


@pytest.fixture
def folder(tmp_path: Path, embedded_models: dict[str, Path]) -> Path:
    """The models folder that the init container of `model-switch` makes."""
    made = tmp_path / "models"
    _, *arguments = prepare_command(str(embedded_models["blazeface"]), str(made))
    subprocess.run([sys.executable, *arguments], check=True, timeout=120)
    return made


def load_of(logins: Logins) -> Load:
    return Load(logins.server.url, "face", PASSWORDS["camera"], PASSWORDS["admin"])


def login(user: str) -> dict[str, str]:
    return {"QUEUE_USERNAME": user, "QUEUE_PASSWORD": PASSWORDS[user]}


def runs(pod: Pod, model: str) -> bool:
    return pod.metrics("ei_model_info", model=model, **running_labels("face")) == (1,)


def fails(api: ModelApi, reason: str) -> bool:
    return api.failure() == reason


@pytest.mark.load
def test_a_pod_changes_to_a_model_of_the_scenario_refuses_two_and_the_load_sees_no_disorder(
    logins: Logins, tmp_path: Path, folder: Path
) -> None:
    server = logins.server
    with (
        running_pod(server, tmp_path, folder, INFER_MODEL_NAME=SETTINGS_MODEL, **login("worker")) as pod,
        RunningGateway(server.url, GATEWAY_TOKEN="secret", **login("gateway")) as gateway,
        load_of(logins) as load,
    ):
        pod.wait_ready(120)
        api = ModelApi(f"http://{gateway.host}", "secret", "face")
        load.follow(lambda _: 40.0)
        wait_for(lambda: load.inferred > 100, 60, "the first results")
        api.request(OTHER_MODEL)
        wait_for(partial(runs, pod, OTHER_MODEL), 90, OTHER_MODEL)
        for what, reason in FAILS.items():
            api.request(what)
            wait_for(partial(fails, api, reason), 60, f"{what}: {reason}, {api.failure()}")
        assert runs(pod, OTHER_MODEL)
        load.follow_nothing()
        wait_for(lambda: load.waiting() == 0, 30, "the queue to be empty")
        assert load.lost() == load.disordered == 0
        assert load.first_frame_s is not None
        assert load.first_result_s is not None
        assert 0 <= load.first_frame_s < load.first_result_s
        assert max(load.gaps.values()) > 0.1, "8 streams of 5 frames a second"
        with pytest.raises(AssertionError, match="token"):
            ModelApi(f"http://{gateway.host}", "wrong", "face").request("reset")


def test_the_load_notices_a_result_that_comes_twice_or_late(logins: Logins) -> None:
    admin: redis.Redis = logins.client("admin")
    with load_of(logins) as load:
        load.follow(lambda _: 0.0)
        time.sleep(1)
        for order in (1, 2, 4, 3, 4, 5):
            result = make_result(stream="camera-1:face:inferred", type="face", order=order, seq=order)
            admin.xadd(keys.results("face"), {"json": result_json(result)})
        wait_for(lambda: load.inferred == 6, 30, "all results")
        assert load.disordered == 2
        assert load.lost() == 0
