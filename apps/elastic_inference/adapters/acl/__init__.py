"""The Redis users camera, worker, viewer, scaler and admin, each with as little as it needs.

Called by `tools/run-redis.sh`, by whatever writes manifests, and by tests. `users.acl` beside this module says what
each may do and why; `doc/security.md` tells how to give a site a camera user of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

USERS = ("camera", "worker", "viewer", "scaler", "admin")


def render_acl(passwords: Mapping[str, str]) -> str:
    """Text of an ACL file (`aclfile`, one user a line) with hashes of the passwords; `default` is off.

    `passwords` must name exactly USERS. Raises ValueError otherwise and for an empty password; its message shows none.
    """
    if set(passwords) != set(USERS):
        raise ValueError(f"expected a password for each of {', '.join(USERS)}, got {', '.join(sorted(passwords))}")
    if empty := [user for user in USERS if not passwords[user]]:
        raise ValueError(f"the password of {empty[0]} is empty")
    lines = []
    for line in (Path(__file__).parent / "users.acl").read_text().splitlines():
        if line.startswith("user "):
            user = line.split()[1]
            password = passwords.get(user, "").encode()
            lines.append(line.replace("{hash}", hashlib.sha256(password).hexdigest()))
    return "\n".join(lines) + "\n"
