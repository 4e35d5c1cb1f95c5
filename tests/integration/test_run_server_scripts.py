"""tools/run-wss.sh, run-gws.sh and run-hks.sh: real scripts and services; a stand-in only for the container engine."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference import __version__
from elastic_inference.commands.embedded_valkey import EmbeddedValkey, free_port
from tests.support.scripts import TOOLS, recording_engine, run, web_server
from tests.support.waiting import wait_for

SECRET = "pa55-of-the-viewer"
SCRIPTS = ["run-wss.sh", "run-gws.sh", "run-hks.sh"]
COMMANDS = {"run-wss.sh": "ei-websocket-server", "run-gws.sh": "ei-gateway-server"}
COMMANDS["run-hks.sh"] = "ei-housekeeping-service"
IMAGES = {**COMMANDS, "run-hks.sh": "ei-gateway-server"}
LISTENS = {"run-wss.sh": ["-w"], "run-gws.sh": ["-w", "-g"], "run-hks.sh": []}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return recording_engine(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_option(script: str, environ: dict[str, str]) -> None:
    done = run(script, "-h", environ=environ)
    assert done.returncode == 0
    options = ("-i", "-p", "-u", "-y", "-h", *LISTENS[script])
    assert all(f"  {option} " in done.stdout for option in options)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("-p", "99999"), "-p 99999: expected a port"),
        (("-x",), "-x is unknown"),
        (("-i",), "-i needs a value"),
        (("stray",), "'stray' is not an option"),
        (("-i", "a b"), "is no address"),
        (("-p", "1", "-u", "viewer"), "needs a password: set QUEUE_PASSWORD"),
    ],
)
def test_a_mistake_is_one_line(script: str, arguments: tuple[str, ...], why: str, environ: dict[str, str]) -> None:
    done = run(script, *arguments, environ=environ)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "arguments", "why"),
    [
        ("run-wss.sh", ("-w", "99999"), "-w 99999: expected a port"),
        ("run-gws.sh", ("-g", "99999"), "-g 99999: expected a port"),
        ("run-gws.sh", ("-p", "1", "-w", "ws://relay:70000"), "WEBSOCKET_SERVER_URL='ws://relay:70000'"),
        ("run-gws.sh", ("-p", "1", "-i", "192.168..1.5"), "QUEUE_HOST='192.168..1.5'"),
    ],
)
def test_a_mistake_in_an_option_of_its_own(
    script: str, arguments: tuple[str, ...], why: str, environ: dict[str, str]
) -> None:
    done = run(script, *arguments, environ=environ)
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def dashboard() -> Iterator[int]:
    with web_server() as port:
        yield port


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_dashboards_port_is_told_from_the_queues(script: str, dashboard: int, environ: dict[str, str]) -> None:
    done = run(script, "-i", "127.0.0.1", "-p", str(dashboard), environ=environ)
    assert done.returncode == 2
    assert "answers HTTP: 31002 is the dashboard, the frame queue is port 31003" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_becomes_the_service_with_a_login(script: str, environ: dict[str, str]) -> None:
    metrics = free_port()
    listen = [option for flag in LISTENS[script][-1:] for option in (flag, "0")]
    settings = {"QUEUE_PASSWORD": SECRET, "METRICS_PORT": str(metrics), "METRICS_HOST": "127.0.0.1"}

    def connected() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/readyz", timeout=2) as answer:
                ready = json.load(answer)
                return bool(ready["ready"] and not ready["degraded"])
        except OSError:
            return False

    with (
        EmbeddedValkey(options=("--user", "viewer", "on", f">{SECRET}", "~*", "&*", "+@all")) as server,
        subprocess.Popen(
            [*(str(TOOLS / script), "-i", "127.0.0.1", "-p", str(server.port)), *("-u", "viewer", *listen)],
            env=environ | settings,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            wait_for(connected, 30, "the service to be ready")
            shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            assert COMMANDS[script].encode() in shown
            assert SECRET.encode() not in shown
        finally:
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert SECRET not in errors


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_image_gets_its_settings_by_name_only(script: str, environ: dict[str, str], tmp_path: Path) -> None:
    secret_file = tmp_path / "password"
    secret_file.write_text(SECRET + "\n")
    own = {"ALLOWED_ORIGINS": "https://a.example", "MAX_FRAME_AGE_S": "3"}
    settings = {"QUEUE_PASSWORD_FILE": str(secret_file), **own}
    done = run(
        *(script, "-i", "127.0.0.1", "-p", str(free_port()), "-u", "viewer", "-y", "registry.example:5000/ei/"),
        environ=environ | settings,
    )
    assert done.returncode == 0, done.stderr
    call = json.loads((tmp_path / "call.json").read_text())
    argv = call["argv"]
    assert argv[-1] == f"registry.example:5000/ei/{IMAGES[script]}:{__version__}"
    named = [argv[index + 1] for index, word in enumerate(argv) if word == "-e"]
    read = "MAX_FRAME_AGE_S" if script == "run-hks.sh" else "ALLOWED_ORIGINS"
    assert {"QUEUE_HOST", "QUEUE_PORT", "QUEUE_USERNAME", "QUEUE_PASSWORD", read} <= set(named)
    assert ("--entrypoint" in argv) is (COMMANDS[script] != IMAGES[script]), "another service of the same image"
    assert not any("=" in name for name in named)
    assert SECRET not in " ".join(argv)
    assert call["environ"]["QUEUE_PASSWORD"] == SECRET


def test_the_gateways_files_reach_its_container(environ: dict[str, str], tmp_path: Path) -> None:
    token, cert, key = tmp_path / "token", tmp_path / "tls.crt", tmp_path / "tls.key"
    for file in (token, cert, key):
        file.write_text(SECRET)
    settings = {"GATEWAY_TOKEN_FILE": str(token), "GATEWAY_TLS_CERT": str(cert), "GATEWAY_TLS_KEY": str(key)}
    arguments = ("-p", str(free_port()), "-g", "31002", "-w", "ws://127.0.0.1:31612", "-y", "registry")
    done = run("run-gws.sh", *arguments, environ=environ | settings)
    assert done.returncode == 0, done.stderr
    call = json.loads((tmp_path / "call.json").read_text())
    for file in (cert, key):
        assert f"type=bind,source={file},target={file},readonly" in call["argv"]
    assert SECRET not in " ".join(call["argv"])
    assert call["environ"]["GATEWAY_TOKEN"] == SECRET
    assert call["environ"]["GATEWAY_PORT"] == "31002"
    assert call["environ"]["WEBSOCKET_SERVER_URL"] == "ws://127.0.0.1:31612"
    missing = run("run-gws.sh", *arguments, environ=environ | settings | {"GATEWAY_TLS_KEY": str(tmp_path / "none")})
    assert missing.returncode == 2
    assert "expected a readable file" in missing.stderr


@pytest.mark.parametrize(
    ("script", "variable", "option"),
    [("run-gws.sh", "GATEWAY_TLS_CERT", ""), ("run-ois.sh", "INFER_MODEL_PATH", ""), ("run-fss.sh", "", "-v")],
)
def test_a_path_that_no_engine_mounts_is_one_line(
    script: str, variable: str, option: str, environ: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "a,b" / "file"
    file.parent.mkdir()
    file.write_text("x")
    given = {variable: str(file)} if variable else {}
    arguments = ((option, str(file)) if option else ()) + ("-p", str(free_port()), "-y", "registry")
    done = run(script, *arguments, environ=environ | given)
    assert done.returncode == 2
    assert "a path with a comma can't be mounted" in done.stderr
    assert done.stderr.count("\n") == 1
