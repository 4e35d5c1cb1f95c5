"""The default name of a producer's stream."""

from __future__ import annotations

import socket

from elastic_inference.domain import keys


def default_name(kind: str, host: str | None = None) -> str:
    """Returns `<host or pod name>-<kind>` as a valid name; `kind` is `camera` or `file`."""
    shown = socket.gethostname() if host is None else host
    return f"{keys.clean_name(shown[: keys.NAME_LIMIT - len(kind) - 2]) or 'host'}-{kind}"
