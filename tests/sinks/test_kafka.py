"""Delivery to a real Kafka server, where there is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.conftest import REPOSITORY
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
            writer.add(writer.sent[0])  # as after a worker's death
            writer.write(1)
            check_example(kafka.address, tmp_path / "printed", writer)


def check_example(address: str, output: Path, writer: OutboxWriter) -> None:
    """The example prints each event once, from the beginning of the topic."""

    def printed() -> list[str]:
        return output.read_text().splitlines()

    newest = writer.sent[-1].id
    command = [sys.executable, REPOSITORY / "doc" / "examples" / "kafka_events.py", address, "events"]
    with output.open("wb") as file, subprocess.Popen(command, stdout=file) as process:
        try:
            wait_for(lambda: any(newest in line for line in printed()), 60, "the newest event")
        finally:
            process.kill()
    assert len(printed()) == len(set(printed())) == len({(each.id, each.rev) for each in writer.sent})
    assert printed()[0] == f"cam-0 zone begin {writer.sent[0].id} 1"
