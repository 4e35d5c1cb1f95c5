"""The Redis users, from camera to admin, each with as few rights as it needs.

Called by `tools/run-redis.sh`, by the manifests, and by tests. `users.acl` beside this module says what each user may
do and why; `doc/security_sites.md` explains how to give a site a camera user of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from elastic_inference.adapters.acl.sites import Site, site_line

__all__ = ["OPTIONAL_USERS", "USERS", "Site", "render_acl"]

USERS = ("camera", "source", "worker", "viewer", "gateway", "housekeeping", "events", "scaler", "reader", "admin")
# These users are off if they have no password: older files of passwords lack `source`, `events` and `reader`, and only
# KEDA needs `scaler`.
OPTIONAL_USERS = ("source", "gateway", "housekeeping", "events", "reader", "scaler")


def render_acl(passwords: Mapping[str, str], sites: Mapping[Site, str] | None = None) -> str:
    """Text of an ACL file (`aclfile`, one user per line) with hashes of the passwords; `default` is off.

    `sites` are the passwords of sites' users, whose names must not be in USERS.

    `passwords` must have each of USERS and no other; one of OPTIONAL_USERS may be missing and is then off. Otherwise,
    and for an empty password, raises ValueError, whose message shows no password.
    """
    if set(passwords) - set(USERS) or set(USERS) - set(OPTIONAL_USERS) - set(passwords):
        raise ValueError(f"expected a password for each of {', '.join(USERS)}, got {', '.join(sorted(passwords))}")
    sites = sites or {}
    given = [*((user, passwords.get(user)) for user in USERS), *((site.user, sites[site]) for site in sites)]
    if empty := [user for user, password in given if password == ""]:
        raise ValueError(f"the password of {empty[0]} is empty")
    lines = []
    for line in (Path(__file__).parent / "users.acl").read_text().splitlines():
        if not line.startswith("user "):
            continue  # a comment, which Redis would not accept
        user = line.split()[1]
        known = user in passwords or user not in USERS
        rule = line if known else f"user {user} off resetchannels -@all"
        lines.append(rule.replace("{hash}", _hash(passwords.get(user, ""))))
        if user == "camera":
            lines += [site_line(site, rule, _hash(password)) for site, password in sites.items()]
    return "\n".join(lines) + "\n"


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()
