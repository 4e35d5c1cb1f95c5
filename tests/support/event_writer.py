"""Writes events into the outbox as the event service does, for tests of those who read the log.

Started as a process by the dashboard's end-to-end tests, with the broker's Redis in `QUEUE_URL`. Reads events as JSON
lines from standard input, until the input ends, and says `wrote <id>` for each. `camera` and `n` make the id; what else
is missing gets a default. `image: [width, height]` gives it an image of this size, `image: null` one that is missing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any
from urllib.parse import quote

import numpy as np
import redis
import simplejpeg

from elastic_inference.domain import keys
from elastic_inference.domain.events.event import event_json, parse_event

PARTITIONS = 16


def jpeg(width: int, height: int) -> bytes:
    """A grey image."""
    image: bytes = simplejpeg.encode_jpeg(np.full((height, width, 3), 120, np.uint8), colorspace="BGR")
    return image


def main() -> None:
    broker = redis.Redis.from_url(os.environ["QUEUE_URL"])
    for line in sys.stdin:
        given = json.loads(line)
        stream = keys.stream_id(given["camera"], "people")
        now_ms = time.time() * 1000
        number = given.pop("n")
        event: dict[str, Any] = {"id": f"{stream}/1-{number}-object-1", "rev": 1, "kind": "object", "phase": "begin"}
        event |= {"stream": stream, "type": "people", "label": "person", "confidence": 0.82, "top_confidence": 0.9}
        if "image" in given:
            image = f"1-{number}"
            if (size := given.pop("image")) is not None:
                broker.set(keys.snapshot_image(f"{stream}/{image}"), jpeg(*size))
            event["snapshot"] = f"/api/events/{quote(event['id'], safe='')}/snapshot?image={image}"
        event |= {"began_ms": now_ms, "at_ms": now_ms, **given}
        outbox = keys.events(keys.partition_of(given["camera"], PARTITIONS))
        broker.xadd(outbox, {"json": event_json(parse_event(json.dumps(event)))})
        print(f"wrote {event['id']}", flush=True)


if __name__ == "__main__":
    main()
