"""Autoscalers and monitoring: they query what pods export, as users that have the right to."""

from __future__ import annotations

import re
from pathlib import Path

import redis
import yaml
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.base.metrics import GatewayMetrics, HousekeepingMetrics, InferenceMetrics
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.scaler_messages import ScaledObjectRef
from elastic_inference.flows.housekeeping.scaler import infer_type_of, target_of
from tests.support.manifests import (
    CORE,
    PROJECT,
    Document,
    Peer,
    allowed,
    made,
    name_of,
    valid,
    workloads,
)


def test_monitoring_uses_another_prometheus_and_may_reach_it(tmp_path: Path) -> None:
    url = "http://prometheus.watch.svc:8080/prom"
    server = Peer({"app": "prometheus"}, {"team": "watch"}, own_namespace=False, address="10.244.9.9")
    for given, reached in (((), set()), (("--set", f"PROMETHEUS_URL={url}"), {8080, 9090})):
        documents = made(tmp_path / f"{len(given)}", "-f", str(PROJECT / "kubernetes/monitoring"), *given)
        assert valid(documents) == []
        policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
        pods = {name.removeprefix("Deployment/"): pod for name, pod in workloads(documents)}
        for name in ("ei-grafana", "ei-prometheus-adapter"):
            source = Peer(pods[name]["metadata"]["labels"], address="10.244.0.9")
            assert {port for port in (80, 8080, 9090) if allowed(policies, source, server, port)} == reached, name
    assert f"--prometheus-url={url}" in pods["ei-prometheus-adapter"]["spec"]["containers"][0]["args"]
    provisioning = next(each for each in documents if name_of(each) == "ConfigMap/ei-grafana-provisioning")["data"]
    assert yaml.safe_load(provisioning["datasources.yaml"])["datasources"][0]["url"] == url
    assert url in pods["ei-grafana"]["metadata"]["annotations"].values(), "another source replaces the pod"


def exported() -> set[str]:
    """Every series that our services export."""
    # Each service has a registry of its own: pods and housekeeping both count drops.
    pod, gateway, housekeeping = CollectorRegistry(), CollectorRegistry(), CollectorRegistry()
    InferenceMetrics(pod, "people", "some-model")
    GatewayMetrics(gateway)
    HousekeepingMetrics(housekeeping)
    found = [metric for registry in (pod, gateway, housekeeping) for metric in registry.collect()]
    return {name for metric in found for name in [metric.name, *(each.name for each in metric.samples)]}


def test_the_hpa_asks_for_what_pods_export_and_the_adapter_serves_it_in_time(
    core: list[Document], tmp_path: Path
) -> None:
    (rule,) = yaml.safe_load((PROJECT / "kubernetes/parts/monitoring/adapter-rules.yml").read_text())["rules"]
    served = re.search(r'__name__=~"([^"]*)"', rule["seriesQuery"])
    assert served
    deployments = {name.removeprefix("Deployment/") for name, _ in workloads(core)}
    autoscalers = made(tmp_path / "hpa", "-f", str(PROJECT / "kubernetes/scale/hpa-ratio"))
    assert len(autoscalers) == 7, "one for each type, and the camera pool's"
    for each in autoscalers:
        assert each["spec"]["scaleTargetRef"]["name"] in deployments
        (metric,) = each["spec"]["metrics"]
        assert metric["pods"]["metric"] == {"name": "ei_scale_ratio"}
        assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "0.8"}
        assert metric["pods"]["metric"]["name"] in exported()
        assert re.search(served[1], metric["pods"]["metric"]["name"])
    monitoring = made(tmp_path / "monitoring", "-f", str(PROJECT / "kubernetes/monitoring"))
    adapter = next(pod for name, pod in workloads(monitoring) if name == "Deployment/ei-prometheus-adapter")
    arguments = dict(each.lstrip("-").split("=", 1) for each in adapter["spec"]["containers"][0]["args"])
    assert arguments["metrics-relist-interval"] == "10s", "`kubectl get hpa` shows the ratio within a minute"
    assert arguments["metrics-max-age"] == "1m"
    assert arguments["prometheus-url"] == "http://ei-prometheus.ei-monitoring.svc:9090"


def test_the_target_of_hpa_cpu_is_below_the_given_limit(tmp_path: Path) -> None:
    source = str(PROJECT / "kubernetes/scale/hpa-cpu")
    given = ("--set", "INFER_CPU_LIMIT=200m", "--set", "CAMERA_POOL_CPU_LIMIT=1")
    for each in made(tmp_path, "-f", source, *given):
        (metric,) = each["spec"]["metrics"]
        pool = name_of(each).endswith("/ei-camera-pool-app")
        assert metric["containerResource"]["container"] == ("camera-pool" if pool else "inference")
        expected = {"type": "AverageValue", "averageValue": "700m" if pool else "140m"}
        assert metric["containerResource"]["target"] == expected


def test_keda_asks_for_what_pods_export_and_for_lengths_as_the_user_that_may(tmp_path: Path) -> None:
    objects = made(tmp_path, "-f", str(PROJECT / "kubernetes/scale/keda"), "--set", "NAMESPACE=video")
    by_name = {name_of(each): each["spec"] for each in objects}
    (secret,) = by_name["TriggerAuthentication/ei-queue"]["secretTargetRef"]
    assert secret == {"parameter": "password", "name": "ei-credentials", "key": "scaler-password"}
    triggers = by_name["ScaledObject/ei-infer-people-app"]["triggers"]
    (ratio,) = (each["metadata"] for each in triggers if each["type"] == "prometheus")
    asked = re.search(r"ei_scale_ratio\{([^}]*)\}", ratio["query"])
    assert asked
    assert {'namespace="video"', 'infer_type="people"'} <= set(asked[1].split(","))
    assert set(re.findall(r"\bei_\w+", ratio["query"])) <= exported()
    assert ratio["threshold"] == "0.8"
    assert ratio["ignoreNullValues"] == "false", "no Prometheus must not look like no demand"
    (pool,) = by_name["ScaledObject/ei-camera-pool-app"]["triggers"]
    assert 'pod=~"ei-camera-pool-app-.*"' in pool["metadata"]["query"]
    assert by_name["ScaledObject/ei-camera-pool-app"]["minReplicaCount"] == 1, "somebody must notice a new camera"
    lists = [each for each in triggers if each["type"] == "redis"]
    passwords = {user: f"{user}-secret" for user in USERS}
    (tmp_path / "users.acl").write_text(render_acl(passwords))
    with EmbeddedValkey(options=("--aclfile", str(tmp_path / "users.acl"))) as server:
        for each in lists:
            found = each["metadata"]
            assert each["authenticationRef"] == {"name": "ei-queue"}
            assert found["username"] == "scaler", "it may ask for lengths, and nothing else"
            assert found["activationListLength"] == "0", "one frame wakes the type"
            assert int(found["listLength"]) > 256 + 4096, "more than both lists hold: they only wake it"
            with redis.Redis(port=server.port, username="scaler", password=passwords["scaler"]) as client:
                assert client.llen(found["listName"]) == 0
    assert {each["metadata"]["listName"] for each in lists} == {keys.tokens("people"), keys.legacy_queue("people")}


def test_keda_push_asks_where_housekeeping_answers(tmp_path: Path) -> None:
    """The metadata that KEDA sends to the scaler are understood, and the Service leads to its port."""
    given = ("--set", "NAMESPACE=video", "--set", "RATIO_TARGET=0.7", "--set", "PUSH_SCALER=on")
    objects = made(tmp_path / "push", "-f", str(PROJECT / "kubernetes/scale/keda-push"), *given)
    core = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), *given)
    assert valid(core) == []
    names = {name_of(each) for each in core}
    assert {each["kind"] for each in objects} == {"ScaledObject"}
    for each in objects:
        assert "Deployment/" + each["spec"]["scaleTargetRef"]["name"] in names
    found = next(each for each in objects if name_of(each) == "ScaledObject/ei-infer-people-app")["spec"]
    (trigger,) = found["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("external-push", "AverageValue")
    assert found["minReplicaCount"] == 0
    reference = ScaledObjectRef("ei-infer-people-app", "video", trigger["metadata"])
    assert (infer_type_of(reference), target_of(reference)) == ("people", 0.7)
    (service,) = (each for each in core if name_of(each) == "Service/ei-scaler-svc")
    (port,) = service["spec"]["ports"]
    assert trigger["metadata"]["scalerAddress"] == f"ei-scaler-svc.video.svc:{port['port']}"
    pod = next(each for name, each in workloads(core) if name == "Deployment/ei-housekeeping-deployment")
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    container = pod["spec"]["containers"][0]
    opened = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert {"name": "SCALER_PORT", "value": str(opened[port["targetPort"]])} in container["env"]


def test_keda_trusts_the_authority_of_the_scalers_certificate(tmp_path: Path) -> None:
    given = ("--set", "SCALER_TLS=scaler-tls", "--set", "PUSH_SCALER=on")
    objects = made(tmp_path / "push", "-f", str(PROJECT / "kubernetes/scale/keda-push"), *given)
    trust = next(each for each in objects if name_of(each) == "TriggerAuthentication/ei-scaler")["spec"]
    assert trust["secretTargetRef"] == [{"parameter": "caCert", "name": "scaler-tls", "key": "ca.crt"}]
    scaled = [each["spec"]["triggers"][0] for each in objects if each["kind"] == "ScaledObject"]
    assert {each["authenticationRef"]["name"] for each in scaled} == {"ei-scaler"}
    assert {each["metadata"]["enableTLS"] for each in scaled} == {"true"}
