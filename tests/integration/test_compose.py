"""container/compose.yaml: the same images, as closed as in a cluster."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from elastic_inference import __version__
from elastic_inference.base import config
from elastic_inference.base.redis_server import as_arguments, server_settings
from elastic_inference.commands.manifests.options import SETTINGS
from tests.support.manifests import PROJECT

KNOWN = {
    "ei-camera-stream-service": config.CameraSettings,
    "ei-file-stream-service": config.FileSettings,
    "ei-inference-service": config.InferenceSettings,
    "ei-websocket-server": config.WebsocketSettings,
    "ei-gateway-server": config.GatewaySettings,
    "ei-event-service": config.EventSettings,
}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load((PROJECT / "container" / "compose.yaml").read_text())
    assert found["networks"]["inside"] == {"internal": True}
    services: dict[str, dict[str, Any]] = found["services"]
    return services


def image_of(service: dict[str, Any]) -> tuple[str, str]:
    """(name, tag) with the variables' defaults."""
    reference = service["image"].replace("${TAG:-", "").rstrip("}")
    return reference.rpartition("/")[2].partition(":")[0], reference.rpartition(":")[2]


def test_it_runs_our_images_and_the_manifests_redis(services: dict[str, dict[str, Any]]) -> None:
    assert services["redis"]["image"] == f"${{REDIS_IMAGE:-{SETTINGS['REDIS_IMAGE']}}}"
    images = {image_of(each) for name, each in services.items() if name != "redis"}
    assert {name for name, _ in images} == set(KNOWN)
    assert {tag for _, tag in images} == {__version__}, "the default tag is the project's version"


def test_every_service_is_closed(services: dict[str, dict[str, Any]]) -> None:
    for name, each in services.items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert ("ports" in each) is (name == "gateway"), name
        assert ("outside" in each["networks"]) is (name in ("gateway", "camera", "camera-pool", "events")), name


def test_settings_are_ones_that_the_services_read(services: dict[str, dict[str, Any]]) -> None:
    for name, each in services.items():
        if name != "redis":
            known = config.HousekeepingSettings if "entrypoint" in each else KNOWN[image_of(each)[0]]
            assert set(each["environment"]) <= {field.upper() for field in config.settings_of(known)}, name


def test_sinks_come_from_a_folder_of_this_machine(services: dict[str, dict[str, Any]]) -> None:
    environ = services["events"]["environment"]
    assert services["events"]["volumes"] == [f"${{SINKS_DIR:-./sinks}}:{environ['SINK_SECRETS_DIR']}:ro"]
    assert environ["SINKS_FILE"] == f"{environ['SINK_SECRETS_DIR']}/sinks.yaml"
    assert "/container/sinks/" in (PROJECT / ".gitignore").read_text().splitlines(), "it holds secrets"


def test_a_service_that_shares_an_image_names_its_command(services: dict[str, dict[str, Any]]) -> None:
    commands = {name: each["entrypoint"] for name, each in services.items() if "entrypoint" in each}
    assert commands == {"housekeeping": ["ei-housekeeping-service"]}


def test_redis_has_the_settings_of_every_installation(services: dict[str, dict[str, Any]]) -> None:
    server, *settings = services["redis"]["command"]
    common = as_arguments(server_settings("512mb", int(SETTINGS["MAX_FRAME_BYTES"])))
    assert (server, settings) == ("valkey-server", [*common, "--protected-mode", "no"])
