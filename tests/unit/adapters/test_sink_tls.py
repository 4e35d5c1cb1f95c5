"""Files of a sink's TLS that cannot be used: the sink says which, waits for a person, and shows nothing of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from tests.support.certificates import Authority

from elastic_inference.adapters.sinks import LoginRefusedError, SinkAccess
from elastic_inference.adapters.sinks.tls import TlsSpec, tls_context, tls_files, words_of_reason
from elastic_inference.domain.sink_spec import LogSink, read_sink

FILES = {"ca_file": "sink.ca", "cert_file": "sink.cert", "key_file": "sink.key"}


def spec(**more: Any) -> TlsSpec:
    found = read_sink({"name": "hook", "kind": "webhook", "url": "https://h.example/", **more})
    assert not isinstance(found, LogSink)
    return found


def encrypted(key: Path) -> bytes:
    """The key, with a password."""
    made = serialization.load_pem_private_key(key.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"a password")
    return made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Authority(tmp_path).write("sink")
    return tmp_path


def test_files_that_are_right(folder: Path) -> None:
    found = tls_files(spec(**FILES), SinkAccess(folder, None))
    assert found.context.check_hostname
    assert found.context.host == "h.example"
    assert str(found.authorities).strip() == (folder / "sink.ca").read_text().strip()
    assert "PRIVATE KEY" in str(found.key)
    assert "PRIVATE KEY" not in repr(found)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("sink.ca", b"a text", "expected certificates as PEM in the file sink.ca"),
        ("sink.ca", b"\xff\xfe", "expected a text of at most 64 KiB in the file sink.ca"),
        ("sink.ca", b"x" * (64 * 1024 + 1), "expected a text of at most 64 KiB in the file sink.ca"),
        ("sink.ca", None, "expected a text of at most 64 KiB in the file sink.ca"),
        ("sink.cert", b"a text", "expected a certificate in the file sink.cert"),
        ("sink.key", b"a text", "its key in sink.key"),
        ("sink.key", "other", "its key in sink.key"),
        ("sink.key", "encrypted", "the key without a password"),
    ],
)
def test_files_that_are_wrong(folder: Path, name: str, content: bytes | str | None, said: str) -> None:
    file = folder / name
    if content == "other":
        content = Authority(folder, "other").write("other")[1].read_bytes()
    elif content == "encrypted":
        content = encrypted(file)
    if content is None:
        file.unlink()
    else:
        assert isinstance(content, bytes)
        file.write_bytes(content)
    with pytest.raises(LoginRefusedError) as error:
        tls_context(spec(**FILES), SinkAccess(folder, None))
    assert said in str(error.value)
    assert "a text" not in str(error.value).replace("a text of at most", "")


def test_files_without_their_folder_and_a_sink_without_tls(tmp_path: Path) -> None:
    with pytest.raises(LoginRefusedError, match="set SINK_SECRETS_DIR"):
        tls_context(spec(ca_file="sink.ca"), SinkAccess(None, None))
    assert tls_context(spec(url="http://h.example/"), SinkAccess(None, None)) is None


@pytest.mark.parametrize(
    ("reason", "more", "said"),
    [
        ("WRONG_VERSION_NUMBER", {}, "https://h.example does not speak TLS at this port"),
        ("tlsv13 alert certificate required", {}, "if it demands a client certificate, set `cert_file`"),
        ("TLSV1_ALERT_UNKNOWN_CA", FILES, "refuses our client certificate: check `cert_file`"),
        ("UNEXPECTED_EOF_WHILE_READING", FILES, "https://h.example ended the connection"),
        ("no ciphers available", {}, "TLS with https://h.example failed (no ciphers available)"),
    ],
)
def test_reasons_in_words(reason: str, more: dict[str, str], said: str) -> None:
    assert said in words_of_reason(reason, spec(**more))
