"""Counts labels of one inference type, read from the broker's `results_<type>` as one of a group of consumers.

Usage: BROKER_URL=redis://user:password@host:port/0 python count_results.py <type>

The address stands in the environment, since arguments show in the list of processes. A user that may do this and
nothing else, as a line of the server's ACL file (`people` is the type):

    user analytics on >password resetkeys ~results_people resetchannels -@all +xgroup|create +xreadgroup +xack

XREADGROUP and XACK write to the stream's group, so that reading alone (%R~) is too little.
"""

import contextlib
import json
import os
import sys
from collections import Counter

import redis

key = f"results_{sys.argv[1]}"
broker = redis.Redis.from_url(os.environ.get("BROKER_URL", "redis://127.0.0.1:31003/0"))
with contextlib.suppress(redis.ResponseError):  # the group is there already
    broker.xgroup_create(key, "counters", id="$", mkstream=True)
seen: Counter[str] = Counter()
while True:
    for _key, entries in broker.xreadgroup("counters", "counter-1", {key: ">"}, count=100, block=5000) or ():
        for entry, fields in entries:
            result = json.loads(fields[b"json"])
            seen.update(found["label"] for found in result["detections"])
            broker.xack(key, "counters", entry)
        print(dict(seen), flush=True)
