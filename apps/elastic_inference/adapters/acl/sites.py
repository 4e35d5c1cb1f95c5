"""Redis users for the producers of single sites: the rights of `camera`, limited to a type, or also to names.

Called by the manifests. `doc/security_sites.md` says what each kind of user can and cannot do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
# Names of streams that begin alike up to the first hyphen are a group, which has a share of the turns and the memory.
BEGINNING = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]{0,62}-")


@dataclass(frozen=True, slots=True)
class Site:
    """One site's user. Its streams may have any name, or only names with this `beginning`."""

    user: str
    infer_type: str
    beginning: str = ""


def site_line(site: Site, camera: str, password_hash: str) -> str:
    """The line of an ACL file for a site; `camera` is that of the user camera. The password's hash is SHA-256 in hex.

    A site that shares a type has no legacy form, which has no limit by name.
    """
    words = [word.replace("queue_*", f"queue_{site.infer_type}") for word in camera.split()[4:]]
    if site.beginning:
        words = [
            re.sub(r":(frame|waiting|source):\*$", rf":\1:{site.beginning}*", word)
            for word in words
            if word != f"%W~queue_{site.infer_type}"
        ]
    return " ".join(["user", site.user, "on", f"#{password_hash}", *words])
