"""A gateway in this process that notices new inference types soon, and a certificate."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.conftest import missing_tool
from tests.support.gateway import ADMIN_TOKEN, GUARD_TOKEN, RunningGateway, write_tokens


@pytest.fixture(autouse=True)
def quick_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks for new types often. The default interval is as long as a type lives in Redis."""
    monkeypatch.setattr("elastic_inference.adapters.frame_queue.queue_reader.TYPES_EVERY_S", 0.3)


@pytest.fixture
def gateway(valkey: EmbeddedValkey) -> Iterator[RunningGateway]:
    with RunningGateway(valkey.url) as running:
        yield running


@pytest.fixture
def with_tokens(valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[RunningGateway]:
    """One with the token of an admin, and that of a viewer of `cam-1`."""
    file = tmp_path / "tokens.json"
    write_tokens(file, {"name": "guard", "token": GUARD_TOKEN, "role": "viewer", "cameras": ["cam-1"]})
    with RunningGateway(valkey.url, GATEWAY_TOKEN=ADMIN_TOKEN, GATEWAY_TOKENS_FILE=str(file)) as running:
        yield running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        missing_tool("openssl")
    return cert, key
