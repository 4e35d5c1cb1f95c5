"""Every manifest that the templates give: valid for the last four Kubernetes versions, and within our own rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import kubernetes_validate
import pytest
import redis
import yaml
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.base.config import GatewaySettings
from elastic_inference.base.config import load as load_settings
from elastic_inference.base.metrics import GatewayMetrics, HousekeepingMetrics, InferenceMetrics
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.manifests import (
    BUILT_IN,
    PROJECT,
    VERSIONS,
    Document,
    Peer,
    allowed,
    generate,
    load,
    name_of,
    restricted_problems,
    upkeep_problems,
    workloads,
)

CORE = "kubernetes/elastic-inference.yaml.template"
TEMPLATES = sorted(path.relative_to(PROJECT).as_posix() for path in (PROJECT / "kubernetes").rglob("*.template"))
VARIANTS = {
    "plain": [],
    "pod network": ["-P", "10.244.0.0/16", "-P", "fd00:10:244::/56"],
    "gpu": ["-d", "GPU:xe", "--set", "RENDER_GROUP=992"],
    "npu": ["-d", "NPU"],
    "tls": ["--redis-tls", "redis-tls", "--set", "GATEWAY_TLS=gateway-tls", "--set", "PULL_SECRET=pull"],
    "external": ["--redis-url", "redis+sentinel://a.example:26379,b.example:26379/main/0", "--redis-ca", "ca"],
    "cluster": [
        *("--redis-url", "redis+cluster://a.example:7001,b.example:7002"),
        *("--broker-url", "rediss://broker.example:6380/0", "--redis-ca", "ca"),
    ],
    "no node ports": ["--set", "QUEUE_NODE_PORT=", "--set", "GATEWAY_NODE_PORT="],
    "node labels": ["--set", "NODE_SELECTOR=gpu=yes,zone=1"],
    "words of YAML": [
        *("-g", "123", "--redis-tls", "true", "--redis-ca", "17", "--existing-secret", "null"),
        *(
            "--set",
            "PULL_SECRET=1e3",
            "--set",
            "GATEWAY_TLS=no",
            "--set",
            "INFER_CPU_REQUEST=1",
            "--set",
            "LOG_LEVEL=0",
        ),
    ],
    "own secret": ["--existing-secret", "mine", "--open-dashboard"],
}


def made(folder: Path, *arguments: str) -> list[Document]:
    """The documents of one generation into `folder`."""
    generate("-r", "registry.example.org/team", "--models", "all", "-o", str(folder), *arguments)
    return load(*sorted(folder.rglob("*.yaml")) if folder.is_dir() else [folder])


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    return made(tmp_path_factory.mktemp("core") / "core.yaml", "-f", str(PROJECT / CORE), "-P", "10.244.0.0/16")


def valid(documents: Sequence[Document]) -> list[str]:
    """What the schemas of the last four versions object to."""
    problems = []
    for each in documents:
        if each["apiVersion"].rpartition("/")[0] not in BUILT_IN:
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(each, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{version} {name_of(each)}: {error.message[:300]}")
    return problems


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_valid_and_keeps_the_rules(template: str, tmp_path: Path) -> None:
    documents = made(tmp_path / "out.yaml", "-f", str(PROJECT / template))
    assert documents
    assert valid(documents) == []
    names = [name_of(each) for each in documents]
    assert len(set(names)) == len(names)
    for name, pod in workloads(documents):
        assert restricted_problems(pod) == [], name
        assert upkeep_problems(pod) == [], name


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_core_is_valid(variant: str, tmp_path: Path) -> None:
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), *VARIANTS[variant])
    assert valid(documents) == []
    for name, pod in workloads(documents):
        assert restricted_problems(pod) == [], name


def test_the_core_has_the_contracts_objects(core: list[Document]) -> None:
    names = {name_of(each) for each in core}
    for infer_type in ("face-fp32", "face-int8", "people", "car-fp32", "car-int8", "object"):
        for kind in ("Deployment", "Service", "PodDisruptionBudget"):
            assert f"{kind}/ei-infer-{infer_type}-app" in names
    for part in ("redis", "websocket-server", "gateway-server"):
        assert {f"Deployment/ei-{part}-deployment", f"Service/ei-{part}-svc"} <= names
    assert "Deployment/ei-housekeeping-deployment" in names
    services = {each["metadata"]["name"]: each["spec"] for each in core if each["kind"] == "Service"}
    node_ports = {
        name: each["ports"][0].get("nodePort") for name, each in services.items() if each.get("type") == "NodePort"
    }
    assert node_ports == {"ei-gateway-server-svc": 31002, "ei-redis-svc": 31003}
    assert services["ei-infer-people-app"]["ports"] == [{"name": "web", "port": 8000, "targetPort": "web"}]


def test_services_find_their_pods_and_ports(core: list[Document]) -> None:
    pods = [template for _, template in workloads(core)]
    for service in (each for each in core if each["kind"] == "Service"):
        selected = [pod for pod in pods if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        assert len(selected) == 1, name_of(service)
        offered = {port["name"] for each in selected[0]["spec"]["containers"] for port in each["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= offered


def test_every_deployment_has_labels_spread_a_budget_and_time_to_drain(core: list[Document]) -> None:
    budgets = {each["spec"]["selector"]["matchLabels"]["app"] for each in core if each["kind"] == "PodDisruptionBudget"}
    accounts = [each for each in core if each["kind"] == "ServiceAccount"]
    assert [each["automountServiceAccountToken"] for each in accounts] == [False]
    for name, pod in workloads(core):
        labels, spec = pod["metadata"]["labels"], pod["spec"]
        assert {"name", "component", "part-of", "version"} <= {
            key.removeprefix("app.kubernetes.io/") for key in labels if key.startswith("app.kubernetes.io/")
        }
        assert spec["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]["app"] == labels["app"]
        assert labels["app"] in budgets, name
        before = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert spec["terminationGracePeriodSeconds"] > 20 + before, "longer than the drain"
        assert spec["automountServiceAccountToken"] is False
        assert spec["serviceAccountName"] == accounts[0]["metadata"]["name"]


def test_what_an_autoscaler_steers_carries_no_replicas(core: list[Document]) -> None:
    for each in (each for each in core if each["kind"] == "Deployment"):
        steered = each["metadata"]["name"].startswith("ei-infer-")
        assert ("replicas" in each["spec"]) is not steered, name_of(each)


def test_each_pod_gets_its_own_password_and_redis_gets_hashes_only(core: list[Document]) -> None:
    secret = next(each for each in core if each["kind"] == "Secret")["stringData"]
    users = secret.pop("users.acl")
    assert len(set(secret.values())) == len(secret) == len(USERS) + 1
    assert not any(value in users for value in secret.values())
    assert "user default off" in users
    expected = {"redis": {"users.acl"}, "inference": {"worker-password"}, "websocket-server": {"viewer-password"}}
    expected |= {"gateway": {"viewer-password", "gateway-token"}, "housekeeping": {"viewer-password"}}
    for name, pod in workloads(core):
        keys = {
            item["key"]
            for volume in pod["spec"]["volumes"]
            for source in [volume, *volume.get("projected", {}).get("sources", ())]
            for item in source.get("secret", {}).get("items", ())
        }
        assert keys == expected[pod["metadata"]["labels"]["app.kubernetes.io/component"]], name
        for container in pod["spec"]["containers"]:
            assert not any(
                "PASSWORD" in each["name"] and "FILE" not in each["name"] for each in container.get("env", ())
            )


def test_housekeeping_runs_twice_from_the_gateways_image_and_is_scraped(core: list[Document]) -> None:
    deployments = {each["metadata"]["name"]: each["spec"] for each in core if each["kind"] == "Deployment"}
    housekeeping, gateway = (deployments[f"ei-{name}-deployment"] for name in ("housekeeping", "gateway-server"))
    assert housekeeping["replicas"] == 2, "a lost node must not leave KEDA blind"
    (container,) = housekeeping["template"]["spec"]["containers"]
    assert container["image"] == gateway["template"]["spec"]["containers"][0]["image"]
    assert container["command"] == ["ei-housekeeping-service"]
    assert container["ports"] == [{"name": "web", "containerPort": 8000}]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}


def test_redis_refuses_what_is_larger_than_the_largest_frame_and_never_evicts(core: list[Document]) -> None:
    conf = next(each for each in core if name_of(each) == "ConfigMap/ei-redis-config")["data"]["valkey.conf"]
    settings = next(each for each in core if name_of(each) == "ConfigMap/ei-settings")["data"]
    largest = int(settings["MAX_FRAME_BYTES"]) + 2**20  # a result is its frame and its JSON
    assert f"proto-max-bulk-len {largest}\n" in conf
    assert "maxmemory-policy noeviction\n" in conf
    assert "maxmemory 768mb\n" in conf


def labels_of(documents: Sequence[Document], component: str) -> Peer:
    for _, pod in workloads(documents):
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component:
            return Peer(pod["metadata"]["labels"], address="10.244.0.9")
    raise AssertionError(component)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    return made(tmp_path_factory.mktemp("samples"), "-f", str(PROJECT / "kubernetes/sample-infer"))


def test_network_policies_allow_the_pictures_arrows_and_nothing_else(
    core: list[Document], samples: list[Document]
) -> None:
    policies = [each for each in core if each["kind"] == "NetworkPolicy"]
    clients = ("inference", "websocket-server", "gateway", "housekeeping")
    peers = {name: labels_of(core, name) for name in ("redis", *clients)}
    peers["producer"] = labels_of(samples, "producer")
    ports = {"redis": 6379, "websocket-server": 31611, "gateway": 5000}
    arrows = {(who, "redis") for who in ("producer", *clients)}
    arrows |= {("gateway", "websocket-server")}
    for who, source in peers.items():
        for whom, target in peers.items():
            if who != whom:
                port = ports.get(whom, 8000)
                assert allowed(policies, source, target, port) is ((who, whom) in arrows), (who, whom)
    foreign = Peer({"app": "x"}, address="10.244.3.7")
    elsewhere = Peer({"app": "x"}, {"team": "y"}, own_namespace=False, address="10.244.3.8")
    outside = Peer(address="192.0.2.7")
    for who in (foreign, elsewhere):
        assert allowed(policies, who, peers["gateway"], 5000)
        assert not allowed(policies, who, peers["redis"], 6379)
        assert not allowed(policies, who, peers["websocket-server"], 31611)
        assert not any(allowed(policies, who, each, 8000) for each in peers.values())
    assert allowed(policies, outside, peers["redis"], 6379)
    assert allowed(policies, outside, peers["gateway"], 5000)
    assert not allowed(policies, outside, peers["websocket-server"], 31611)
    prometheus = Peer({"app": "p"}, {"elastic-inference/metrics": "allowed"}, own_namespace=False, address="10.244.9.9")
    assert all(allowed(policies, prometheus, each, 8000) for each in peers.values())
    assert not allowed(policies, prometheus, peers["redis"], 6379)
    keda = Peer({"app": "k"}, {"elastic-inference/scaler": "allowed"}, own_namespace=False, address="10.244.9.8")
    assert allowed(policies, keda, peers["redis"], 6379)
    dns = Peer({"k8s-app": "kube-dns"}, {}, own_namespace=False, address="10.96.0.10")
    for each in peers.values():
        assert allowed(policies, each, dns, 53, "UDP")
        assert allowed(policies, each, dns, 53)
        assert not allowed(policies, each, outside, 443)


def test_without_the_pods_addresses_the_queues_node_port_is_left_to_the_users(tmp_path: Path) -> None:
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE))
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    assert allowed(policies, Peer({"app": "x"}, address="10.244.3.7"), labels_of(documents, "redis"), 6379)


def test_policies_speak_of_ports_that_the_pods_have(core: list[Document]) -> None:
    pods = [template for _, template in workloads(core)]
    for policy in (
        each for each in core if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] != "ei-default"
    ):
        selector = policy["spec"]["podSelector"].get("matchLabels", {})
        chosen = [pod for pod in pods if selector.items() <= pod["metadata"]["labels"].items()]
        offered = {
            port["containerPort"] for pod in chosen for each in pod["spec"]["containers"] for port in each["ports"]
        }
        for rule in policy["spec"].get("ingress", ()):
            assert {port["port"] for port in rule["ports"]} <= offered, name_of(policy)


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


@pytest.mark.parametrize("port", [443, 6443, 8443, 16443])
def test_monitoring_reaches_the_api_server_of_every_kind_of_cluster(port: int, tmp_path: Path) -> None:
    documents = made(tmp_path, "-f", str(PROJECT / "kubernetes/monitoring"))
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    for name in ("ei-prometheus", "ei-prometheus-adapter"):
        assert allowed(policies, Peer({"app": name}, address="10.244.0.9"), Peer(address="192.0.2.1"), port), name


def exported() -> set[str]:
    """Every series that a service of ours has."""
    registry = CollectorRegistry()
    InferenceMetrics(registry, "people", "some-model")
    GatewayMetrics(registry)
    HousekeepingMetrics(registry)
    return {name for metric in registry.collect() for name in [metric.name, *(each.name for each in metric.samples)]}


def test_the_hpa_asks_for_what_pods_export_and_the_adapter_serves_it_in_time(
    core: list[Document], tmp_path: Path
) -> None:
    (rule,) = yaml.safe_load((PROJECT / "kubernetes/parts/monitoring/adapter-rules.yml").read_text())["rules"]
    served = re.search(r'__name__=~"([^"]*)"', rule["seriesQuery"])
    assert served
    deployments = {name.removeprefix("Deployment/") for name, _ in workloads(core)}
    autoscalers = made(tmp_path / "hpa", "-f", str(PROJECT / "kubernetes/scale/hpa-ratio"))
    assert len(autoscalers) == 6
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


def test_hpa_cpu_aims_below_the_limit_that_it_is_told(tmp_path: Path) -> None:
    source = str(PROJECT / "kubernetes/scale/hpa-cpu")
    for each in made(tmp_path, "-f", source, "--set", "INFER_CPU_LIMIT=200m"):
        (metric,) = each["spec"]["metrics"]
        assert metric["containerResource"]["container"] == "inference"
        assert metric["containerResource"]["target"] == {"type": "AverageValue", "averageValue": "140m"}


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


def test_an_accelerator_comes_through_its_device_plugin(tmp_path: Path) -> None:
    for device, resource in (
        ("GPU", "gpu.intel.com/i915"),
        ("GPU:xe", "gpu.intel.com/xe"),
        ("NPU", "npu.intel.com/accel"),
    ):
        documents = made(tmp_path / f"{device}.yaml", "-f", str(PROJECT / CORE), "-d", device)
        pods = [pod for name, pod in workloads(documents) if "ei-infer-" in name]
        assert len(pods) == 6
        for pod in pods:
            container = pod["spec"]["containers"][0]
            assert container["resources"]["limits"][resource] == "1"
            assert {"name": "INFER_DEVICE", "value": device.partition(":")[0]} in container["env"]


def test_an_external_redis_takes_the_place_of_ours(tmp_path: Path) -> None:
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), *VARIANTS["external"])
    assert not any("redis-deployment" in name_of(each) or "redis-svc" in name_of(each) for each in documents)
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    source = labels_of(documents, "gateway")
    reachable = {port for port in (6379, 26379, 443) if allowed(policies, source, Peer(address="192.0.2.1"), port)}
    assert reachable == {6379, 26379}


def test_a_cluster_for_the_queue_comes_with_a_broker_of_its_own(tmp_path: Path) -> None:
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), *VARIANTS["cluster"])
    environ = next(each for each in documents if name_of(each) == "ConfigMap/ei-settings")["data"]
    settings = load_settings(GatewaySettings, environ)
    assert str(settings.queue) == "redis+cluster://a.example:7001,b.example:7002"
    assert str(settings.broker) == "rediss://broker.example:6380/0"
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    source = labels_of(documents, "gateway")
    ports = (6379, 6380, 7001, 7002, 443)
    reachable = {port for port in ports if allowed(policies, source, Peer(address="192.0.2.1"), port)}
    assert reachable == {6380, 7001, 7002}


def test_a_broker_elsewhere_leaves_the_queues_redis_here(tmp_path: Path) -> None:
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "--broker-url", "redis://broker.example/0")
    assert valid(documents) == []
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    source = labels_of(documents, "inference")
    assert allowed(policies, source, labels_of(documents, "redis"), 6379)
    assert allowed(policies, source, Peer(address="192.0.2.1"), 6379)


def test_names_that_yaml_takes_for_numbers_stay_names(tmp_path: Path) -> None:
    camera = made(tmp_path / "c.yaml", "-n", "17", "-c", "0x1f", "-t", "123", "-g", "8", "--set", "USB_NODE=1")
    own = made(tmp_path / "type", "-t", "123", "-m", "1e3", "-g", "8", "-a", "keda")
    usb = made(tmp_path / "u.yaml", "-n", "true", "-c", "0", "-t", "123", "--set", "USB_NODE=1")
    assert valid([*camera, *own, *usb]) == []
    for _, pod in workloads([*camera, *own, *usb]):
        values = [each["value"] for each in pod["spec"]["containers"][0]["env"] if "value" in each]
        assert all(isinstance(each, str) for each in values)
    ingress = PROJECT / "kubernetes/ingress/gateway-ingress.yaml.template"
    assert valid(made(tmp_path / "i.yaml", "-f", str(ingress), "--set", "INGRESS_HOST=1.5")) == []


def test_without_a_node_port_redis_is_shut_to_the_outside(tmp_path: Path) -> None:
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), *VARIANTS["no node ports"])
    services = {each["metadata"]["name"]: each["spec"] for each in documents if each["kind"] == "Service"}
    for name in ("ei-redis-svc", "ei-gateway-server-svc"):
        assert services[name]["type"] == "ClusterIP"
        assert "nodePort" not in services[name]["ports"][0]
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    redis = labels_of(documents, "redis")
    assert not allowed(policies, Peer(address="192.0.2.7"), redis, 6379)
    assert not allowed(policies, Peer({"app": "x"}, address="10.244.3.7"), redis, 6379)
    assert allowed(policies, labels_of(documents, "gateway"), redis, 6379)
    assert allowed(policies, Peer(address="192.0.2.7"), labels_of(documents, "gateway"), 5000), "an ingress comes in"


def test_a_node_is_chosen_by_its_labels(tmp_path: Path) -> None:
    for given in ("gpu=yes,zone=1", "gpu: yes, zone: 1"):
        documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "--set", f"NODE_SELECTOR={given}")
        pods = [pod for name, pod in workloads(documents) if "ei-infer-" in name]
        assert [pod["spec"]["nodeSelector"] for pod in pods] == [{"gpu": "yes", "zone": "1"}] * 6


def test_a_pod_network_is_written_as_a_network(tmp_path: Path) -> None:
    for given, expected in (("10.244.0.7/16", "10.244.0.0/16"), ("fd00:10:244:0::/56", "fd00:10:244::/56")):
        documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "-P", given)
        assert valid(documents) == []
        assert expected in str(next(each for each in documents if name_of(each) == "NetworkPolicy/ei-redis"))


def test_a_camera_whose_address_is_not_known_can_be_given_one(core: list[Document], tmp_path: Path) -> None:
    common = ("-n", "gate-1", "-t", "people")
    for camera, port in (("a-secret", 9), ("rtsp://camera.example/1", 554)):
        documents = made(tmp_path / "c.yaml", *common, "-c", camera)
        policies = [each for each in [*core, *documents] if each["kind"] == "NetworkPolicy"]
        assert allowed(policies, labels_of(documents, "producer"), Peer(address="192.0.2.99"), port)
        told = ("--camera-cidr", "192.0.2.8/29", "--camera-port", "8554")
        documents = made(tmp_path / "c.yaml", *common, "-c", camera, *told)
        assert valid(documents) == []
        policies = [each for each in [*core, *documents] if each["kind"] == "NetworkPolicy"]
        source = labels_of(documents, "producer")
        assert allowed(policies, source, Peer(address="192.0.2.10"), 8554)
        assert not allowed(policies, source, Peer(address="192.0.2.99"), 8554)
        assert not allowed(policies, source, Peer(address="192.0.2.10"), port)


def test_a_camera_that_may_reach_any_address_is_told(tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        return generate("-r", "x", "-n", "gate-1", "-t", "people", "-o", str(tmp_path / "c.yaml"), *arguments)

    assert "may reach any address at any TCP port" in said("-c", "a-secret")
    assert "may reach any address at TCP port 554" in said("-c", "rtsp://camera.example/1")
    assert "may reach 192.0.2.8/29 at any TCP port" in said("-c", "a-secret", "--camera-cidr", "192.0.2.8/29")
    assert "may reach" not in said("-c", "rtsp://192.0.2.10/1")
    assert "may reach" not in said("-c", "0")
    assert "may reach" not in said("-c", "a-secret", "--camera-cidr", "192.0.2.8/29", "--camera-port", "554")


def test_a_camera_reaches_its_camera_and_nothing_else(core: list[Document], tmp_path: Path) -> None:
    documents = made(
        tmp_path / "c.yaml", "-n", "gate-1", "-c", "rtsp://user:secret@192.0.2.10:8554/a", "-t", "people,face-fp32"
    )
    assert valid(documents) == []
    policies = [each for each in [*core, *documents] if each["kind"] == "NetworkPolicy"]
    source = labels_of(documents, "producer")
    assert allowed(policies, source, Peer(address="192.0.2.10"), 8554)
    assert not allowed(policies, source, Peer(address="192.0.2.10"), 22)
    assert not allowed(policies, source, Peer(address="192.0.2.11"), 8554)
    _, pod = next(workloads(documents))
    environ = {each["name"]: each for each in pod["spec"]["containers"][0]["env"]}
    assert environ["STREAM_NAME"]["value"] == "gate-1"
    assert environ["INFER_TYPE"]["value"] == "people,face-fp32"
    assert environ["CAMERA"]["valueFrom"]["secretKeyRef"] == {"name": "ei-camera-gate-1", "key": "url"}


def test_the_ports_of_the_images_are_those_of_the_manifests(core: list[Document]) -> None:
    for name, pod in workloads(core):
        image = pod["spec"]["containers"][0]["image"].rpartition("/")[2].partition(":")[0]
        dockerfile = PROJECT / "container" / f"{image}.Dockerfile"
        if dockerfile.exists():
            exposed = next(line for line in dockerfile.read_text().splitlines() if line.startswith("EXPOSE")).split()[
                1:
            ]
            assert {str(port["containerPort"]) for port in pod["spec"]["containers"][0]["ports"]} == set(exposed), name
            user = next(line for line in dockerfile.read_text().splitlines() if line.startswith("USER")).split()[1]
            assert (
                user == f"{pod['spec']['securityContext']['runAsUser']}:{pod['spec']['securityContext']['runAsGroup']}"
            )
