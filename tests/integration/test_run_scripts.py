"""What tools/run-*.sh have in common: options, mistakes, what reaches a container. Only the engine is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference import __version__
from elastic_inference.base import config, ports, shell_variables
from tests.support.ports import free_port
from tests.support.scripts import TOOLS, recorded_call, recording_engine, run, web_server

SECRET = "pa55-of-the-user"
# Per script: the command, the options that it needs, and all of its own.
SCRIPTS = {
    "run-css.sh": ("ei-camera-stream-service", ("-v", "http://camera/video"), "vtsfqpuy"),
    "run-fss.sh": ("ei-file-stream-service", ("-v", __file__), "vtsqpuy"),
    "run-ois.sh": ("ei-inference-service", (), "tiopuy"),
    "run-wss.sh": ("ei-websocket-server", (), "ipwuy"),
    "run-gws.sh": ("ei-gateway-server", (), "ipwguy"),
    "run-hks.sh": ("ei-housekeeping-service", (), "ipuy"),
    "run-evs.sh": ("ei-event-service", (), "ipuy"),
}
IMAGES = {"ei-housekeeping-service": "ei-gateway-server"}
SETTINGS = {each.command: each for each in config.SERVICES}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return recording_engine(tmp_path)


def address_option(script: str) -> str:
    return "-q" if "q" in SCRIPTS[script][2] else "-i"


def test_every_service_has_a_script_and_its_variables_are_up_to_date() -> None:
    # The camera controller is of no use outside a cluster.
    assert {command for command, _, _ in SCRIPTS.values()} == set(SETTINGS) - {"ei-camera-controller"}
    assert (TOOLS / "lib" / "variables.sh").read_text() == shell_variables.shell_text(), "run `make docs`"


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_option(script: str, environ: dict[str, str]) -> None:
    done = run(script, "-h", environ=environ)
    assert done.returncode == 0
    assert f"usage: {script} " in done.stdout
    assert all(f"  -{letter} " in done.stdout for letter in SCRIPTS[script][2] + "h")
    assert f"(default: {ports.QUEUE_PORT})" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_mistake_is_one_line(script: str, environ: dict[str, str]) -> None:
    _, needed, _ = SCRIPTS[script]
    address = address_option(script)
    for arguments, why in (
        (("-p", "99999"), "-p 99999: expected a port"),
        (("-p", "many"), "-p many: expected a port"),
        (("-x",), "-x is unknown"),
        ((address,), f"{address} needs a value"),
        (("stray",), "'stray' is not an option"),
        ((address, "a b"), "'a b' is not an address"),
        (("-p", "1", "-u", "viewer"), "needs a password: set QUEUE_PASSWORD"),
    ):
        done = run(script, *needed, *arguments, environ=environ)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert why in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.fixture
def dashboard() -> Iterator[int]:
    with web_server() as port:
        yield port


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_dashboards_port_is_recognised(script: str, dashboard: int, environ: dict[str, str]) -> None:
    address = (address_option(script), "127.0.0.1", "-p", str(dashboard))
    done = run(script, *SCRIPTS[script][1], *address, environ=environ)
    assert done.returncode == 2
    assert "answers HTTP: 31002 is the dashboard, the frame queue is port 31003" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_container_gets_its_settings_by_name_only(script: str, environ: dict[str, str], tmp_path: Path) -> None:
    command, needed, _ = SCRIPTS[script]
    secret_file = tmp_path / "password"
    secret_file.write_text(SECRET + "\n")
    fields = config.settings_of(SETTINGS[command])
    own = {name: "1" for name in map(str.upper, fields) if not name.startswith(("QUEUE_", "BROKER_"))}
    files = ("_FILE", "_PATH", "_DIR", "_CERT", "_KEY", "_CA")
    own = {name: value for name, value in own.items() if not name.endswith(files)}
    settings = {**own, "QUEUE_PASSWORD_FILE": str(secret_file), "QUEUE_PASSWORD": "", "EI_ENGINE_ARGS": "--memory 1g"}
    done = run(
        *(script, *needed, address_option(script), "127.0.0.1", "-p", str(free_port())),
        *("-u", "viewer", "-y", "registry.example:5000/ei/"),
        environ=environ | settings,
    )
    assert done.returncode == 0, done.stderr
    call = recorded_call(tmp_path)
    image = IMAGES.get(command, command)
    assert call.argv[0] == "run"
    assert call.argv[-1] == f"registry.example:5000/ei/{image}:{__version__}"
    assert call.values("--memory") == ["1g"]
    assert call.values("--entrypoint") == ([command] if image != command else [])
    named = call.values("-e")
    assert {*own, "QUEUE_HOST", "QUEUE_PORT", "QUEUE_USERNAME", "QUEUE_PASSWORD"} <= set(named)
    assert not any("=" in name for name in named)
    assert len(set(named)) == len(named)
    assert SECRET not in " ".join(call.argv)
    assert call.environ["QUEUE_PASSWORD"] == SECRET
    assert "--init" not in call.argv  # podman's init is a package that Debian only recommends; the services need none


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_container_reaches_a_redis_with_a_private_ca(script: str, environ: dict[str, str], tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("certificate")
    done = run(
        *(script, *SCRIPTS[script][1], address_option(script), "rediss://redis.example:6379/0", "-y", "registry"),
        environ=environ | {"QUEUE_CA_FILE": str(ca), "BROKER_CA_FILE": str(ca)},
    )
    assert done.returncode == 0, done.stderr
    call = recorded_call(tmp_path)
    assert call.values("--mount").count(f"type=bind,source={ca},target={ca},readonly") == 1
    assert {"QUEUE_URL", "QUEUE_CA_FILE", "BROKER_CA_FILE"} <= set(call.values("-e"))
    assert call.environ["QUEUE_CA_FILE"] == str(ca)


def test_a_container_gets_the_settings_former_names(environ: dict[str, str], tmp_path: Path) -> None:
    arguments = ("run-ois.sh", "-p", str(free_port()), "-y", "registry")
    done = run(*arguments, environ=environ | {"MODEL_DIR": str(tmp_path), "STREAM_BROKER_HOST": "broker.example"})
    assert done.returncode == 0, done.stderr
    call = recorded_call(tmp_path)
    assert call.values("--mount") == [f"type=bind,source={tmp_path},target=/own-models,readonly"]
    assert call.environ["INFER_MODEL_PATH"] == "/own-models"
    assert call.environ["BROKER_HOST"] == "broker.example"


@pytest.mark.parametrize(
    ("script", "variable", "words"),
    [
        ("run-ois.sh", "QUEUE_CA_FILE", "expected a readable file"),
        ("run-ois.sh", "MODEL_CACHE_DIR", "expected a writable folder"),
        ("run-gws.sh", "GATEWAY_TLS_KEY", "expected a readable file"),
        ("run-gws.sh", "GATEWAY_TOKEN_FILE", "expected a readable file"),
        ("run-fss.sh", "QUEUE_PASSWORD_FILE", "expected a readable file"),
    ],
)
def test_a_missing_file_is_one_line(
    script: str, variable: str, words: str, environ: dict[str, str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "none")
    arguments = (*SCRIPTS[script][1], "-p", str(free_port()), "-y", "registry")
    done = run(script, *arguments, environ=environ | {variable: missing})
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {variable}={missing}: {words}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "variable"),
    [("run-gws.sh", "GATEWAY_TLS_CERT"), ("run-ois.sh", "INFER_MODEL_PATH"), ("run-fss.sh", "VIDEO_FILE")],
)
def test_a_path_that_no_engine_mounts_is_one_line(
    script: str, variable: str, environ: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "a,b" / "file"
    file.parent.mkdir()
    file.write_text("x")
    done = run(script, "-p", str(free_port()), "-y", "registry", environ=environ | {variable: str(file)})
    assert done.returncode == 2
    assert "a path with a comma can't be mounted" in done.stderr
    assert done.stderr.count("\n") == 1
