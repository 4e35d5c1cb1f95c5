"""Passwords of an installation, kept when its manifests are generated again. Prints and logs none of them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from elastic_inference.adapters.acl import USERS, Site, render_acl
from elastic_inference.base.yaml_text import YamlLimits, YamlTextError, read_all
from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.names import short_path

TOKEN = "gateway-token"  # noqa: S105  a key's name
KEYS = (*(f"{user}-password" for user in USERS), TOKEN, "grafana-password")
_LIMITS = YamlLimits(depth=100, nodes=1_000_000, aliases=True)


def fresh(kept: Mapping[str, str], sites: Sequence[Site] = ()) -> dict[str, str]:
    """A value for each key: the kept one, or else a random one of 192 bits."""
    wanted = (*KEYS, *(password_key(site.user) for site in sites))
    return {key: kept.get(key) or secrets.token_urlsafe(24) for key in wanted}


def password_key(user: str) -> str:
    """The key of a user's password."""
    return f"{user}-password"


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
    ours = {key: value for key, value in values.items() if isinstance(key, str) and isinstance(value, str) and value}
    return {key: value for key, value in ours.items() if key in KEYS or key.endswith("-password")}


def users_file(values: Mapping[str, str], *, scaler: bool = True, sites: Sequence[Site] = ()) -> str:
    """Redis' list of users, which contains only hashes of the passwords; KEDA's user is off without `scaler`."""
    on = [user for user in USERS if scaler or user != "scaler"]
    return render_acl(
        {user: values[password_key(user)] for user in on},
        {site: values[password_key(site.user)] for site in sites},
    )
