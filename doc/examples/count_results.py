"""Counts labels of one inference type, read from the broker's `results_<type>` as one of a group of consumers.

Usage: BROKER_URL=redis://reader:password@host:port/0 python count_results.py <type>

The address is in the environment, since arguments show in the list of processes. The user `reader` may read the
results of every type and nothing else; its password is beside the others (doc/security.md).
"""

import contextlib
import json
import os
import sys
from collections import Counter

import redis

key = f"results_{sys.argv[1]}"
broker = redis.Redis.from_url(os.environ.get("BROKER_URL", "redis://127.0.0.1:31003/0"))
with contextlib.suppress(redis.ResponseError):  # the group exists already
    broker.xgroup_create(key, "counters", id="$", mkstream=True)
seen: Counter[str] = Counter()
while True:
    for _key, entries in broker.xreadgroup("counters", "counter-1", {key: ">"}, count=100, block=5000) or ():
        for entry, fields in entries:
            result = json.loads(fields[b"json"])
            seen.update(found["label"] for found in result["detections"])
            broker.xack(key, "counters", entry)
        print(dict(seen), flush=True)
