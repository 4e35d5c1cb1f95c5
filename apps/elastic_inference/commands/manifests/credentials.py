"""Passwords of a new installation, kept when its manifests are generated again. Prints and logs none of them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.commands.manifests.template import TemplateError

TOKEN = "gateway-token"  # noqa: S105  a key's name
KEYS = (*(f"{user}-password" for user in USERS), TOKEN, "grafana-password")
_LINE = re.compile(r'^  (?P<key>[a-z-]+): "(?P<value>[A-Za-z0-9_-]{16,})"$', re.MULTILINE)


def fresh(kept: Mapping[str, str]) -> dict[str, str]:
    """A value for each key: the kept one, else a random one of 192 bits."""
    return {key: kept.get(key) or secrets.token_urlsafe(24) for key in KEYS}


def read_kept(manifest: Path) -> dict[str, str]:
    """The passwords in a manifest that was generated before; empty where there is none. Raises TemplateError."""
    try:
        text = manifest.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise TemplateError(f"{manifest} can't be read, and its passwords must be kept: {error.strerror}") from None
    return {found["key"]: found["value"] for found in _LINE.finditer(text) if found["key"] in KEYS}


def users_file(values: Mapping[str, str]) -> str:
    """Redis' list of users, with hashes of the passwords only."""
    return render_acl({user: values[f"{user}-password"] for user in USERS})
