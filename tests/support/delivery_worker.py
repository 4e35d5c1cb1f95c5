"""Delivery as a process of its own, which a test can kill and freeze: `python -m tests.support.delivery_worker`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
import yaml
from prometheus_client import CollectorRegistry

from elastic_inference.base.config import load
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import set_up_logging
from elastic_inference.base.settings.delivery import DeliverySettings
from elastic_inference.domain import keys
from elastic_inference.flows.deliver import service
from elastic_inference.flows.deliver.delivery import Delivery
from tests.support.outbox import PARTITIONS
from tests.support.waiting import wait_for


def write_sinks(path: Path, *sinks: dict[str, Any]) -> Path:
    """Writes a file of sinks, at once."""
    beside = path.with_suffix(".new")
    beside.write_text(yaml.safe_dump({"sinks": list(sinks)}))
    return beside.replace(path)


class Worker:
    """Delivery in this process."""

    def __init__(self, broker_url: str, file: Path | None = None, **settings: str) -> None:
        given = {"BROKER_URL": broker_url, "QUEUE_URL": broker_url, **settings}
        if file is not None:
            given["SINKS_FILE"] = str(file)
        self.lifecycle = Lifecycle("delivery")
        self.registry = CollectorRegistry()
        self.delivery: Delivery = service.start(
            load(DeliverySettings, given), self.lifecycle, self.registry, lambda: PARTITIONS
        )

    def metric(self, name: str, sink: str) -> float | None:
        """A metric of a sink."""
        return self.registry.get_sample_value(name, {"sink": sink})

    def close(self) -> None:
        """Ends it in good order."""
        self.lifecycle.stop()
        self.delivery.close()


@contextlib.contextmanager
def worker(broker_url: str, file: Path | None = None, **settings: str) -> Iterator[Worker]:
    """Delivery in this process, until the end of the block."""
    made = Worker(broker_url, file, **settings)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def process(broker_url: str, file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Delivery in a process of its own; ends it by force at the end of the block."""
    env = os.environ | {"BROKER_URL": broker_url, "QUEUE_URL": broker_url, "SINKS_FILE": str(file)}
    made = subprocess.Popen([sys.executable, "-m", "tests.support.delivery_worker"], env=env)
    try:
        yield made
    finally:
        made.send_signal(signal.SIGCONT)
        made.kill()
        made.wait(10)


def wait_placed(client: redis.Redis, *sinks: str) -> None:
    """Waits until the sinks have their place in the outbox: what is written then, they get."""

    def placed() -> bool:
        return all(client.hexists(keys.event_sinks(each), sink) for each in range(PARTITIONS) for sink in sinks)

    wait_for(placed, 40, f"a place in the outbox for {', '.join(sinks)}")


def main() -> None:
    """Runs until SIGTERM."""
    set_up_logging("INFO", "text")
    made = Worker(os.environ["BROKER_URL"], Path(os.environ["SINKS_FILE"]))
    made.lifecycle.install_signal_handlers()
    made.lifecycle.wait_stop()
    made.close()


if __name__ == "__main__":
    main()
