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
    refused = sum(each.without_memory for each in site.pushers.values())
    housekeeping = site.named("housekeeping")
    before = housekeeping.metric("ei_redis_clients_closed_total")
    closed = 0.0
    key = keys.source("made-up", "x")
    used = int(site.admin.info("memory")["used_memory"])  # type: ignore[index]
    site.admin.config_set("maxmemory", used + LIMIT_MB * 1_000_000)
    site.admin.config_set("maxmemory-clients", "30%")
    began = time.monotonic()
    try:
        with seen.answers_within(1.0) as answers, site.client("camera") as camera, contextlib.ExitStack() as stack:
            # Housekeeping looks every 5 s, on a busy machine later.
            while (passed_s := time.monotonic() - began) < 6 or (not closed and passed_s < 30):
                reads_nothing = connection(stack, site.valkey, "camera", PASSWORDS["camera"])
                camera.hset(key, "state", bytes(VALUE))
                send(reads_nothing, *[command("HGET", key, "state")] * 20)
                time.sleep(0.1)
                closed = housekeeping.metric("ei_redis_clients_closed_total") - before
    finally:
        site.admin.config_set("maxmemory-clients", 0)
        site.admin.config_set("maxmemory", 0)
    seen.end()
    refused = sum(each.without_memory for each in site.pushers.values()) - refused
    seen.check("no frame of the others is refused", refused == 0, str(refused), fails=not answers.held_up)
    seen.check("housekeeping closes such connections", closed > 0, f"{closed:.0f}")
