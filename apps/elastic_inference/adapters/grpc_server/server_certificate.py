"""The server's certificate and the authorities of its clients, from files that are read again when they change."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

from elastic_inference.base.log import Throttle
from elastic_inference.domain.errors import SettingError

log = logging.getLogger(__name__)


class ServerCertificate:
    """TLS 1.2 or newer, with HTTP/2 by ALPN. With `client_ca`, clients need a certificate of one of its authorities."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None = None) -> None:
        """Reads the files (PEM). Raises SettingError."""
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._throttle = Throttle()
        self._seen = self._state()
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """For the next connection. Files that cannot be read now leave it as it was."""
        if (state := self._state()) != self._seen:
            try:
                self._context = self._read()
                self._seen = state
            except SettingError as error:
                if note := self._throttle.note("files"):
                    log.warning("the scaler keeps its old certificate: %s %s", error, note)
        return self._context

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        try:
            # Without a password given here, OpenSSL would prompt for one at the terminal.
            context.load_cert_chain(self._cert, self._key, password="")
        except (OSError, ValueError) as error:  # SSLError is an OSError
            expected = f"expected a PEM chain for the key {self._key}, and a key without a password ({error})"
            raise SettingError("SCALER_TLS_CERT", str(self._cert), expected) from None
        if self._client_ca is not None:
            try:
                context.load_verify_locations(self._client_ca)
            except (OSError, ValueError) as error:
                expected = f"expected a readable file with certificates of authorities, PEM ({error})"
                raise SettingError("SCALER_CLIENT_CA", str(self._client_ca), expected) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _state(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in (self._cert, self._key, self._client_ca) if path is not None]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
