"""A real Kafka server with TLS: one listener asks for a client certificate, another one for a login."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Self

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.certificates import Authority
from tests.support.kafka_server import KafkaServer
from tests.support.ports import free_port
from tests.support.waiting import wait_for

USER, PASSWORD = "ei", "tried-with-kafka"
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{login},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{login}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
listener.name.ssl.ssl.client.auth=required
listener.name.sasl_ssl.ssl.client.auth=none
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class TlsKafka:
    """`plain`, `tls` and `login` are its addresses. Its certificate and the clients' are of one authority."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        server = KafkaServer(folder)
        if not any(folder.glob("lib-*[0-9]")):
            with server:
                pass  # this fetches the jars, or skips the test
        (self._jars,) = folder.glob("lib-*[0-9]")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        ports = {name: free_port() for name in ("controller", "plain", "tls", "login")}
        self.plain, self.tls, self.login = (f"127.0.0.1:{ports[name]}" for name in ("plain", "tls", "login"))
        self._ports = ports
        certificate, key = authority.write("kafka")
        # Java reads keys in PKCS #8 only.
        private = load_pem_private_key(key.read_bytes(), None)
        keystore = folder / "keystore.pem"
        pkcs8 = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        keystore.write_bytes(pkcs8 + certificate.read_bytes())
        files = {"data": folder / "tls-data", "keystore": keystore, "authority": authority.ca_file}
        self._settings = folder / "tls.properties"
        self._settings.write_text(_SETTINGS.format(**ports, **files))

    def __enter__(self) -> Self:
        # It must not begin with a hyphen, which would be an option.
        identity = urlsafe_b64encode(b"\0" + secrets.token_bytes(15)).decode().rstrip("=")
        user = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        self._java("kafka.tools.StorageTool", "format", "-t", identity, "-c", str(self._settings), "--add-scram", user)
        with (self._folder / "tls.log").open("wb") as log:
            command = ["java", "-Xmx512m", "-cp", f"{self._jars}/*", "kafka.Kafka", str(self._settings)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        try:
            wait_for(lambda: all(map(self._open, ("plain", "tls", "login"))), 240, "Kafka with TLS")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder / "tls-data", ignore_errors=True)

    def _open(self, listener: str) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail((self._folder / "tls.log").read_text()[-2000:])
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._ports[listener])) == 0

    def _java(self, *arguments: str) -> None:
        command = ["java", "-cp", f"{self._jars}/*", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ))
        assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
