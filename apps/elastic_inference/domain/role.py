"""The roles of the gateway's tokens."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a token allows: an admin may do everything, a viewer only looks, at its own cameras."""

    ADMIN = "admin"
    VIEWER = "viewer"
