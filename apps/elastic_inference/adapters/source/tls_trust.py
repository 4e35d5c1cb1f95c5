"""TLS connections to cameras.

Called by `http_client`, `network` and `rtsp_question`. Cameras have certificates of their own: self-signed, expired,
for another name. They are trusted by their fingerprint, or if a file holds the same certificate; all others are checked
as usual.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from pathlib import Path

from elastic_inference.domain.errors import SourceError

_FINGERPRINT = re.compile(r"sha256:((?:[0-9a-f]{2}:?){32})", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Trust:
    """What to trust: the system's authorities, a PEM file, or one certificate by its fingerprint."""

    def __init__(self, shown: str, certificate: str | None) -> None:
        """`shown` is the camera's URL without secrets; `certificate` is a PEM file or `sha256:<fingerprint>`."""
        self._shown = shown
        self._file: str | None = None
        self._pinned: frozenset[str] = frozenset()
        if certificate is None:
            return
        match = _FINGERPRINT.fullmatch(certificate)
        if match:
            self._pinned = frozenset({match.group(1).replace(":", "").lower()})
        else:
            self._file = certificate
            self._pinned = _fingerprints(certificate)

    def connect(self, host: str, port: int, timeout_s: float, address: str | None = None) -> ssl.SSLSocket:
        """A TLS connection to a camera whose certificate is trusted; nothing has been sent on it yet.

        `host` is the name in the certificate, `address` the address to connect to, if already known. Raises
        SourceError if it is not trusted, OSError if there is no connection.
        """
        if self._pinned and self._file is None:
            return self._connect_pinned(host, port, timeout_s, address)
        context = ssl.create_default_context(cafile=self._file)
        try:
            return _wrap(host, port, timeout_s, context, address)
        except ssl.SSLCertVerificationError as error:
            if self._pinned:
                return self._connect_pinned(host, port, timeout_s, address)
            with _wrap(host, port, timeout_s, _unchecked(), address) as connection:
                found = _fingerprint(connection)
            raise SourceError(
                f"The certificate of the camera {self._shown} is not trusted ({error.verify_message}): if it is the "
                f"camera's own, set CAMERA_FINGERPRINT=sha256:{found}"
            ) from None

    def _connect_pinned(self, host: str, port: int, timeout_s: float, address: str | None) -> ssl.SSLSocket:
        connection = _wrap(host, port, timeout_s, _unchecked(), address)
        found = _fingerprint(connection)
        if found not in self._pinned:
            connection.close()
            raise SourceError(
                f"The camera {self._shown} presents another certificate (sha256:{found}) than the one that "
                "CAMERA_FINGERPRINT or CAMERA_CA_FILE names."
            )
        return connection


def _wrap(host: str, port: int, timeout_s: float, context: ssl.SSLContext, address: str | None) -> ssl.SSLSocket:
    plain = socket.create_connection((address or host, port), timeout_s)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _unchecked() -> ssl.SSLContext:
    """A context that checks nothing: the caller checks the fingerprint before it sends a byte of the request."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _fingerprint(connection: ssl.SSLSocket) -> str:
    return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()


def _fingerprints(file: str) -> frozenset[str]:
    try:
        ders = [ssl.PEM_cert_to_DER_cert(each) for each in _PEM.findall(Path(file).read_text(encoding="ascii"))]
    except (OSError, ValueError) as error:
        raise SourceError(f"CAMERA_CA_FILE={file} can't be read: {error}.") from None
    if not ders:
        raise SourceError(f"CAMERA_CA_FILE={file} holds no certificate: expected a PEM file.")
    return frozenset(hashlib.sha256(der).hexdigest() for der in ders)
