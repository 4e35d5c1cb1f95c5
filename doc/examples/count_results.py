"""Counts labels of one inference type, read from the broker's `results_<type>` as one of a group of consumers.

Usage: BROKER_URL=redis://reader:password@host:port/0 python count_results.py <type>

The address is in the environment, since arguments show in the list of processes. The user `reader` may read the
results of every type and nothing else; its password is beside the others (doc/security.md).

Silence may last as long as it likes, and Redis may restart. A result whose acknowledgement got lost is counted again.
"""

import json
import os
import sys
import time
from collections import Counter

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

BLOCK_S = 5
RETRY_S = 1

key = f"results_{sys.argv[1]}"
broker = redis.Redis.from_url(
    os.environ.get("BROKER_URL", "redis://127.0.0.1:31003/0"),
    # Longer than Redis may wait for a result: the library's own 5 s would end each quiet wait with an error.
    socket_timeout=2 * BLOCK_S,
    # The loop below tries again. The library would repeat a command that Redis may have carried out already.
    retry=Retry(NoBackoff(), 0),
)
seen: Counter[str] = Counter()


def join_group() -> None:
    """Makes the group unless it exists: Redis keeps nothing over a restart."""
    try:
        broker.xgroup_create(key, "counters", id="$", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def count_next(position: str) -> int:
    """Counts and acknowledges the next results; how many there were."""
    answer = broker.xreadgroup("counters", "counter-1", {key: position}, count=100, block=BLOCK_S * 1000)
    entries = answer[0][1] if answer else []
    for entry, fields in entries:
        result = json.loads(fields.get(b"json", b'{"detections": []}'))
        seen.update(found["label"] for found in result["detections"])
        broker.xack(key, "counters", entry)
    if entries:
        print(dict(seen), flush=True)
    return len(entries)


position = "0"  # first what an earlier run has read and not acknowledged, then (">") what is new
while True:
    try:
        if position == "0":
            join_group()
        if not count_next(position):
            position = ">"
    except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
        if isinstance(error, redis.ResponseError) and not str(error).startswith("NOGROUP"):
            raise
        print(f"Redis: {error}; trying again", file=sys.stderr, flush=True)
        time.sleep(RETRY_S)
        position = "0"
