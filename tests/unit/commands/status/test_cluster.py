"""Which autoscalers do not scale: two of one deployment, and those that say so."""

from typing import Any

import pytest

from elastic_inference.commands.status.cluster import autoscaler_conflicts, stopped_autoscalers


def hpa(name: str, target: str = "people", kind: str = "Deployment", owner: str | None = None) -> dict[str, Any]:
    owners = [{"kind": "ScaledObject", "name": owner, "controller": True}] if owner else []
    return {
        "metadata": {"name": name, "namespace": "video", "ownerReferences": owners},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": target}},
    }


def scaled_object(name: str, target: str = "people", **kind: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "video"}, "spec": {"scaleTargetRef": {"name": target, **kind}}}


@pytest.mark.parametrize(
    ("hpas", "scaled_objects", "conflicts"),
    [
        ([], [], {}),
        ([hpa("a"), hpa("b", "face")], [scaled_object("c", "car")], {}),
        ([hpa("b"), hpa("a")], [], {"Deployment people": ["hpa a", "hpa b"]}),
        ([hpa("a")], [scaled_object("a")], {"Deployment people": ["hpa a", "scaledobject a"]}),
        ([], [scaled_object("a"), scaled_object("b")], {"Deployment people": ["scaledobject a", "scaledobject b"]}),
    ],
    ids=["none", "one each", "two HPAs", "HPA and ScaledObject", "two ScaledObjects"],
)
def test_two_autoscalers_of_one_deployment_are_a_conflict(
    hpas: list[dict[str, Any]], scaled_objects: list[dict[str, Any]], conflicts: dict[str, list[str]]
) -> None:
    assert autoscaler_conflicts(hpas, scaled_objects) == conflicts


@pytest.mark.parametrize("known", [[scaled_object("p")], []], ids=["listed", "may not be listed"])
def test_kedas_own_hpa_counts_as_its_scaled_object(known: list[dict[str, Any]]) -> None:
    # a ScaledObject may give its HPA another name
    for name in ("keda-hpa-p", "of-my-own"):
        own = hpa(name, owner="p")
        assert autoscaler_conflicts([own], known) == {}
        assert autoscaler_conflicts([own, hpa("x")], known) == {"Deployment people": ["hpa x", "scaledobject p"]}


def test_a_deployment_and_a_stateful_set_of_one_name_are_two_targets() -> None:
    assert autoscaler_conflicts([hpa("a"), hpa("b", kind="StatefulSet")], []) == {}
    assert autoscaler_conflicts([hpa("a")], [scaled_object("b", kind="StatefulSet")]) == {}


def with_condition(item: dict[str, Any], kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    condition = {"type": kind, "status": status, "reason": reason, "message": message}
    return item | {"status": {"conditions": [condition]}}


def test_an_autoscaler_that_does_not_scale_is_named_with_its_reason() -> None:
    kinds = ("ScalingActive", "AbleToScale")
    works = with_condition(hpa("a"), "ScalingActive", "True", "ValidMetricFound")
    rests = with_condition(hpa("b"), "ScalingActive", "False", "ScalingDisabled", "scaling is disabled")
    blind = with_condition(hpa("c"), "ScalingActive", "False", "FailedGetPodsMetric", "unable to fetch metrics")
    lost = with_condition(hpa("d"), "AbleToScale", "False", "FailedGetScale")
    assert stopped_autoscalers([hpa("new"), works, rests, blind, lost], "hpa", kinds) == {
        "hpa c": "FailedGetPodsMetric (unable to fetch metrics)",
        "hpa d": "FailedGetScale",
    }
    unready = with_condition(scaled_object("e"), "Ready", "False", "TriggerError", "no trigger works")
    assert stopped_autoscalers([unready], "scaledobject", ("Ready",)) == {
        "scaledobject e": "TriggerError (no trigger works)"
    }
