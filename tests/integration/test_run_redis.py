"""tools/run-redis.sh as its users call it."""

from __future__ import annotations

import contextlib
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.support.ports import free_port
from tests.support.waiting import wait_for

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "run-redis.sh"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, timeout=30, check=False)


def test_help_and_mistakes(tmp_path: Path) -> None:
    assert "usage" in run("-h").stdout
    for arguments in (("-p", "99999"), ("-x",), ("-p",), ("-a", str(tmp_path / "none")), ("-m", "1"), ("extra",)):
        result = run(*arguments)
        assert result.returncode == 2, arguments
        assert "Traceback" not in result.stderr
        assert "expected" in result.stderr or "-h shows" in result.stderr


@pytest.mark.parametrize("locked", [False, True])
def test_serves_with_the_queues_settings_until_ctrl_c(tmp_path: Path, locked: bool) -> None:
    port, users = free_port(), tmp_path / "users.env"
    command = [str(SCRIPT), "-p", str(port), *(["-u", str(users)] if locked else [])]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: answers(port), what="the server")
            options = {}
            if locked:
                assert stat.S_IMODE(users.stat().st_mode) == 0o600
                passwords = dict(line.split("=", 1) for line in users.read_text().splitlines())
                options = {"username": "admin", "password": passwords["admin"]}
                with pytest.raises(redis.AuthenticationError), redis.Redis(port=port) as client:
                    client.ping()
            with redis.Redis(port=port, **options) as client:
                found = client.config_get("maxmemory*", "proto-max-bulk-len", "save", "appendonly", "client-output*")
                assert client.config_get("timeout", "maxclients") == {"timeout": "300", "maxclients": "10000"}
                assert found["maxmemory-policy"] == "noeviction"
                assert int(found["maxmemory"]) == 512 * 1024 * 1024
                assert int(found["proto-max-bulk-len"]) == 5 * 1024 * 1024
                assert (found["save"], found["appendonly"]) == ("", "no")
                assert f"pubsub {64 * 2**20} {32 * 2**20} 20" in found["client-output-buffer-limit"]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert users.exists() is locked


def answers(port: int) -> bool:
    with contextlib.suppress(redis.ConnectionError), redis.Redis(port=port) as client:
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            return True
    return False


def test_the_largest_message_follows_the_largest_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_FRAME_BYTES", str(20 * 1024 * 1024))
    lines = ei_redis("--print-settings").stdout.splitlines()
    assert lines[lines.index("--proto-max-bulk-len") + 1] == str(21 * 1024 * 1024)
    monkeypatch.setenv("MAX_FRAME_BYTES", "much")
    refused = ei_redis("--print-settings")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: MAX_FRAME_BYTES='much' is not accepted")


def ei_redis(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "elastic_inference.commands.embedded_valkey_main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_image_gets_the_same_settings(tmp_path: Path) -> None:
    engine = tmp_path / "engine"
    engine.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    engine.chmod(0o755)
    users = tmp_path / "users.env"
    for given, image in (
        ("registry.example:5000", "registry.example:5000/valkey/valkey:8.1"),
        ("docker.io/library/redis:7.4", "docker.io/library/redis:7.4"),
        ("docker.io/valkey/valkey:9.0-alpine", "docker.io/valkey/valkey:9.0-alpine"),
        (f"docker.io/valkey/valkey:8.1@sha256:{'0' * 64}", f"docker.io/valkey/valkey:8.1@sha256:{'0' * 64}"),
    ):
        result = subprocess.run(
            [str(SCRIPT), "-y", given, "-u", str(users)],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            env={"EI_ENGINE": str(engine), "PATH": "/usr/bin:/bin"},
        )
        lines = result.stdout.splitlines()
        assert image in lines
        assert f"type=bind,source={users.with_suffix('.acl')},target=/users.acl,readonly" in lines
        assert lines[lines.index("--aclfile") + 1] == "/users.acl"
        assert lines[lines.index("--save") + 1] == ""
        assert ("--min-string-size-avoid-copy-reply" in lines) is ("valkey:9" in given)
        assert ("redis-server" if "redis:" in given else "valkey-server") in lines
