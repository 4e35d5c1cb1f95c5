"""Passwords of an installation, kept when its manifests are generated again. Prints and logs none of them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.base.yaml_text import YamlLimits, YamlTextError, read_all
from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.names import short_path

TOKEN = "gateway-token"  # noqa: S105  a key's name
KEYS = (*(f"{user}-password" for user in USERS), TOKEN, "grafana-password")
_LIMITS = YamlLimits(depth=100, nodes=1_000_000, aliases=True)


def fresh(kept: Mapping[str, str]) -> dict[str, str]:
    """A value for each key: the kept one, or else a random one of 192 bits."""
    return {key: kept.get(key) or secrets.token_urlsafe(24) for key in KEYS}


def read_kept(manifest: Path) -> dict[str, str]:
    """The passwords in an earlier manifest; empty if there is none. Raises ManifestError."""
    try:
        documents = [each.value for each in read_all(manifest.read_bytes(), _LIMITS)]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, YamlTextError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not YAML: {error}"
        raise ManifestError(
            f"{short_path(manifest)} can't be read, and its passwords must be kept: {reason}; repair it, or move it "
            "away for new passwords"
        ) from None
    secrets_there = [each for each in documents if isinstance(each, dict) and each.get("kind") == "Secret"]
    values = {key: value for each in secrets_there for key, value in (each.get("stringData") or {}).items()}
    return {key: value for key, value in values.items() if key in KEYS and isinstance(value, str) and value}


def users_file(values: Mapping[str, str], *, scaler: bool = True) -> str:
    """Redis' list of users, which contains only hashes of the passwords; KEDA's user is off without `scaler`."""
    on = [user for user in USERS if scaler or user != "scaler"]
    return render_acl({user: values[f"{user}-password"] for user in on})
