"""TLS connections to cameras, and a forwarder for programs that cannot check a camera's certificate themselves.

Called by `http_client` and `network`. Cameras have certificates of their own: self-signed, expired, for another name.
They are trusted by their fingerprint, or if a file holds the same certificate; all others are checked as usual.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from elastic_inference.domain.errors import SourceError

_FINGERPRINT = re.compile(r"sha256:((?:[0-9a-f]{2}:?){32})", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_COPY_BYTES = 65536


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

        `host` is the name in the certificate, `address` where to connect to if that is known already. Raises
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


class TlsForwarder:
    """A port on loopback that forwards one connection to a camera over TLS."""

    def __init__(
        self, connection: ssl.SSLSocket, timeout_s: float, allows: Callable[[bytes], bool] | None = None
    ) -> None:
        """Becomes the owner of `connection`; the one client must connect within `timeout_s`.

        It ends both connections where `allows` refuses what the camera sends.
        """
        self._camera = connection
        self._allows = allows
        self._camera.settimeout(None)
        self._client: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.settimeout(timeout_s)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, name="camera-tls", daemon=True).start()

    def close(self) -> None:
        """Ends both connections."""
        for each in (self._listener, self._client, self._camera):
            if each is not None:
                with contextlib.suppress(OSError):
                    # Wakes a thread that waits on it, without a TLS shutdown that waits for the camera.
                    socket.socket.shutdown(each, socket.SHUT_RDWR)
                with contextlib.suppress(OSError):
                    each.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._client, _ = self._listener.accept()
            self._listener.close()
            self._copy(self._client)
        self.close()

    def _copy(self, client: socket.socket) -> None:
        """Copies both ways until one side ends. In one thread, since a TLS connection is not made for two."""
        camera = self._camera
        camera.setblocking(False)
        poll = select.poll()
        poll.register(client, select.POLLIN)
        poll.register(camera, select.POLLIN)
        while client.fileno() >= 0 and camera.fileno() >= 0:
            # What TLS has decrypted no longer shows at the socket.
            ready = {descriptor for descriptor, _ in poll.poll(0 if camera.pending() else None)}
            if client.fileno() in ready:
                data = client.recv(_COPY_BYTES)
                if not data:
                    return
                _send_all(camera, data)
            if camera.fileno() in ready or camera.pending():
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    data = camera.recv(_COPY_BYTES)
                    if not data or (self._allows is not None and not self._allows(data)):
                        return
                    client.sendall(data)


def _send_all(connection: ssl.SSLSocket, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[connection.send(left) :]
        except ssl.SSLWantWriteError:
            select.select((), (connection,), ())
        except ssl.SSLWantReadError:
            select.select((connection,), (), ())


def _wrap(host: str, port: int, timeout_s: float, context: ssl.SSLContext, address: str | None) -> ssl.SSLSocket:
    plain = socket.create_connection((address or host, port), timeout_s)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _unchecked() -> ssl.SSLContext:
    """A context for which the fingerprint decides, before a byte of the request is sent."""
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
