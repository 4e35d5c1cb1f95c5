"""Which connections to close when one login holds most of Redis' places for connections (`maxclients`).

Called by `redis_strangers`. Redis has no limit for a user or an address: with one login, a client outside could take
all places, and whoever has to connect again would be refused. Does no I/O.
"""

from __future__ import annotations

import re
from collections import defaultdict

from elastic_inference.adapters.redis_buffers import SERVICES

# Shares of the places: if a user at one address has more than the first, its youngest connections are closed, down to
# the second.
MOST, REST = 0.5, 0.25
_FIELD = re.compile(rb"(?:^| )(id|addr|age|user)=(\S*)")


def read_crowd(listed: bytes, places: int) -> tuple[list[int], str]:
    """Parses CLIENT LIST: the numbers of connections to close, the youngest first, and whose they are.

    None of our services' users: their passwords stay in the services' pods.
    """
    groups: dict[tuple[bytes, bytes], list[tuple[int, int]]] = defaultdict(list)
    for line in listed.splitlines():
        fields = dict(_FIELD.findall(line))
        number, age, user = fields.get(b"id", b""), fields.get(b"age", b""), fields.get(b"user", b"")
        if number.isdigit() and age.isdigit() and user not in SERVICES and user != b"default":
            groups[user, fields.get(b"addr", b"").rpartition(b":")[0]].append((int(age), -int(number)))
    if not groups:
        return [], ""
    (user, address), most = max(groups.items(), key=lambda each: len(each[1]))
    if len(most) <= MOST * places:
        return [], ""
    whose = f"user {user.decode(errors='replace')} at {address.decode(errors='replace')}"
    return [-number for _, number in sorted(most)[: len(most) - int(REST * places)]], whose
