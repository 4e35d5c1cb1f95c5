"""What the Redis user of one site can do to its own type at worst, each kind in small bursts.

Used by the faults and by a test of its own: another site must not notice any of it.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable

import redis
from redis.exceptions import NoPermissionError, RedisError

from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import pack_frame
from tests.support.jpeg import noisy_jpeg, tiny_jpeg

Flood = Callable[[redis.Redis, str], object]
YEARS_S = 10 * 365 * 24 * 3600
_NUMBERS = itertools.count()


def frames_of_new_streams(client: redis.Redis, infer_type: str) -> None:
    """Valid frames, four of each of 50 streams that are new each time."""
    message = pack_frame(Frame("new", infer_type, noisy_jpeg(1, 192, 144), 1))
    pipe = client.pipeline(transaction=False)
    for _ in range(50):
        name = f"new-{next(_NUMBERS)}"
        own = (keys.tokens(infer_type), keys.waiting(infer_type, name), keys.dropped(infer_type))
        for number in range(4):
            pipe.set(keys.frame(infer_type, name, str(number)), message, px=7000)
        entries = [f"{len(message)} {number}" for number in range(4)]
        pipe.evalsha(script("push").sha, 3, *own, keys.queue_prefix(infer_type), name, 4, 4096, *entries)
    pipe.execute()


def frames_that_stay(client: redis.Redis, infer_type: str) -> None:
    """Frames without a token, with an expiry in ten years."""
    pipe = client.pipeline(transaction=False)
    for _ in range(100):
        pipe.set(keys.frame(infer_type, "ghost", str(next(_NUMBERS))), bytes(10_000), ex=YEARS_S)
    pipe.execute()


def many_tokens(client: redis.Redis, infer_type: str) -> None:
    client.rpush(keys.tokens(infer_type), *(f"n{next(_NUMBERS)}" for _ in range(5000)))


def long_values(client: redis.Redis, infer_type: str) -> None:
    """Names and entries of 80 kB, made to be slow to match."""
    client.rpush(keys.tokens(infer_type), "x", b"n" * 80_000)
    client.rpush(keys.waiting(infer_type, "x"), b"1 " * 40_000, b"7" * 80_000)


def many_sources(client: redis.Redis, infer_type: str) -> None:
    now_ms = time.time() * 1000
    client.zadd(keys.sources(infer_type), {f"s{next(_NUMBERS)}": now_ms for _ in range(5000)})


def fat_reports(client: redis.Redis, infer_type: str) -> None:
    name = f"fat-{next(_NUMBERS) % 8}"
    client.hset(keys.source(infer_type, name), mapping={"state": b"x" * 1_000_000, "fps": "1"})
    client.zadd(keys.sources(infer_type), {name: time.time() * 1000})


def forged_drops(client: redis.Redis, infer_type: str) -> None:
    for reason, count in (("queue_full", 10**6), ("stale", -5), ("other", 1)):
        client.hincrby(keys.dropped(infer_type), reason, count)


def legacy_frames(client: redis.Redis, infer_type: str) -> None:
    client.rpush(keys.legacy_queue(infer_type), *[tiny_jpeg(padding=20_000)] * 100)


def wrong_types(client: redis.Redis, infer_type: str) -> None:
    for key in (keys.tokens(infer_type), keys.dropped(infer_type), keys.sources(infer_type)):
        client.set(key, b"\xff")


def scripts(client: redis.Redis, infer_type: str) -> None:
    """Our scripts with arguments that no service of ours gives, their own type's and another one's."""
    prefix, tokens = keys.queue_prefix(infer_type), keys.tokens(infer_type)
    own = (tokens, keys.waiting(infer_type, "x"), keys.dropped(infer_type))
    for arguments in (
        ("push", 3, *own, prefix, "x" * 4_000_000, 4, 4096, "5 1"),
        ("push", 3, *own, prefix, "x", 0, 0, *(f"5 {number}" for number in range(2000))),
        ("push", 3, *own, keys.queue_prefix("other"), "x", 0, 0, "5 1"),
        ("pop", 2, tokens, keys.dropped(infer_type), prefix, "p", 10**9, 10**12, 10**12, 60_000),
        ("janitor", 6, tokens, *own, tokens, tokens, prefix, 1, 1, 1, 10**9, 10**9, 0, 0, 0, "x", 1),
    ):
        with contextlib.suppress(RedisError):
            client.evalsha(script(str(arguments[0])).sha, *arguments[1:])


def other_types(client: redis.Redis, infer_type: str) -> None:
    """Types that it makes up, and those of others: refused."""
    for name in ("made-up", "other"):
        for command in (
            ("RPUSH", keys.tokens(name), "x"),
            ("SET", keys.frame(name, "x", "1"), "x"),
            ("RPUSH", keys.legacy_queue(name), "x"),
            ("ZADD", keys.sources(name), 1, "x"),
        ):
            try:
                client.execute_command(*command)
            except NoPermissionError:
                continue
            raise AssertionError(f"a site may {command}")


FLOODS: tuple[Flood, ...] = (
    *(frames_of_new_streams, frames_that_stay, many_tokens, long_values, many_sources, fat_reports),
    *(forged_drops, legacy_frames, wrong_types, scripts, other_types),
)


def flood(client: redis.Redis, infer_type: str, seconds: float) -> dict[str, int]:
    """Each kind again and again for its share of the time; returns how many bursts of each Redis accepted."""
    done: dict[str, int] = {}
    for each in FLOODS:
        ends_s = time.monotonic() + seconds / len(FLOODS)
        done[each.__name__] = 0
        while time.monotonic() < ends_s:
            try:
                each(client, infer_type)
            except RedisError:
                # A key has the wrong type after one of the bursts: the type is broken for its own site only.
                with contextlib.suppress(RedisError):
                    client.unlink(keys.tokens(infer_type), keys.dropped(infer_type))
                continue
            done[each.__name__] += 1
    return done
