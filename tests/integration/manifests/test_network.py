"""Network policies: who may talk to whom, and which cameras and servers outside a pod may reach."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from elastic_inference.adapters.camera_resource.kept_objects import kept
from elastic_inference.adapters.camera_resource.resource import read_camera
from elastic_inference.base.config import CameraSettings, EventSettings, GatewaySettings
from elastic_inference.base.config import load as load_settings
from tests.support.manifests import (
    CORE,
    PROJECT,
    VARIANTS,
    Document,
    Peer,
    allowed,
    generate,
    labels_of,
    made,
    name_of,
    valid,
    workloads,
)


def pod_of(documents: list[Document], deployment: str) -> Document:
    (found,) = (each for each in documents if name_of(each) == f"Deployment/{deployment}")
    spec: Document = found["spec"]["template"]["spec"]
    return spec


def environ_of(documents: list[Document], deployment: str) -> dict[str, str]:
    environ = pod_of(documents, deployment)["containers"][0]["env"]
    return {each["name"]: each["value"] for each in environ if "value" in each}


def settings_of(documents: list[Document], deployment: str) -> dict[str, str]:
    """What its pods have in their environment, except for the password's file, which is not here."""
    common = next(each for each in documents if name_of(each) == "ConfigMap/ei-settings")["data"]
    return common | {name: value for name, value in environ_of(documents, deployment).items() if "PASSWORD" not in name}


def test_network_policies_allow_the_documented_connections_and_no_others(
    core: list[Document], samples: list[Document]
) -> None:
    policies = [each for each in core if each["kind"] == "NetworkPolicy"]
    clients = ("inference", "websocket-server", "gateway", "housekeeping", "events", "camera-pool", "camera-controller")
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
    for who, each in peers.items():
        assert allowed(policies, each, dns, 53, "UDP")
        assert allowed(policies, each, dns, 53)
        # the API server has no address that a policy could name
        assert allowed(policies, each, outside, 443) is (who == "camera-controller"), who
        assert not allowed(policies, each, outside, 80), who


def test_the_camera_pool_reaches_cameras_in_private_networks(core: list[Document], tmp_path: Path) -> None:
    policies = [each for each in core if each["kind"] == "NetworkPolicy"]
    pool = labels_of(core, "camera-pool")
    for address, reached in (
        ("192.168.1.7", True),
        ("10.9.8.7", True),
        ("192.0.2.7", False),
        ("169.254.169.254", False),
    ):
        for protocol in ("TCP", "UDP"):
            assert allowed(policies, pool, Peer(address=address), 554, protocol) is reached, address
    told = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "--set", "CAMERA_NETWORKS=192.0.2.0/24")
    policies = [each for each in told if each["kind"] == "NetworkPolicy"]
    pool = labels_of(told, "camera-pool")
    assert allowed(policies, pool, Peer(address="192.0.2.7"), 554)
    assert not allowed(policies, pool, Peer(address="192.168.1.7"), 554)
    environ = environ_of(told, "ei-camera-pool-app")
    assert environ["CAMERA_NETWORKS"] == "192.0.2.0/24", "the workers and the policy know the same networks"


def test_the_event_service_reaches_sinks_in_private_networks_except_pods(core: list[Document], tmp_path: Path) -> None:
    policies = [each for each in core if each["kind"] == "NetworkPolicy"]
    events = labels_of(core, "events")
    reached = ("192.168.1.7", "10.9.8.7", "172.16.0.1", "fd00::7")
    for address in (*reached, "192.0.2.7", "169.254.169.254", "10.244.3.7"):
        assert allowed(policies, events, Peer(address=address), 8883) is (address in reached), address
    assert not allowed(policies, events, Peer(address="10.9.8.7"), 8883, "UDP"), "sinks are reached by TCP only"
    assert not allowed(policies, labels_of(core, "gateway"), Peer(address="10.9.8.7"), 8883)
    told = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "--set", "SINK_NETWORKS=192.0.2.0/24, fd01::/64")
    assert valid(told) == []
    policies = [each for each in told if each["kind"] == "NetworkPolicy"]
    events = labels_of(told, "events")
    assert allowed(policies, events, Peer(address="192.0.2.7"), 443)
    assert allowed(policies, events, Peer(address="fd01::7"), 443)
    assert not allowed(policies, events, Peer(address="192.168.1.7"), 443)
    settings = load_settings(EventSettings, settings_of(told, "ei-event-deployment"))
    assert settings.sink_networks == ("192.0.2.0/24", "fd01::/64"), "the service and the policy know the same networks"


def test_networks_without_one_open_nothing(tmp_path: Path) -> None:
    nothing = ("--set", "SINK_NETWORKS=", "--set", "CAMERA_NETWORKS=")
    told = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), *nothing)
    assert valid(told) == []
    policies = [each for each in told if each["kind"] == "NetworkPolicy"]
    for who in ("events", "camera-pool"):
        for address in ("192.168.1.7", "192.0.2.7"):
            assert not allowed(policies, labels_of(told, who), Peer(address=address), 554), (who, address)
    assert load_settings(EventSettings, settings_of(told, "ei-event-deployment")).sink_networks == ()
    assert load_settings(CameraSettings, settings_of(told, "ei-camera-pool-app")).camera_networks == ()


def test_the_event_service_mounts_a_secret_that_may_be_missing(core: list[Document]) -> None:
    spec = pod_of(core, "ei-event-deployment")
    (volume,) = (each["secret"] for each in spec["volumes"] if each["name"] == "sinks")
    assert volume == {"secretName": "ei-sinks", "optional": True, "defaultMode": 0o440}
    (mount,) = (each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "sinks")
    assert mount["readOnly"] is True
    assert "subPath" not in mount, "a file mounted on its own does not follow the Secret"
    settings = load_settings(EventSettings, settings_of(core, "ei-event-deployment"))
    folder = Path(mount["mountPath"])
    assert (settings.sinks_file, settings.sink_secrets_dir) == (folder / "sinks.yaml", folder)


def test_without_the_pod_network_only_logins_protect_the_queues_node_port(tmp_path: Path) -> None:
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE))
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    assert allowed(policies, Peer({"app": "x"}, address="10.244.3.7"), labels_of(documents, "redis"), 6379)


def test_policies_name_ports_that_the_pods_have(core: list[Document]) -> None:
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


@pytest.mark.parametrize("port", [443, 6443, 8443, 16443])
def test_monitoring_reaches_the_api_server_of_every_kind_of_cluster(port: int, tmp_path: Path) -> None:
    documents = made(tmp_path, "-f", str(PROJECT / "kubernetes/monitoring"))
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    for name in ("ei-prometheus", "ei-prometheus-adapter"):
        assert allowed(policies, Peer({"app": name}, address="10.244.0.9"), Peer(address="192.0.2.1"), port), name


def test_an_external_redis_replaces_ours(tmp_path: Path) -> None:
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), *VARIANTS["external"])
    assert not any("redis-deployment" in name_of(each) or "redis-svc" in name_of(each) for each in documents)
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    source = labels_of(documents, "gateway")
    reachable = {port for port in (6379, 26379, 443) if allowed(policies, source, Peer(address="192.0.2.1"), port)}
    assert reachable == {6379, 26379}


def test_a_cluster_for_the_queue_may_come_with_a_broker_of_its_own(tmp_path: Path) -> None:
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


def test_a_cluster_serves_queue_and_broker(tmp_path: Path) -> None:
    url = "redis+cluster://a.example:7001,b.example:7002"
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "--redis-url", url)
    assert valid(documents) == []
    environ = next(each for each in documents if name_of(each) == "ConfigMap/ei-settings")["data"]
    settings = load_settings(GatewaySettings, environ)
    assert str(settings.queue) == str(settings.broker) == url
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "--broker-url", url)
    environ = next(each for each in documents if name_of(each) == "ConfigMap/ei-settings")["data"]
    assert str(load_settings(GatewaySettings, environ).broker) == url


def test_a_broker_elsewhere_leaves_the_queues_redis_here(tmp_path: Path) -> None:
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "--broker-url", "redis://broker.example/0")
    assert valid(documents) == []
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    source = labels_of(documents, "inference")
    assert allowed(policies, source, labels_of(documents, "redis"), 6379)
    assert allowed(policies, source, Peer(address="192.0.2.1"), 6379)


def test_without_a_node_port_redis_is_closed_to_the_outside(tmp_path: Path) -> None:
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


def test_a_pod_network_is_written_as_a_network(tmp_path: Path) -> None:
    for given, expected in (("10.244.0.7/16", "10.244.0.0/16"), ("fd00:10:244:0::/56", "fd00:10:244::/56")):
        documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "-P", given)
        assert valid(documents) == []
        assert expected in str(next(each for each in documents if name_of(each) == "NetworkPolicy/ei-redis"))


def test_the_address_of_a_camera_can_be_given_if_it_is_not_known(core: list[Document], tmp_path: Path) -> None:
    common = ("-n", "gate-1", "-t", "people", "-c", "a-secret")
    documents = made(tmp_path / "c.yaml", *common)
    policies = [each for each in [*core, *documents] if each["kind"] == "NetworkPolicy"]
    assert allowed(policies, labels_of(documents, "producer"), Peer(address="192.0.2.99"), 9)
    documents = made(tmp_path / "c.yaml", *common, "--camera-cidr", "192.0.2.8/29", "--camera-port", "8554")
    assert valid(documents) == []
    policies = [each for each in [*core, *documents] if each["kind"] == "NetworkPolicy"]
    source = labels_of(documents, "producer")
    assert allowed(policies, source, Peer(address="192.0.2.10"), 8554)
    assert not allowed(policies, source, Peer(address="192.0.2.99"), 8554)
    assert not allowed(policies, source, Peer(address="192.0.2.10"), 9)


def test_the_generator_says_when_a_camera_may_reach_any_address(tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        return generate("-r", "x", "-n", "gate-1", "-t", "people", "-o", str(tmp_path / "c.yaml"), *arguments)

    assert "may reach any address at any TCP port" in said("-c", "a-secret")
    told = ("--camera-port", "554")
    assert "may reach any address at TCP port 554" in said("-c", "a-secret", *told)
    assert "may reach 192.0.2.8/29 at any TCP port" in said("-c", "a-secret", "--camera-cidr", "192.0.2.8/29")
    assert "may reach the networks of --set CAMERA_NETWORKS" in said("-c", "rtsp://192.0.2.10/1")
    assert "may reach" not in said("-c", "0")
    assert "may reach" not in said("-c", "a-secret", "--camera-cidr", "192.0.2.8/29", "--camera-port", "554")


def test_a_network_camera_belongs_to_the_pool_and_its_login_to_a_secret(tmp_path: Path) -> None:
    given = "rtsp://user:s%40cret@192.0.2.10:8554/a?token=abc"
    documents = made(tmp_path / "c.yaml", "-n", "gate-1", "-c", given, "-t", "people,face-fp32")
    assert valid(documents) == []
    found = {each["kind"]: each for each in documents}
    assert found["Camera"]["spec"] == {
        "url": "rtsp://192.0.2.10:8554/a?token=***",
        "types": ["people", "face-fp32"],
        "login_secret": "ei-camera-gate-1",
    }
    assert found["Secret"]["stringData"] == {
        "user": "user",
        "password": "s@cret",
        "url": "rtsp://192.0.2.10:8554/a?token=abc",
    }
    assert found["Role"]["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["ei-camera-gate-1"], "verbs": ["get"]}
    ]
    assert found["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": "ei-camera-controller"}]
    # What the controller makes of it is what was given.
    secret = {key: base64.b64encode(value.encode()).decode() for key, value in found["Secret"]["stringData"].items()}
    resource = kept(found["Camera"])
    assert resource is not None
    stored = read_camera(resource, {"ei-camera-gate-1": secret})
    assert stored.spec is not None
    assert stored.spec.url == "rtsp://192.0.2.10:8554/a?token=abc"
    assert stored.spec.login is not None
    assert stored.spec.login.password.get_secret_value() == "s@cret"


def test_a_network_camera_without_a_login_needs_no_secret(tmp_path: Path) -> None:
    documents = made(tmp_path / "c.yaml", "-n", "gate-1", "-c", "rtsp://192.0.2.10/1", "-t", "people")
    assert [name_of(each) for each in documents] == ["Camera/gate-1"]
    assert documents[0]["spec"] == {"url": "rtsp://192.0.2.10/1", "types": ["people"]}


def test_only_kedas_namespace_reaches_the_scaler(core: list[Document], tmp_path: Path) -> None:
    pushed = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "--set", "PUSH_SCALER=on")
    keda = Peer({"app": "k"}, {"elastic-inference/scaler": "allowed"}, own_namespace=False, address="10.244.9.8")
    others = [
        *(Peer({"app": "x"}, {"team": "y"}, own_namespace=False, address="10.244.3.8"), Peer(address="192.0.2.7")),
        *(labels_of(pushed, "gateway"), labels_of(pushed, "inference")),
    ]
    for documents, reached in ((core, False), (pushed, True)):
        policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
        target = labels_of(documents, "housekeeping")
        assert allowed(policies, keda, target, 8010) is reached
        assert not any(allowed(policies, each, target, 8010) for each in others)
        assert not allowed(policies, keda, target, 8000)
