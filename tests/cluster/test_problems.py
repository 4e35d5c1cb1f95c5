"""What status.sh, events and logs say on a real cluster when something is wrong."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.cluster.conftest import GATEWAY, HOUSEKEEPING, PATIENCE_S, REDIS, RELAY, Installation
from tests.support.manifests import PROJECT, generate
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2700)]


def status(here: Installation) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [str(PROJECT / "tools" / "status.sh"), "-k", "-n", here.kubectl.namespace, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=here.kubectl.environ,
    )
    assert done.stdout.startswith("{"), done.stderr
    return done.returncode, json.loads(done.stdout)


def test_status_finds_nothing_wrong_with_a_healthy_system(installed: Installation) -> None:
    installed.kubectl.wait_rolled_out()

    def healthy() -> bool:
        code, found = status(installed)
        return code == 0 and {each["state"] for each in found["findings"]} == {"ok"}

    try:
        wait_for(healthy, 60, "status.sh to find every link working", every_s=2)
    except AssertionError as error:
        raise AssertionError(f"{error}; it says {status(installed)}") from None


@pytest.mark.parametrize(
    ("deployments", "link"),
    [
        ([f"ei-sample-{name}-deployment" for name in ("face", "people", "car", "object")], "camera"),
        ([REDIS], "queue"),
        (["ei-infer-people-app"], "worker"),
        ([RELAY], "relay"),
        ([GATEWAY], "gateway"),
        ([HOUSEKEEPING], "housekeeping"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_status_names_the_link_that_is_scaled_to_zero(
    installed: Installation, deployments: list[str], link: str
) -> None:
    kubectl = installed.kubectl
    before = {each: kubectl.get("deployment", each)["spec"].get("replicas", 1) for each in deployments}
    try:
        kubectl.run("scale", "--replicas=0", *[f"deployment/{each}" for each in deployments])
        for each in deployments:
            wait_for(lambda name=each: not kubectl.pods(name), 60, f"{each} to be gone", every_s=0.5)  # type: ignore[misc]

        def named() -> bool:
            code, found = status(installed)
            return code == 1 and found["first_broken"] == link

        try:
            wait_for(named, 60, f"status.sh to name {link}", every_s=2)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {status(installed)}") from None
    finally:
        for each, replicas in before.items():
            kubectl.run("scale", f"--replicas={replicas}", f"deployment/{each}")
        kubectl.wait_rolled_out()


def waiting_reason(here: Installation, app: str) -> str:
    pods = here.kubectl.pods(app)
    states = [each for pod in pods for each in pod["status"].get("containerStatuses", ())]
    return str(next((each["state"]["waiting"]["reason"] for each in states if "waiting" in each["state"]), ""))


def test_an_image_that_does_not_exist_is_named_and_the_rest_still_works(installed: Installation) -> None:
    folder = installed.folder / "no-image"
    generate(
        "-r",
        installed.registry,
        "-g",
        "no-such-tag",
        "-t",
        "noimage",
        "-m",
        "blazeface",
        "-a",
        "none",
        "-o",
        str(folder),
    )
    try:
        installed.apply(folder / "deployment.yaml")
        app = "ei-infer-noimage-app"
        wait_for(lambda: waiting_reason(installed, app) in ("ErrImagePull", "ImagePullBackOff"), 60, "the pull to fail")
        wait_for(lambda: "ei-inference-service:no-such-tag" in installed.kubectl.run("get", "events"), 30, "its event")
        code, found = status(installed)
        assert code == 1
        assert "no-such-tag" in json.dumps(found)
        still_works(installed)
    finally:
        installed.remove(folder / "deployment.yaml")


def test_a_model_that_does_not_exist_is_what_its_log_ends_with(installed: Installation) -> None:
    folder = installed.folder / "no-model"
    installed.generate("-t", "nomodel", "-m", "no-such-model_FP32", "-a", "none", "-o", str(folder))
    try:
        installed.apply(folder / "deployment.yaml")
        app = "ei-infer-nomodel-app"
        wait_for(
            lambda: waiting_reason(installed, app) == "CrashLoopBackOff", PATIENCE_S, "the crash loop", every_s=0.5
        )
        log = installed.kubectl.run("logs", f"deployment/{app}", "--previous")
        print(f"\nthe log of a pod without its model:\n{log}")
        assert log.splitlines()[-1].startswith("error: The model no-such-model_FP32 is neither in the catalogue ")
        assert "Traceback" not in log
        still_works(installed)
    finally:
        installed.remove(folder / "deployment.yaml")


def test_a_missing_secret_is_named_by_the_events(installed: Installation) -> None:
    folder = installed.folder / "no-secret"
    installed.generate(
        "-t", "nosecret", "-m", "blazeface", "-a", "none", "--existing-secret", "no-such-secret", "-o", str(folder)
    )
    try:
        installed.apply(folder / "deployment.yaml")
        wait_for(lambda: 'secret "no-such-secret" not found' in installed.kubectl.run("get", "events"), 60, "its event")
        wait_for(lambda: waiting_reason(installed, "ei-infer-nosecret-app") == "ContainerCreating", 30, "its state")
        still_works(installed)
    finally:
        installed.remove(folder / "deployment.yaml")


def still_works(here: Installation) -> None:
    """The rest of the system still works."""
    with here.watcher("sample-people:people:inferred") as viewer:
        viewer.wait_flowing(60, "frames beside the broken deployment")
