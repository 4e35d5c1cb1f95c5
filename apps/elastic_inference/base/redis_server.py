"""Settings of the Redis server itself: one source for the cluster, the demo, compose and `tools/run-redis.sh`.

The manifests take `as_file`, the demo and `ei-redis` take `as_arguments`; a test checks that `container/compose.yaml`
has the same values. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# A result is its frame and up to 1 MiB of JSON.
RESULT_JSON_BYTES = 1024 * 1024

# The settings that do not depend on the size of the installation.
COMMON_SETTINGS: Mapping[str, str] = {
    # Frames are worthless after two seconds, and consumers store the results they need: nothing is written to disk.
    "save": "",
    "appendonly": "no",
    # A push that finds no memory is refused and counted; nothing is evicted.
    "maxmemory-policy": "noeviction",
    # A relay that lags by 64 MB, or by 32 MB for 20 s, is disconnected and connects again. 16 streams at 30 fps with
    # frames of 130 kB fill the server's default of 32 MB within half a second, a pause that a relay must survive.
    # No answer to our own programs is near 300 MB (the largest: the state of an event partition). Without this limit, a
    # single XREAD of a reader, which names one stream a thousand times, would take all memory before it ends.
    "client-output-buffer-limit": "normal 300mb 0 0 pubsub 64mb 32mb 20",
    "tcp-keepalive": "30",
    # A connection that is silent for five minutes is closed, such as one that never logs in. Subscribers and blocked
    # readers are exempt. Our own programs send something more often, or silently reconnect.
    "timeout": "300",
    # The server's own default, on which the alert is based. A connection without a login takes up to 20 kB.
    "maxclients": "10000",
    # A value that expires or is replaced is freed beside the commands. To free a million entries, which a client can
    # write one by one, would otherwise halt the server for a moment.
    "lazyfree-lazy-expire": "yes",
    "lazyfree-lazy-server-del": "yes",
}

# Since Valkey 9 a large reply refers to the string instead of copying it, and does not count towards the client's
# limit: a subscriber that stops reading would never be disconnected. Older servers do not accept the setting.
VALKEY_9_SETTINGS: Mapping[str, str] = {"min-string-size-avoid-copy-reply": "0"}


def settings_of_version(version: str) -> Mapping[str, str]:
    """Additional settings for a server of this version; `version` is the output of `valkey-server --version`."""
    found = re.search(r"Valkey.* v=(\d+)", version)
    return VALKEY_9_SETTINGS if found and int(found[1]) >= 9 else {}


def server_settings(maxmemory: str, max_frame_bytes: int) -> dict[str, str]:
    """Settings of a server for the frame queue and the stream broker, by name.

    `maxmemory` is in Redis' form (`512mb`); no request may be larger than a result with the largest frame.
    """
    return {
        **COMMON_SETTINGS,
        "maxmemory": maxmemory,
        # What clients leave unread or unfinished counts too: a single one could have everybody's frames refused. Above
        # this share the server closes the largest connections. Two relays at their limit have room.
        "maxmemory-clients": "30%",
        "proto-max-bulk-len": str(max_frame_bytes + RESULT_JSON_BYTES),
    }


def as_arguments(settings: Mapping[str, str]) -> list[str]:
    """The settings as arguments of the server: `--name value`, each value as a separate argument."""
    return [argument for name, value in settings.items() for argument in (f"--{name}", *(value.split() or [""]))]


def as_file(settings: Mapping[str, str]) -> str:
    """The settings as lines of the server's configuration file."""
    empty = '""'
    return "".join(f"{name} {value or empty}\n" for name, value in settings.items())
