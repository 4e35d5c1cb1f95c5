"""Each sentence of doc/security.md about the Redis users that only read, tried with the shipped users.acl."""

from __future__ import annotations

import threading

import pytest
from redis.exceptions import ResponseError

from elastic_inference.adapters.stream_broker.reader_bounds import MAX_EMPTY, MAX_GROUPS, ReaderBounds
from elastic_inference.domain import keys
from tests.support.redis_commands import FRAME_READS, LISTING, RESULT_WRITES, SCRIPTS, SERVER, SUBSCRIBING, Command
from tests.support.redis_logins import READING_USERS, Logins
from tests.support.redis_names import FRAME, LEGACY, NAME, RESULTS, TYPE
from tests.support.sentences import Tries
from tests.support.waiting import wait_for

tries = Tries(*READING_USERS)


@tries("scaler can read the Redis type and the length of each queue, also with a Lua script of its own.")
def scaler_asks(logins: Logins) -> None:
    scaler = logins.client("scaler")
    script = "return {redis.call('TYPE', KEYS[1]).ok, redis.call('LLEN', KEYS[1])}"
    assert scaler.eval(script, 1, keys.tokens(TYPE)) == [b"list", 1]
    assert (scaler.type(keys.tokens(TYPE)), scaler.llen(LEGACY)) == (b"list", 0)


@tries("scaler can ask which commands Redis has and which keys they use, as KEDA does in a cluster.")
def scaler_knows_the_commands(logins: Logins) -> None:
    scaler = logins.client("scaler")
    assert scaler.command_count()
    assert len(scaler.command_getkeys("LLEN", LEGACY)) == 1


@tries("scaler can halt Redis with an endless script, until an admin sends `SCRIPT KILL`.")
def scaler_stops_redis(logins: Logins) -> None:
    scaler, admin = logins.client("scaler"), logins.client("admin")
    ended: list[Exception] = []

    def run() -> None:
        try:
            scaler.eval("while true do end", 0)
        except Exception as error:  # noqa: BLE001  looked at below
            ended.append(error)

    def is_busy() -> bool:
        try:
            admin.ping()
        except ResponseError as error:
            return "BUSY" in str(error)
        return False

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for(is_busy, what="Redis to be busy")
    finally:
        admin.script_kill()
        thread.join(20)
    assert admin.ping()
    assert isinstance(ended[0], ResponseError)


@tries("scaler cannot read an element of a list, or write anything.")
def scaler_reads_nothing(logins: Logins) -> None:
    tokens = keys.tokens(TYPE)
    reads: list[Command] = [("LRANGE", tokens, 0, -1), ("LINDEX", tokens, 0), ("LPOP", tokens), ("GET", FRAME)]
    logins.refuses("scaler", reads, [("RPUSH", LEGACY, "x"), ("DEL", tokens), ("SET", LEGACY, "x")], RESULT_WRITES)
    for call in ("'LRANGE', KEYS[1], 0, -1", "'LPOP', KEYS[1]", "'RPUSH', KEYS[1], 'x'"):
        with pytest.raises(ResponseError):
            logins.client("scaler").eval(f"return redis.call({call})", 1, tokens)


@tries("scaler cannot ask for any other key, list keys, subscribe, or see or change settings and users of Redis.")
def scaler_does_not_rule(logins: Logins) -> None:
    others: list[Command] = [("TYPE", key) for key in (keys.STREAMS, RESULTS, FRAME, keys.waiting(TYPE, NAME))]
    logins.refuses("scaler", others, LISTING, SUBSCRIBING, SERVER, [("INFO",), ("SELECT", 1)])


@tries("reader can read `results_<type>`, alone and as a consumer group.")
def reader_reads(logins: Logins) -> None:
    reader = logins.client("reader")
    assert reader.xlen(RESULTS) == len(reader.xrange(RESULTS)) == len(reader.xread({RESULTS: "0"})[0][1]) == 1
    assert reader.xgroup_create(RESULTS, "counters", id="0")
    ((_, ((entry, _),)),) = reader.xreadgroup("counters", "one", {RESULTS: ">"})
    assert reader.xautoclaim(RESULTS, "counters", "two", min_idle_time=0)[1]
    assert reader.xack(RESULTS, "counters", entry) == 1


@tries("reader can create a group for a type that has no results yet.")
def reader_makes_a_group(logins: Logins) -> None:
    assert logins.client("reader").xgroup_create(keys.results("later"), "counters", mkstream=True)


@tries("reader can take and acknowledge the entries of other consumers, since all groups are open to it.")
def reader_takes_entries(logins: Logins) -> None:
    logins.client("admin").xgroup_create(RESULTS, "others", id="0")
    ((_, ((entry, _),)),) = logins.client("admin").xreadgroup("others", "one", {RESULTS: ">"})
    assert logins.client("reader").xack(RESULTS, "others", entry) == 1


@tries(
    "reader can have `results_<type>` removed, with the groups of all readers: with more than 256 groups, or with some "
    "that fill Redis."
)
async def reader_loses_results(logins: Logins) -> None:
    """test_reader_bounds.py has groups that fill Redis."""
    for number in range(MAX_GROUPS + 1):
        assert logins.client("reader").xgroup_create(RESULTS, f"group-{number}")
    assert await bound_readers(logins) == 1
    assert not logins.client("admin").exists(RESULTS)


@tries("reader can halt Redis for a moment with one command that reads the same results many times.")
def reader_reads_again(logins: Logins) -> None:
    """test_redis_buffers.py has one whose answer would be too large."""
    admin = logins.client("admin")
    admin.config_set("slowlog-log-slower-than", 0)
    admin.slowlog_reset()
    answer = logins.client("reader").execute_command("XREAD", "STREAMS", *[RESULTS] * 2000, *["0"] * 2000)
    assert answer
    (took_us,) = (each["duration"] for each in admin.slowlog_get(8) if each["command"].startswith(b"XREAD"))
    assert took_us > 500


@tries("reader cannot fill Redis with groups, or with streams of made-up types: housekeeping removes them.")
async def reader_fills_nothing(logins: Logins) -> None:
    pipe = logins.client("reader").pipeline(transaction=False)
    for number in range(MAX_EMPTY + 10):
        pipe.xgroup_create(keys.results(f"made-up-{number}"), "counters", mkstream=True)
    pipe.execute()
    assert await bound_readers(logins) == 10
    assert len(logins.client("admin").keys("results_made-up-*")) == MAX_EMPTY


async def bound_readers(logins: Logins) -> int:
    bounds = ReaderBounds(logins.target("housekeeping"), "test")
    removed = await bounds.look()
    await bounds.close()
    return removed.streams


@tries("reader cannot add, change or remove a single result or group.")
def reader_writes_nothing(logins: Logins) -> None:
    logins.refuses("reader", RESULT_WRITES, [("XGROUP", "DESTROY", RESULTS, "g"), ("XGROUP", "SETID", RESULTS, "g", 0)])


@tries("reader cannot read frames, streams and pods, or any other key.")
def reader_reads_nothing_else(logins: Logins) -> None:
    others: list[Command] = [("XLEN", key) for key in (keys.STREAMS, keys.WORKERS, LEGACY, FRAME, keys.tokens(TYPE))]
    logins.refuses("reader", FRAME_READS, others, [("ZRANGE", keys.STREAMS, 0, -1), ("HGETALL", "stream:x")])


@tries("reader cannot subscribe, run scripts, list keys, or see or change settings, users and connections of Redis.")
def reader_does_not_rule(logins: Logins) -> None:
    logins.refuses("reader", SUBSCRIBING, SCRIPTS, LISTING, SERVER, [("INFO",)])


def test_each_sentence_is_tried() -> None:
    tries.check()


@pytest.mark.parametrize("sentence", tries.functions, ids=lambda each: each[:60])
async def test_login(sentence: str, logins: Logins) -> None:
    await tries.run(sentence, logins)
