"""Pods that are deleted or replaced under load on a real cluster: frames flow again, and the account adds up."""

from __future__ import annotations

import time

import pytest

from tests.cluster.account import COUNTED, Account
from tests.cluster.conftest import GATEWAY, OWN_TYPE, PATIENCE_S, REDIS, RELAY, Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2700)]


@pytest.mark.parametrize(
    ("app", "may_lose"),
    [(COUNTED, 0), (RELAY, 0), (GATEWAY, 0), (REDIS, 64)],
    ids=["inference", "websocket server", "gateway", "redis"],
)
def test_frames_flow_again_after_a_component_was_deleted(installed: Installation, app: str, may_lose: int) -> None:
    kubectl = installed.kubectl
    name = f"cam-{app.removeprefix('ei-').split('-')[0]}"
    with (
        installed.results() as results,
        installed.camera(name) as camera,
        installed.watcher(f"{name}:{OWN_TYPE}:inferred") as viewer,
    ):
        viewer.wait_flowing(PATIENCE_S, "frames before the deletion")
        account = Account(installed, camera, results)
        old = {each["metadata"]["name"] for each in kubectl.pods(app)}
        began = time.monotonic()
        kubectl.run("delete", "pod", "-l", f"app={app}", "--wait=false")
        wait_for(lambda: set(kubectl.ready_pods(app)) - old, 90, f"a new pod of {app}", every_s=0.2)
        ready = time.monotonic()
        # the first frame that was captured after the new pod was Ready, or any later one if there was no interruption
        flowing = viewer.wait_flowing(30, f"frames after {app} was deleted", count=2)
        gap = viewer.longest_gap(began)
        kubectl.wait_rolled_out()
        added = account.close()
    print(
        f"\n{app}: new pod Ready after {ready - began:.1f} s, frames {max(flowing - ready, 0):.1f} s after that, "
        f"longest gap {gap:.1f} s, viewer cut {len(viewer.cuts)} times; {added}"
    )
    assert flowing - ready < 10
    assert gap < 20
    assert 0 - added["uncertain"] <= added["lost"] <= may_lose
    assert results.doubles[camera.name] == 0


def test_a_producer_that_was_deleted_comes_back(installed: Installation) -> None:
    app = "ei-sample-people-deployment"
    with installed.watcher("sample-people:people:inferred") as viewer:
        viewer.wait_flowing(PATIENCE_S, "frames before the deletion")
        old = {each["metadata"]["name"] for each in installed.kubectl.pods(app)}
        began = time.monotonic()
        installed.kubectl.run("delete", "pod", "-l", f"app={app}", "--wait=false")
        wait_for(lambda: set(installed.kubectl.ready_pods(app)) - old, 90, "a new producer", every_s=0.2)
        ready = time.monotonic()
        flowing = viewer.wait_flowing(30, "frames of the new producer", count=2)
        print(f"\n{app}: Ready after {ready - began:.1f} s, longest gap {viewer.longest_gap(began):.1f} s")
        assert flowing - ready < 10
        assert viewer.longest_gap(began) < 20


def test_a_rolling_update_of_the_inference_loses_no_frame(installed: Installation) -> None:
    with (
        installed.results() as results,
        installed.camera("roll") as camera,
        installed.watcher(f"roll:{OWN_TYPE}:inferred") as viewer,
    ):
        viewer.wait_flowing(PATIENCE_S, "frames before the update")
        account = Account(installed, camera, results)
        began = time.monotonic()
        installed.kubectl.run("rollout", "restart", f"deployment/{COUNTED}")
        installed.kubectl.wait_rolled_out()
        viewer.wait_flowing(20, "frames after the update")
        added = account.close()
        print(f"\nrolling update of {COUNTED}: longest gap {viewer.longest_gap(began):.1f} s; {added}")
    assert added["lost"] == 0
    assert added["pushed"] == added["inferred"] + added["dropped"]
    assert results.doubles[camera.name] == 0


def test_a_viewer_is_back_soon_after_a_rolling_update_of_the_gateway(installed: Installation) -> None:
    with installed.camera("gate") as _, installed.watcher(f"gate:{OWN_TYPE}:inferred") as viewer:
        viewer.wait_flowing(PATIENCE_S, "frames before the update")
        began = time.monotonic()
        installed.kubectl.run("rollout", "restart", f"deployment/{GATEWAY}")
        installed.kubectl.wait_rolled_out()
        # The rollout counts as done when the new pods are Ready: the old one still serves for its grace period.
        wait_for(lambda: viewer.cuts, 60, "the end of the gateway that served the viewer")
        viewer.wait_flowing(20, "frames after the update")
        gap = viewer.longest_gap(began)
        print(f"\nrolling update of the gateway: viewer cut {len(viewer.cuts)} times, longest gap {gap:.1f} s")
        assert gap < 5
