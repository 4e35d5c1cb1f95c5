"""Prints events from Kafka, each revision once: python kafka_events.py <host:port> [<topic>]

It notes its place after the work, so nothing is left out; after a crash it may print the last few once more.
"""

import json
import sys

from confluent_kafka import Consumer

KEEP = 10_000


def is_new(seen: dict[tuple[str, int], None], event: dict) -> bool:
    """Whether this revision of the event was not seen before. The oldest are forgotten."""
    key = (event["id"], event["rev"])
    known = key in seen
    seen[key] = None
    if len(seen) > KEEP:
        del seen[next(iter(seen))]
    return not known


def main(servers: str, topic: str = "elastic-inference-events") -> None:
    place = {"group.id": "events-example", "auto.offset.reset": "earliest", "enable.auto.offset.store": False}
    consumer = Consumer({"bootstrap.servers": servers, **place})
    consumer.subscribe([topic])
    seen: dict[tuple[str, int], None] = {}
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue  # the library connects again by itself
        if is_new(seen, event := json.loads(message.value())):
            print(event["camera"], event["kind"], event["phase"], event["id"], event["rev"], flush=True)
        consumer.store_offsets(message)


if __name__ == "__main__":
    main(*sys.argv[1:])
