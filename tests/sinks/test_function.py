"""The function of doc/examples, run by functions-framework, behind a sink of the kind `webhook`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.events.event import Phase
from tests.conftest import REPOSITORY, missing_tool
from tests.support.delivery_worker import wait_placed, worker, write_sinks
from tests.support.outbox import OutboxWriter, an_event
from tests.support.ports import free_port
from tests.support.waiting import wait_for

# `make test-sinks` installs it.
PROGRAM = REPOSITORY / "build" / "functions" / "bin" / "functions-framework"


@contextmanager
def running(port: int, output: Path) -> Iterator[None]:
    """The function as its text says."""
    if not PROGRAM.exists():
        missing_tool("functions-framework")
    source = REPOSITORY / "doc" / "examples" / "event_function.py"
    command = [PROGRAM, "--source", source, "--target", "on_event", "--host", "127.0.0.1", "--port", str(port)]
    with (
        output.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=dict(os.environ)) as process,
    ):
        try:
            yield
        finally:
            process.terminate()


def test_the_function_gets_each_event_and_acts_once(
    server: EmbeddedValkey, client: redis.Redis, tmp_path: Path
) -> None:
    port, output = free_port(), tmp_path / "printed"
    file = write_sinks(tmp_path / "sinks.yaml", {"name": "f", "kind": "webhook", "url": f"http://127.0.0.1:{port}/"})

    def printed() -> list[str]:
        return [line for line in output.read_text().splitlines() if " yard of " in line]

    with worker(server.url, file) as delivery, running(port, output):
        wait_placed(client, "f")
        writer = OutboxWriter(client, streams=1)
        (first,) = writer.write(1)
        wait_for(lambda: printed() == ["person enters yard of cam-0"], 60, "the first event")
        writer.add(first)  # as after a worker's death
        writer.add(an_event(0, rev=2, phase=Phase.UPDATE))
        writer.add(an_event(0, rev=3, phase=Phase.END))
        wait_for(lambda: delivery.metric("ei_sink_delivered_total", "f") == 4, 60, "all that was written")
    assert printed() == ["person enters yard of cam-0", "person leaves yard of cam-0"]
    assert "Traceback" not in output.read_text()
