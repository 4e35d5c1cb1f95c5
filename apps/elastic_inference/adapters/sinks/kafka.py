"""The Kafka sink: the key is the stream, and the producer is idempotent, so that a retry of its own repeats nothing."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from elastic_inference.adapters.sinks.access import SinkAccess
from elastic_inference.adapters.sinks.base import Item, LoginRefusedError, PlainSink, RefusedError, UnavailableError
from elastic_inference.adapters.sinks.tls import tls_files, tls_words, words_of_reason
from elastic_inference.domain.sink_spec import KafkaSink

# The library's own log lines name servers and say little; the sink's state explains more.
log = logging.getLogger(__name__)
log_library = logging.getLogger(f"{__name__}.library")
_LOGIN = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
)
_REFUSED = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD)


# OpenSSL's reason, such as `certificate verify failed`.
_SSL = re.compile(r"SSL routines::([a-zA-Z0-9 /]{1,100})")
_TRY_S = 3.0
# A publisher gets short answers; that about the topic has some 100 bytes for each of its partitions.
_MAX_ANSWER_BYTES = 4 * 1024 * 1024


class Kafka(PlainSink):
    """Keeps one producer, and replaces it after an error, so that the old one sends nothing on its own."""

    max_batch = 100

    def __init__(self, spec: KafkaSink, access: SinkAccess) -> None:
        self._spec = spec
        self._access = access
        self._producer: Producer | None = None
        self._login: str | None = None
        self._tls: str | None = None

    def deliver(self, items: Sequence[Item]) -> None:
        """Sends a batch and waits until all in-sync replicas have it."""
        outcomes: dict[int, KafkaError | None] = {}
        try:
            producer = self._producer = self._producer or self._open()
            for index, item in enumerate(items):
                self._send(producer, index, item, outcomes)
            producer.flush(self._spec.timeout_s)
        except (KafkaException, BufferError) as error:
            self._drop()
            raise UnavailableError(f"{self._spec.destination}: {_short(error)}") from None
        for index in range(len(items)):
            found = outcomes.get(index, KafkaError(KafkaError._MSG_TIMED_OUT))
            if found is not None:
                self._drop()
                self._raise(found, index)
        self._tls = None

    def close(self) -> None:
        """Ends the producer."""
        self._drop()

    def _send(self, producer: Producer, index: int, item: Item, outcomes: dict[int, KafkaError | None]) -> None:
        def done(error: KafkaError | None, _message: Any) -> None:
            outcomes[index] = error

        headers: list[tuple[str, str | bytes | None]] = [
            ("id", item.event.id.encode()),
            ("rev", str(item.event.rev).encode()),
        ]
        if item.resent:
            headers.append(("resent", b"true"))
        try:
            producer.produce(
                self._spec.topic, value=item.document, key=item.key.encode(), headers=headers, on_delivery=done
            )
        except KafkaException as error:
            outcomes[index] = error.args[0]

    def _raise(self, error: KafkaError, index: int) -> None:
        code, words = error.code(), f"{self._spec.destination} refuses the event ({_short(error)})"
        if code in _LOGIN or self._login is not None:
            raise LoginRefusedError(f"{words}: check `user`, `password` and its rights", index)
        if code in _REFUSED:
            raise RefusedError(words, index)
        if self._tls is not None:
            raise UnavailableError(self._tls_words(self._tls), index)
        raise UnavailableError(f"{self._spec.destination} did not take the event ({_short(error)})", index)

    def _open(self) -> Producer:
        spec = self._spec
        self._login = self._tls = None
        options: dict[str, Any] = {
            "bootstrap.servers": ",".join(spec.brokers),
            "client.id": f"elastic-inference-{spec.name}",
            "enable.idempotence": True,
            "linger.ms": 2,
            "message.timeout.ms": int(spec.timeout_s * 1000),
            "socket.timeout.ms": max(1000, int(spec.timeout_s * 500)),
            "reconnect.backoff.max.ms": 2000,
            # Otherwise a server may announce an answer of 100 MB, for which the library takes the memory at once.
            "receive.message.max.bytes": _MAX_ANSWER_BYTES,
            "security.protocol": "SSL" if spec.tls else "PLAINTEXT",
            "error_cb": self._note,
            "logger": log_library,
        }
        if spec.user:
            options |= {
                "security.protocol": "SASL_SSL" if spec.tls else "SASL_PLAINTEXT",
                "sasl.mechanisms": "SCRAM-SHA-512",
                "sasl.username": spec.user,
                "sasl.password": self._access.secret(spec.password) or "",
            }
        return Producer(options | self._tls_options())

    def _tls_options(self) -> dict[str, Any]:
        if not self._spec.tls:
            return {}
        files = tls_files(self._spec, self._access)
        given = {
            "ssl.ca.pem": files.authorities,
            "ssl.certificate.pem": files.certificate,
            "ssl.key.pem": files.key,
            "enable.ssl.certificate.verification": True,
            "ssl.endpoint.identification.algorithm": "https",
        }
        return {name: value for name, value in given.items() if value is not None}

    def _note(self, error: KafkaError) -> None:
        if error.code() in _LOGIN:
            self._login = _short(error)
        if found := _SSL.search(error.str()):
            self._tls = found[1]

    def _tls_words(self, reason: str) -> str:
        """What went wrong. The library does not say what is wrong with a certificate: a handshake of our own does."""
        for host, port in self._spec.servers if "verify" in reason else ():
            context = tls_files(self._spec, self._access).context
            context.host = host
            try:
                with socket.create_connection((host, port), _TRY_S) as plain, context.wrap_socket(plain):
                    pass
            except (OSError, ValueError, OverflowError) as error:
                if words := tls_words(error, self._spec):
                    return words
        return words_of_reason(reason, self._spec)

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(0.1)


def _short(error: object) -> str:
    text = error.str() if isinstance(error, KafkaError) else str(error)
    return " ".join(text.split())[:200]
