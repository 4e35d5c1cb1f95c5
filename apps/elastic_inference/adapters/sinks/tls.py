"""TLS of sinks: whom they trust, our client certificates, and errors in plain words.

Certificate and host name are always checked. Files are read at each connection, so a renewed certificate is used soon.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from elastic_inference.adapters.sinks.access import SinkAccess
from elastic_inference.adapters.sinks.base import LoginRefusedError
from elastic_inference.domain.sink_spec import KafkaSink, MqttSink, RedisSink, WebhookSink

TlsSpec = WebhookSink | MqttSink | KafkaSink | RedisSink
# OpenSSL's numbers of what is wrong with a certificate.
_NOT_YET, _EXPIRED, _NAMES, _UNKNOWN = (9,), (10,), (62, 64), (2, 18, 19, 20, 21)
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "PACKET_LENGTH_TOO_LONG")
# What a server says about our certificate.
_REFUSED = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN", "ACCESS_DENIED")
_DEMANDED = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE")
_IF_DEMANDED = "if it demands a client certificate, set `cert_file` and `key_file`"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----", re.ASCII)


class SinkContext(ssl.SSLContext):
    """Checks the certificate for the name of the sink, while libraries connect to an address."""

    host = ""

    def wrap_socket(self, sock: Any, *args: Any, **more: Any) -> ssl.SSLSocket:
        """With the host's name, and the handshake at once, so that a failed one leaves no socket open."""
        fixed = {"server_hostname": self.host, "do_handshake_on_connect": True}
        try:
            return super().wrap_socket(sock, *args, **more | fixed)
        except BaseException:
            sock.close()
            raise


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What the files of a sink hold, read and found valid; None where it names none."""

    context: SinkContext
    authorities: str | None
    certificate: str | None
    key: str | None = field(repr=False)


def tls_context(spec: TlsSpec, access: SinkAccess) -> SinkContext | None:
    """What checks the sink's certificate; None without TLS. Raises LoginRefusedError for a wrong file."""
    return tls_files(spec, access).context if spec.secure else None


def tls_files(spec: TlsSpec, access: SinkAccess) -> TlsFiles:
    """The files of a sink. Raises LoginRefusedError that names the file, and shows nothing of it."""
    context = SinkContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.host = spec.hosts
    found = access.secret(spec.ca_file)
    authorities = None if found is None else trust(context, found, str(spec.ca_file))
    if authorities is None:
        context.load_default_certs()
    certificate, key = access.secret(spec.cert_file), access.secret(spec.key_file)
    if spec.cert_file is not None and spec.key_file is not None:
        try:
            # Without a password, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(access.path(spec.cert_file), access.path(spec.key_file), password="")
        except (OSError, ValueError):
            raise LoginRefusedError(
                f"expected a certificate in the file {spec.cert_file} of SINK_SECRETS_DIR, and its key in "
                f"{spec.key_file}, both as PEM and the key without a password"
            ) from None
    return TlsFiles(context, authorities, certificate, key)


def trust(context: ssl.SSLContext, text: str, name: str) -> str:
    """Trusts the authorities in a PEM text, and returns them without what is around. Raises LoginRefusedError."""
    found = "\n".join(_PEM.findall(text))
    try:
        context.load_verify_locations(cadata=found)
    except (OSError, ValueError, TypeError):
        # TypeError: letters that are not ASCII.
        raise LoginRefusedError(f"expected certificates as PEM in the file {name} of SINK_SECRETS_DIR") from None
    return found + "\n"


def tls_words(error: BaseException, spec: TlsSpec) -> str | None:
    """What went wrong, as a sentence; None if it had nothing to do with TLS."""
    destination = spec.destination
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"{destination} is not trusted: {_certificate_words(each, spec)}"
        if isinstance(each, ssl.SSLError):
            return words_of_reason(str(each.reason or each), spec)
        if isinstance(each, (ConnectionResetError, BrokenPipeError)) and spec.cert_file is None:
            return ended_words(spec)
    return None


def ended_words(spec: TlsSpec) -> str:
    """For a connection that ended at once: some servers say no more when they miss a client certificate."""
    return f"{spec.destination} ended the connection{'' if spec.cert_file else f': {_IF_DEMANDED}'}"


def words_of_reason(reason: str, spec: TlsSpec) -> str:
    """What OpenSSL's reason means, such as TLSV13_ALERT_CERTIFICATE_REQUIRED or `wrong version number`."""
    destination = spec.destination
    name = reason.upper().replace(" ", "_")
    if any(each in name for each in _NO_TLS):
        return f"{destination} does not speak TLS at this port"
    if "EOF" in name:
        return ended_words(spec)
    if any(each in name for each in (*_DEMANDED, *_REFUSED)) and spec.cert_file is None:
        return f"{destination} refuses the connection: {_IF_DEMANDED}"
    if any(each in name for each in (*_DEMANDED, *_REFUSED)):
        return f"{destination} refuses our client certificate: check `cert_file`, and which authority it must be of"
    return f"TLS with {destination} failed ({' '.join(reason.split())[:150]})"


def _certificate_words(error: ssl.SSLCertVerificationError, spec: TlsSpec) -> str:
    code = error.verify_code
    if code in _EXPIRED:
        return "its certificate has expired"
    if code in _NOT_YET:
        return "its certificate is not valid yet; compare the clocks"
    if code in _NAMES:
        return f"its certificate is for another name than {spec.hosts}"
    if code in _UNKNOWN:
        return unknown_words(spec)
    return f"its certificate is refused ({error.verify_message[:100]})"


def unknown_words(spec: TlsSpec) -> str:
    """For a certificate of an unknown authority."""
    if spec.ca_file is None:
        return "its certificate is of an authority that this machine does not know; set `ca_file` to a private one"
    return "its certificate is of none of the authorities in `ca_file`"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it came from."""
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
