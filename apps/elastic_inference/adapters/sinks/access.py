"""What sinks may read and reach: secrets in one folder and, for sinks added by REST, addresses that rules allow."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.adapters.sinks.base import LoginRefusedError, UnavailableError
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.domain.errors import SourceError

_MAX_SECRET_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SinkAccess:
    """`rules` is None for a sink of the operator's file, which may name any address."""

    secrets: Path | None
    rules: AddressRules | None

    def secret(self, name: str | None) -> str | None:
        """The content of a secret's file. Raises LoginRefusedError, since the sink would refuse us without it."""
        if name is None:
            return None
        try:
            with self.path(name).open("rb") as file:
                text = file.read(_MAX_SECRET_BYTES + 1)
            found = text.decode().strip()
        except (OSError, UnicodeDecodeError):
            text, found = b"", ""
        if not found or len(text) > _MAX_SECRET_BYTES:
            raise LoginRefusedError(f"expected a text of at most 64 KiB in the file {name} of SINK_SECRETS_DIR")
        return found

    def path(self, name: str) -> Path:
        """Where a secret's file is. A name has no folders, so it cannot lead out of SINK_SECRETS_DIR."""
        if self.secrets is None:
            raise LoginRefusedError(f"the file {name} is needed: set SINK_SECRETS_DIR to the folder that holds it")
        return self.secrets / name

    def address(self, host: str) -> str:
        """The address to connect to. Raises UnavailableError if there is none, or none that is allowed."""
        try:
            if self.rules is not None:
                return self.rules.resolve(host)
            return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
        except SourceError as error:
            raise UnavailableError(str(error)) from None
        except (OSError, UnicodeError):
            raise UnavailableError(f"the host name {host[:100]} is unknown") from None
