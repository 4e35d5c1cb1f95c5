"""What clients make Redis keep for them: answers that they do not read, and commands that they do not finish."""

from __future__ import annotations

import contextlib
import time

from elastic_inference.domain import keys
from tests.faults.connections import CONNECTIONS
from tests.faults.runner import Faults, Seen
from tests.faults.site import PASSWORDS, Site
from tests.support.unread import command, connection, send

FAULTS = Faults()
LIMIT_MB = 64
VALUE = 1_000_000


@FAULTS.add(CONNECTIONS, "a camera at Redis that reads nothing")
def unread_answers(site: Site, seen: Seen) -> None:
    """A camera asks for a report of 1 MB, 20 times in one connection after another, and reads no answer."""
    seen.others_go_on()
    refused = sum(each.refused for each in site.pushers.values())
    closed = site.named("housekeeping").metric("ei_redis_clients_closed_total")
    key = keys.source("made-up", "x")
    used = int(site.admin.info("memory")["used_memory"])  # type: ignore[index]
    site.admin.config_set("maxmemory", used + LIMIT_MB * 1_000_000)
    site.admin.config_set("maxmemory-clients", "30%")
    ends_s = time.monotonic() + 6
    try:
        with seen.answers_within(1.0), site.client("camera") as camera, contextlib.ExitStack() as stack:
            while time.monotonic() < ends_s:
                reads_nothing = connection(stack, site.valkey, "camera", PASSWORDS["camera"])
                camera.hset(key, "state", bytes(VALUE))
                send(reads_nothing, *[command("HGET", key, "state")] * 20)
                time.sleep(0.1)
    finally:
        site.admin.config_set("maxmemory-clients", 0)
        site.admin.config_set("maxmemory", 0)
    seen.end()
    refused = sum(each.refused for each in site.pushers.values()) - refused
    closed = site.named("housekeeping").metric("ei_redis_clients_closed_total") - closed
    seen.check("no frame of the others is refused", refused == 0, str(refused))
    seen.check("housekeeping closes such connections", closed > 0, f"{closed:.0f}")
