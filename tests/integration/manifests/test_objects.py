"""Each manifest that the templates give: valid for four Kubernetes versions, and within our own rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from elastic_inference.adapters.acl import USERS
from tests.support.manifests import (
    CORE,
    PROJECT,
    TEMPLATES,
    VARIANTS,
    Document,
    made,
    name_of,
    restricted_problems,
    upkeep_problems,
    valid,
    workloads,
)


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
    assert "Deployment/ei-event-deployment" in names
    assert {"Deployment/ei-camera-pool-app", "Deployment/ei-camera-controller-deployment"} <= names
    assert "CustomResourceDefinition/cameras.elastic-inference.io" in names
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
    assert [each["automountServiceAccountToken"] for each in accounts] == [False, False]
    for name, pod in workloads(core):
        labels, spec = pod["metadata"]["labels"], pod["spec"]
        assert {"name", "component", "part-of", "version"} <= {
            key.removeprefix("app.kubernetes.io/") for key in labels if key.startswith("app.kubernetes.io/")
        }
        assert spec["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]["app"] == labels["app"]
        assert labels["app"] in budgets, name
        before = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert spec["terminationGracePeriodSeconds"] > 20 + before, "longer than the drain"
        # only the controller talks to the API server
        controls = labels["app.kubernetes.io/component"] == "camera-controller"
        assert spec["automountServiceAccountToken"] is controls
        assert spec["serviceAccountName"] == accounts[controls]["metadata"]["name"]


def test_deployments_that_an_autoscaler_controls_have_no_replicas(core: list[Document]) -> None:
    for each in (each for each in core if each["kind"] == "Deployment"):
        steered = each["metadata"]["name"].startswith(("ei-infer-", "ei-camera-pool-"))
        assert ("replicas" in each["spec"]) is not steered, name_of(each)


def test_each_pod_gets_its_own_password_and_redis_gets_hashes_only(core: list[Document]) -> None:
    secret = next(each for each in core if name_of(each) == "Secret/ei-credentials")["stringData"]
    users = secret.pop("users.acl")
    assert len(set(secret.values())) == len(secret) == len(USERS) + 1
    assert not any(value in users for value in secret.values())
    assert "user default off" in users
    expected = {"redis": {"users.acl"}, "inference": {"worker-password"}, "websocket-server": {"viewer-password"}}
    expected |= {"gateway": {"gateway-password", "gateway-token"}, "housekeeping": {"housekeeping-password"}}
    expected |= {
        "events": {"events-password"},
        "camera-pool": {"source-password"},
        "camera-controller": {"housekeeping-password"},
    }
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


def test_names_that_look_like_numbers_in_yaml_stay_names(tmp_path: Path) -> None:
    camera = made(tmp_path / "c.yaml", "-n", "17", "-c", "0x1f", "-t", "123", "-g", "8", "--set", "USB_NODE=1")
    own = made(tmp_path / "type", "-t", "123", "-m", "1e3", "-g", "8", "-a", "keda")
    usb = made(tmp_path / "u.yaml", "-n", "true", "-c", "0", "-t", "123", "--set", "USB_NODE=1")
    assert valid([*camera, *own, *usb]) == []
    for _, pod in workloads([*camera, *own, *usb]):
        values = [each["value"] for each in pod["spec"]["containers"][0]["env"] if "value" in each]
        assert all(isinstance(each, str) for each in values)
    ingress = PROJECT / "kubernetes/ingress/gateway-ingress.yaml.template"
    assert valid(made(tmp_path / "i.yaml", "-f", str(ingress), "--set", "INGRESS_HOST=1.5")) == []


def test_a_node_is_chosen_by_its_labels(tmp_path: Path) -> None:
    for given in ("gpu=yes,zone=1", "gpu: yes, zone: 1"):
        documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), "--set", f"NODE_SELECTOR={given}")
        pods = [pod for name, pod in workloads(documents) if "ei-infer-" in name]
        assert [pod["spec"]["nodeSelector"] for pod in pods] == [{"gpu": "yes", "zone": "1"}] * 6


def test_the_ports_of_the_images_are_those_of_the_manifests(core: list[Document]) -> None:
    for name, pod in workloads(core):
        (container,) = pod["spec"]["containers"]
        image = container["image"].rpartition("/")[2].partition(":")[0]
        dockerfile = PROJECT / "container" / f"{image}.Dockerfile"
        if dockerfile.exists():
            lines = dockerfile.read_text().splitlines()
            exposed = set(next(line for line in lines if line.startswith("EXPOSE")).split()[1:])
            ports = {str(port["containerPort"]) for port in container["ports"]}
            # housekeeping is a second command of the gateway's image, and does not listen on all of its ports
            assert ports <= exposed if "command" in container else ports == exposed, name
            user = next(line for line in lines if line.startswith("USER")).split()[1]
            security = pod["spec"]["securityContext"]
            assert user == f"{security['runAsUser']}:{security['runAsGroup']}"


def test_the_controller_may_do_no_more_than_it_must(core: list[Document]) -> None:
    roles = [each for each in core if each["kind"] in ("Role", "ClusterRole")]
    assert [name_of(each) for each in roles] == ["Role/ei-camera-controller"]
    for rule in roles[0]["rules"]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        if rule["resources"] == ["secrets"]:
            assert (rule["resourceNames"], rule["verbs"]) == (["ei-camera-logins"], ["get", "patch"])
        else:
            assert rule["apiGroups"] == ["elastic-inference.io"]


def test_applying_the_core_again_keeps_the_logins_of_cameras(core: list[Document]) -> None:
    (logins,) = (each for each in core if name_of(each) == "Secret/ei-camera-logins")
    assert not {"data", "stringData"} & set(logins), "what kubectl did not set, it does not remove"
