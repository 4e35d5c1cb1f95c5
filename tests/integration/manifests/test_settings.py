"""What the services read in a cluster: the settings' models know each variable, and each file is mounted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elastic_inference.adapters.acl import USERS
from elastic_inference.base.allowed_hosts import AllowedHosts
from elastic_inference.base.config import (
    CameraControllerSettings,
    CameraSettings,
    CommonSettings,
    EventSettings,
    FileSettings,
    GatewaySettings,
    HousekeepingSettings,
    InferenceSettings,
    WebsocketSettings,
    load,
    settings_of,
)
from tests.support.manifests import PROJECT, Document, generate, name_of, workloads
from tests.support.manifests import load as load_files

SERVICES: dict[str, type[CommonSettings]] = {
    "ei-camera-stream-service": CameraSettings,
    "ei-file-stream-service": FileSettings,
    "ei-inference-service": InferenceSettings,
    "ei-websocket-server": WebsocketSettings,
    "ei-gateway-server": GatewaySettings,
    "ei-housekeeping-service": HousekeepingSettings,
    "ei-event-service": EventSettings,
    "ei-camera-controller": CameraControllerSettings,
}
EVERYTHING = [
    *("--redis-tls", "tls", "--set", "GATEWAY_TLS=gateway-tls", "--set", "SAMPLE_FPS=5"),
    *("--set", "GATEWAY_TOKENS=ei-tokens", "--set", "ALLOWED_HOSTS=video.example.org"),
    *("--set", "TRUSTED_PROXIES=10.0.0.0/8,::1"),
    *("--set", "CONFIDENCE_THRESHOLD=0.4", "--set", "STREAM_QUEUE_DEPTH=8", "--models", "all"),
]
CAMERA = ("-n", "gate-1", "-t", "people", "-c")


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """One of each service, with every option that brings a variable or a file."""
    folder = tmp_path_factory.mktemp("everything")
    for name, arguments in {
        "core": ["-f", str(PROJECT / "kubernetes/elastic-inference.yaml.template")],
        "sample": ["-f", str(PROJECT / "kubernetes/sample-infer/people.yaml.template")],
        "camera": [*CAMERA, "rtsp://192.0.2.10/1"],
        "usb": [*CAMERA[:1], "desk", *CAMERA[2:], "0"],
    }.items():
        generate("-r", "registry.example.org", "-o", str(folder / f"{name}.yaml"), *arguments, *EVERYTHING)
    return load_files(*sorted(folder.glob("*.yaml")))


def environ_of(pod: Document, documents: list[Document], folder: Path) -> dict[str, str]:
    """The variables of a pod's container. Files from volumes are created under `folder`."""
    (container,) = pod["spec"]["containers"]
    maps = {each["metadata"]["name"]: each["data"] for each in documents if each["kind"] == "ConfigMap"}
    environ: dict[str, str] = {}
    for each in container.get("envFrom", ()):
        environ.update(maps[each["configMapRef"]["name"]])
    for each in container.get("env", ()):
        environ[each["name"]] = each.get("value", "rtsp://192.0.2.10/1")
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    for mount in container["volumeMounts"]:
        for file in _files(volumes[mount["name"]]):
            path = folder / mount["mountPath"].lstrip("/") / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("content")
    return {name: f"{folder}{value}" if value.startswith("/etc/") else value for name, value in environ.items()}


def _files(volume: dict[str, Any]) -> list[str]:
    sources = [next(iter(each.values())) for each in volume.get("projected", {}).get("sources", ())]
    sources += [volume["secret"]] if "secret" in volume else []
    # a Secret that is mounted whole is one of TLS, or the optional one of sinks
    return [
        file
        for each in sources
        for file in (
            [item["path"] for item in each.get("items", ())]
            or (["sinks.yaml"] if each.get("optional") else ["tls.crt", "tls.key"])
        )
    ]


def test_every_service_starts_with_what_its_pod_gets(documents: list[Document], tmp_path: Path) -> None:
    checked = set()
    for name, pod in workloads(documents):
        image = pod["spec"]["containers"][0]["image"].rpartition("/")[2].partition(":")[0]
        command = pod["spec"]["containers"][0].get("command", [image])[0]
        settings_class = SERVICES.get(command)
        if settings_class is None:
            assert name == "Deployment/ei-redis-deployment"
            continue
        environ = environ_of(pod, documents, tmp_path / name.replace("/", "-"))
        known = {field.upper() for each in SERVICES.values() for field in settings_of(each)}
        own = {each["name"] for each in pod["spec"]["containers"][0].get("env", ())}
        assert set(environ) <= known, name
        assert own <= {field.upper() for field in settings_of(settings_class)}, name
        for variable, value in environ.items():
            assert not value.startswith(str(tmp_path)) or Path(value).exists(), f"{name}: {variable}"
        load(settings_class, environ)
        checked.add(settings_class)
    assert checked == set(SERVICES.values())


def test_a_setting_of_the_services_can_be_given_to_all_of_them(documents: list[Document]) -> None:
    (settings,) = [each["data"] for each in documents if name_of(each) == "ConfigMap/ei-settings"]
    assert (
        settings.items()
        >= {
            "CONFIDENCE_THRESHOLD": "0.4",
            "STREAM_QUEUE_DEPTH": "8",
            "LOG_LEVEL": "INFO",
            "TRUSTED_PROXIES": "10.0.0.0/8,::1",
        }.items()
    )
    assert "QUEUE_DEPTH" not in settings, "what nobody gave keeps the services' default"


def test_servers_without_a_login_accept_the_names_of_their_services(documents: list[Document]) -> None:
    for app in ("ei-gateway-server", "ei-websocket-server"):
        (pod,) = [pod for name, pod in workloads(documents) if name == f"Deployment/{app}-deployment"]
        environ = {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}
        allowed = AllowedHosts(environ["ALLOWED_HOSTS"].split(","), "pod-1")
        services = (f"{app}-svc", f"{app}-svc.video.svc:31611", f"{app}-svc.video.svc.cluster.local")
        for host in (*services, "video.example.org", "192.0.2.7:31002"):
            assert allowed.allow([host]), host
        assert not allowed.allow([f"{app}-svc.evil.example"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("CONFIDENCE_THRESHOLD=2", "--set CONFIDENCE_THRESHOLD=2: expected a number, at least 0, at most 1"),
        ("QUEUE_DEPTH=many", "--set QUEUE_DEPTH=many: expected an integer, at least 1"),
        ("CAMERA=0", "--set CAMERA=0: expected NAME=VALUE"),
        ("SCALER_USER=no", "--set SCALER_USER=no: expected on or off"),
        ("PUSH_SCALER=yes", "--set PUSH_SCALER=yes: expected on or off"),
    ],
)
def test_a_value_that_no_service_would_take_is_refused(given: str, message: str) -> None:
    assert message in generate("-r", "x", "-f", "x", "--set", given, expect=2)


@pytest.mark.parametrize("state", ["on", "off"])
def test_the_login_of_keda_can_be_switched_off(tmp_path: Path, state: str) -> None:
    generate("-r", "x", "--secret-only", "--set", f"SCALER_USER={state}", "-o", str(tmp_path / "secret.yaml"))
    (secret,) = load_files(tmp_path / "secret.yaml")
    users = dict(line.split()[1:3] for line in secret["stringData"]["users.acl"].splitlines())
    assert users == {**dict.fromkeys(USERS, "on"), "scaler": state, "default": "off"}
