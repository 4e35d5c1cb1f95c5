"""tools/run-wss.sh, -gws, -hks and -evs: real scripts and services; a stand-in only for the container engine."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.ports import free_port
from tests.support.scripts import TOOLS, recorded_call, recording_engine, run, stopped_after
from tests.support.waiting import wait_for

SECRET = "pa55-of-the-viewer"
COMMANDS = {
    "run-wss.sh": "ei-websocket-server",
    "run-gws.sh": "ei-gateway-server",
    "run-hks.sh": "ei-housekeeping-service",
    "run-evs.sh": "ei-event-service",
}
LISTENS = {"run-wss.sh": ["-w", "0"], "run-gws.sh": ["-g", "0"], "run-hks.sh": [], "run-evs.sh": []}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return recording_engine(tmp_path)


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


@pytest.mark.parametrize("script", COMMANDS)
def test_it_becomes_the_service_with_a_login(script: str, environ: dict[str, str]) -> None:
    metrics = free_port()
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
            [*(str(TOOLS / script), "-i", "127.0.0.1", "-p", str(server.port)), *("-u", "viewer", *LISTENS[script])],
            env=environ | settings,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        stopped_after(process, 30, SECRET),
    ):
        wait_for(connected, 30, "the service to be ready")
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert COMMANDS[script].encode() in shown
        assert SECRET.encode() not in shown


def test_the_gateways_files_reach_its_container(environ: dict[str, str], tmp_path: Path) -> None:
    token, cert, key = tmp_path / "token", tmp_path / "tls.crt", tmp_path / "tls.key"
    for file in (token, cert, key):
        file.write_text(SECRET)
    settings = {"GATEWAY_TOKEN_FILE": str(token), "GATEWAY_TLS_CERT": str(cert), "GATEWAY_TLS_KEY": str(key)}
    arguments = ("-p", str(free_port()), "-g", "31002", "-w", "ws://127.0.0.1:31612", "-y", "registry")
    done = run("run-gws.sh", *arguments, environ=environ | settings)
    assert done.returncode == 0, done.stderr
    call = recorded_call(tmp_path)
    for file in (cert, key):
        assert f"type=bind,source={file},target={file},readonly" in call.argv
    assert SECRET not in " ".join(call.argv)
    assert call.environ["GATEWAY_TOKEN"] == SECRET
    assert call.environ["GATEWAY_PORT"] == "31002"
    assert call.environ["WEBSOCKET_SERVER_URL"] == "ws://127.0.0.1:31612"
