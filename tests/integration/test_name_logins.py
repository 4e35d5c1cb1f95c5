"""Each sentence of doc/security_sites.md about the user that is limited to the beginning of its streams' names."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from redis.exceptions import NoPermissionError

from elastic_inference.adapters.frame_queue import CrowdControl, Janitor, QueueReader
from elastic_inference.adapters.frame_queue.crowd_control import MAX_GROUP_STREAMS, Crowd
from elastic_inference.adapters.frame_queue.relief import ServerRelief
from elastic_inference.domain import keys
from tests.support.redis_commands import LISTING, NOT_OF_A_PRODUCER, SERVER, Command
from tests.support.redis_logins import PATIENT, RULES, Logins, frame
from tests.support.redis_names import FRAME, LEGACY, NAME, OTHER, STREAM, TYPE, YARD
from tests.support.sentences import Tries

OWN = "yard-1"
tries = Tries(YARD)


@tries("yard can push frames of the type under names that begin with `yard-`, and report their source.")
def pushes(logins: Logins) -> None:
    producer = logins.producer(OWN, YARD)
    producer.asks_size = True
    assert producer.push(frame(OWN)).pushed
    producer.report_source("live", 15.0, 0, 0)
    # More than its stream may have: its own oldest frames are dropped.
    assert producer.push_batch([frame(OWN)] * (2 * RULES.stream_queue_depth)).pushed
    names = [each.frame.name for each in logins.consumer().pop(64, 0).frames]
    assert sorted(names) == [NAME, *[OWN] * RULES.stream_queue_depth]


@tries(
    "yard can take other streams' turns: their frames wait until housekeeping restores the turns, a second at most on "
    "a healthy system, and become stale if it does that all the time."
)
async def takes_turns(logins: Logins) -> None:
    tokens = keys.tokens(TYPE)
    assert logins.client(YARD).lpop(tokens) == NAME.encode()
    assert not logins.consumer().pop(8, 0).frames
    reader = QueueReader(logins.target("viewer"))
    logins.client("viewer").unlink(keys.janitor_lock(TYPE))
    await Janitor(reader.clients, RULES, "replica").run(TYPE, found=[NAME])
    await reader.close()
    assert [each.frame.name for each in logins.consumer().pop(8, 0).frames] == [NAME]


async def crowds(logins: Logins) -> list[Crowd]:
    reader = QueueReader(logins.target("housekeeping"))
    found = await CrowdControl(reader.clients, RULES.token_limit).look([TYPE])
    await reader.close()
    return found


@tries("yard can take as many turns as 64 cameras, by pushing under 64 made-up names.")
async def is_many_cameras(logins: Logins) -> None:
    logins.consumer().pop(8, 0)
    push_names(logins, range(MAX_GROUP_STREAMS))
    logins.producer(OTHER).push(frame(OTHER))
    assert await crowds(logins) == []
    names = [each.frame.name for each in logins.consumer(rules=PATIENT).pop(128, 0).frames]
    assert names.index(OTHER) == MAX_GROUP_STREAMS


@tries("yard cannot take more than half of the turns from other names, however many names it makes up.")
async def shares_the_turns(logins: Logins) -> None:
    """test_name_flood.py has a flood of 10,000 names."""
    logins.consumer().pop(8, 0)
    push_names(logins, range(MAX_GROUP_STREAMS + 30))
    logins.producer(NAME).push(frame(NAME))
    logins.producer(OTHER).push(frame(OTHER))
    assert await crowds(logins) == [Crowd(TYPE, "yard", 0)]
    names = [each.frame.name for each in logins.consumer(rules=PATIENT).pop(4, 0).frames]
    assert {NAME, OTHER} < set(names)


def push_names(logins: Logins, numbers: Iterable[int]) -> None:
    for number in numbers:
        assert logins.producer(f"yard-{number}", YARD, rules=PATIENT).push(frame(f"yard-{number}")).pushed


@tries("yard can count drops of the type that never happened, and list sources that do not exist.")
def forges(logins: Logins) -> None:
    yard = logins.client(YARD)
    assert yard.hincrby(keys.dropped(TYPE), "stale", 5) == 5
    assert yard.zadd(keys.sources(TYPE), {"ghost": time.time() * 1000}) == 1


@tries("yard can slow the pods of the type with costly images.")
def slows(logins: Logins) -> None:
    """As `camera` can: tests/faults has costly images of one stream."""
    assert logins.producer(OWN, YARD).push(frame(OWN)).pushed


@tries("yard cannot push or report under another name, in the legacy form, or in another type.")
def keeps_to_its_names(logins: Logins) -> None:
    for name, infer_type in ((OTHER, TYPE), ("yard", TYPE), (OWN, "car")):
        with pytest.raises(NoPermissionError):
            logins.producer(name, YARD, infer_type).push(frame(name, infer_type))
        with pytest.raises(NoPermissionError):
            logins.producer(name, YARD, infer_type).report_source("live", 15.0, 0, 0)
    logins.refuses(YARD, [("RPUSH", LEGACY, "x"), ("HSET", keys.source(TYPE, NAME), "state", "x")])


@tries("yard cannot discard, read or replace a frame of another name.")
def leaves_frames_alone(logins: Logins) -> None:
    waiting = keys.waiting(TYPE, NAME)
    others: list[Command] = [("SET", FRAME, "x"), ("UNLINK", FRAME), ("LPOP", waiting), ("RPUSH", waiting, "x")]
    logins.refuses(YARD, others, NOT_OF_A_PRODUCER)
    logins.refuses(YARD, LISTING, SERVER, [("SELECT", 1), ("INFO",), ("PUBLISH", STREAM, "x")])
    # Nor through the script, which makes room by dropping the oldest frame of the type.
    yard = logins.client(YARD)
    yard.rpush(keys.tokens(TYPE), *[OWN] * RULES.token_limit)
    assert logins.producer(OWN, YARD).push(frame(OWN)).pushed
    assert logins.client("admin").llen(waiting) == 1
    assert len(logins.client("admin").keys(keys.frame(TYPE, NAME, "*"))) == 1


@tries("yard cannot keep more of the type's memory than the other names while Redis is nearly full.")
async def is_divided(logins: Logins) -> None:
    yard, admin = logins.client(YARD), logins.client("admin")
    for number in range(30):
        yard.set(keys.frame(TYPE, f"yard-{number}", "x"), bytes(1_000_000), px=60_000)
    for number in range(5):
        admin.set(keys.frame(TYPE, NAME, str(number)), bytes(1_000_000), px=60_000)
    reader = QueueReader(logins.target("housekeeping"))
    used, _ = await reader.memory()
    assert await ServerRelief(reader.clients.of("")).relieve(used, 40_000_000, {TYPE})
    await reader.close()
    assert len(admin.keys(keys.frame(TYPE, NAME, "*"))) == 6, "one was there before"
    assert 10 < len(admin.keys(keys.frame(TYPE, "yard-*", "*"))) < 25


@pytest.mark.parametrize("sentence", tries.functions)
async def test_a_sentence_about_the_user(logins: Logins, sentence: str) -> None:
    await tries.run(sentence, logins)


def test_every_sentence_about_the_user_is_tried() -> None:
    tries.check()
