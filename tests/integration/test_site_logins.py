"""Each sentence of doc/security_sites.md about the user of a site with a type of its own, tried on a real server."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.frame_queue import QueueReader
from elastic_inference.adapters.frame_queue.relief import ServerRelief
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason
from tests.support.redis_commands import LISTING, NOT_OF_A_PRODUCER, SERVER, Command
from tests.support.redis_logins import Logins, frame, halts
from tests.support.redis_names import FRAME, LEGACY, NAME, OTHER, SITE, SITE_TYPE, STREAM, TYPE
from tests.support.sentences import Tries

tries = Tries(SITE)


@tries("site-7 can push frames of its type, and report their source, under any name.")
async def site_pushes(logins: Logins) -> None:
    producer = logins.producer(OTHER, SITE, SITE_TYPE)
    assert producer.push(frame(OTHER, SITE_TYPE)).pushed
    producer.report_source("live", 15.0, 0, 0)
    assert [each.frame.name for each in logins.consumer(SITE_TYPE).pop(8, 0).frames] == [OTHER]


@tries("site-7 cannot keep more of the memory than its share while Redis is nearly full.")
async def site_is_divided(logins: Logins) -> None:
    site, admin = logins.client(SITE), logins.client("admin")
    for number in range(30):
        site.set(keys.frame(SITE_TYPE, NAME, str(number)), bytes(1_000_000), px=60_000)
    reader = QueueReader(logins.target("housekeeping"))
    used, _ = await reader.memory()
    await ServerRelief(reader.clients.of("")).relieve(used, 40_000_000, {TYPE, SITE_TYPE})
    await reader.close()
    assert 20 < len(admin.keys(keys.frame(SITE_TYPE, NAME, "*"))) < 25
    assert admin.keys(keys.frame(TYPE, NAME, "*"))


@tries("site-7 can fill the memory of Redis if it writes faster than housekeeping removes. Meanwhile nobody can push.")
async def site_fills(logins: Logins) -> None:
    admin, own = logins.client("admin"), keys.frame(SITE_TYPE, NAME, "x")
    logins.client(SITE).set(own, bytes(3_000_000), ex=10 * 365 * 24 * 3600)
    admin.config_set("maxmemory", int(admin.info("memory")["used_memory"]) - 1_000_000)
    try:
        outcome = logins.producer(OTHER).push(frame(OTHER))
        assert (outcome.pushed, dict(outcome.dropped)) == (False, {DropReason.QUEUE_MEMORY: 1})
        await logins.sweep()
        assert 0 < admin.ttl(own) <= 7
    finally:
        admin.config_set("maxmemory", 0)


@tries("site-7 can halt Redis for seconds with one command of millions of values, as `camera` can.")
def site_halts(logins: Logins) -> None:
    halts(logins, SITE, SITE_TYPE)


@tries(
    "site-7 cannot delay the frames of other types, or the work of housekeeping on them, by a flood of any other kind."
)
def site_floods(logins: Logins) -> None:
    """Tried by `test_site_flood.py`, with real services."""


@tries("site-7 cannot invent types, push frames of another type, discard them, or do anything that `camera` cannot.")
def site_does_nothing_else(logins: Logins) -> None:
    other: list[Command] = [("ZADD", keys.sources("made-up"), 1, "x"), ("RPUSH", keys.tokens("site7-people2"), "x")]
    other += [("RPUSH", LEGACY, "x"), ("SET", FRAME, "x"), ("LPOP", keys.waiting(TYPE, NAME))]
    other += [("UNLINK", FRAME), ("HINCRBY", keys.dropped(TYPE), "stale", 1), ("ZADD", keys.sources(TYPE), 1, "x")]
    own = keys.frame(SITE_TYPE, NAME, "x")
    other += [("GET", own), ("SET", own, "x", "GET"), ("LPOP", keys.legacy_queue(SITE_TYPE))]
    logins.refuses(SITE, other, NOT_OF_A_PRODUCER)
    logins.refuses(SITE, LISTING, SERVER, [("SELECT", 1), ("INFO",), ("PUBLISH", STREAM, "x")])


def test_each_sentence_is_tried() -> None:
    tries.check()


@pytest.mark.parametrize("sentence", tries.functions, ids=lambda each: each[:60])
async def test_login(sentence: str, logins: Logins) -> None:
    await tries.run(sentence, logins)
