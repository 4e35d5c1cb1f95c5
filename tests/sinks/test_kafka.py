"""Delivery to a real Kafka server, where there is one."""

from __future__ import annotations

from pathlib import Path

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support import outbox
from tests.support.delivery_worker import wait_placed, worker, write_sinks
from tests.support.kafka_server import KafkaServer, TopicReader
from tests.support.outbox import OutboxWriter
from tests.support.waiting import wait_for


def test_events_arrive_by_stream_although_the_server_freezes(
    server: EmbeddedValkey, client: redis.Redis, tmp_path: Path
) -> None:
    folder = tmp_path / "kafka"
    folder.mkdir()
    with KafkaServer(folder) as kafka:
        sink = {"name": "lake", "kind": "kafka", "brokers": [kafka.address], "topic": "events", "timeout_s": 3}
        file = write_sinks(tmp_path / "sinks.yaml", sink)
        with worker(server.url, file), TopicReader(kafka.address, "events") as reader:
            wait_placed(client, "lake")
            writer = OutboxWriter(client)
            writer.write(100)
            wait_for(lambda: len(reader.read()) >= 100, 60, "100 events")
            outbox.check(writer.sent, reader.got, repeats=0)
            assert reader.keys == {f"cam-{each}:people:inferred" for each in range(3)}
            kafka.run("pause")
            writer.write(50)
            wait_for(lambda: b"failing" in (client.hget("{sinks}:states", "lake") or b""), 60, "the sink fails")
            kafka.run("resume")
            wait_for(lambda: not outbox.missing(writer.sent, reader.read()), 60, "all events")
            outbox.check(writer.sent, reader.got)
