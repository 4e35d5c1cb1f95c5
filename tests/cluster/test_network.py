"""Who may connect to whom on a real cluster."""

from __future__ import annotations

import pytest

from tests.cluster.account import COUNTED
from tests.cluster.conftest import REDIS, RELAY, Installation
from tests.cluster.foreign_pod import ask_from

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2700)]


def addresses(here: Installation) -> dict[str, tuple[str, int]]:
    space = here.kubectl.namespace
    return {
        "gateway": (f"ei-gateway-server-svc.{space}.svc.cluster.local", 5000),
        "redis": (f"ei-redis-svc.{space}.svc.cluster.local", 6379),
        "relay": (f"ei-websocket-server-svc.{space}.svc.cluster.local", 31611),
        "metrics": (f"{COUNTED}.{space}.svc.cluster.local", 8000),
        "redis pod": (here.kubectl.pods(REDIS)[0]["status"]["podIP"], 6379),
        "relay pod": (here.kubectl.pods(RELAY)[0]["status"]["podIP"], 31611),
    }


@pytest.mark.parametrize(
    ("space_label", "open_to_it"),
    [
        ("", {"gateway"}),
        ("none", {"gateway"}),
        ("elastic-inference/metrics=allowed", {"gateway", "metrics"}),
        ("elastic-inference/scaler=allowed", {"gateway", "redis", "redis pod"}),
    ],
    ids=["in the namespace", "in another namespace", "with the metrics label", "with the scaler label"],
)
def test_a_foreign_pod_reaches_only_what_the_policies_allow(
    installed: Installation, space_label: str, open_to_it: set[str]
) -> None:
    kubectl, known = installed.kubectl, addresses(installed)
    namespace = kubectl.namespace if not space_label else f"{kubectl.namespace}-guest"
    try:
        if space_label:
            kubectl.run("create", "namespace", namespace)
            if "=" in space_label:
                kubectl.run("label", "namespace", namespace, space_label)
        first = known[next(iter(open_to_it - {"gateway"}), "gateway")]
        answers = ask_from(installed, namespace, first, list(known.values()))
    finally:
        if space_label:
            kubectl.run("delete", "namespace", namespace, "--timeout=90s", check=False)
    reached = {name for name, (host, port) in known.items() if answers[f"{host}:{port}"]}
    assert reached == open_to_it
