"""Certificates of an authority that no machine knows: of servers, of clients, wrong ones too."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import trustme

DAY = datetime.timedelta(days=1)


class Authority:
    """Writes its files into `folder`, named `<name>.ca`, `<name>.cert`, `<name>.key`."""

    def __init__(self, folder: Path, name: str = "sink") -> None:
        self.folder = folder
        self._name = name
        self._authority = trustme.CA()
        self.ca_file = folder / f"{name}.ca"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, host: str = "127.0.0.1", days: tuple[int, int] = (-1, 2)) -> trustme.LeafCert:
        """A certificate that is valid from and until these days from now."""
        now = datetime.datetime.now(datetime.UTC)
        return self._authority.issue_cert(host, not_before=now + days[0] * DAY, not_after=now + days[1] * DAY)

    def write(self, name: str, host: str = "127.0.0.1", days: tuple[int, int] = (-1, 2)) -> tuple[Path, Path]:
        """The files of a certificate and its key."""
        issued = self.issue(host, days)
        cert, key = self.folder / f"{name}.cert", self.folder / f"{name}.key"
        for index, each in enumerate(issued.cert_chain_pems):
            each.write_to_path(str(cert), append=index > 0)
        issued.private_key_pem.write_to_path(str(key))
        return cert, key

    def server(
        self, host: str = "127.0.0.1", *, days: tuple[int, int] = (-1, 2), clients: Authority | None = None
    ) -> ssl.SSLContext:
        """For a server; with `clients`, it demands a certificate of that authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issue(host, days).configure_cert(context)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients.ca_file)
        return context
