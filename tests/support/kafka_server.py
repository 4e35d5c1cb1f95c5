"""A real Kafka server of one node, and a reader of its topic. Needs a tool that only some machines have."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

import pytest
from confluent_kafka import Consumer, KafkaException

from tests.support.outbox import Mark, mark
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
# `up PORT`, `down`, `pause` and `resume` of one server.
TOOL = Path(os.environ.get("EI_KAFKA_COMMAND") or ROOT.parent / "shared/tools/kafka.sh")
START_LIMIT_S = 90


class KafkaServer:
    """Its data is removed when it stops."""

    def __init__(self, folder: Path) -> None:
        if not TOOL.is_file():
            pytest.skip("there is no Kafka here: set EI_KAFKA_COMMAND to a tool that starts one (up PORT, down)")
        if shutil.which("java") is None:
            pytest.skip("Kafka needs Java")
        self.port = free_port()
        while (following := free_port()) != self.port + 1:  # the tool takes that one too
            self.port = following
        home = Path(os.environ.get("EI_KAFKA_HOME") or "/var/tmp/ei-test-kafka")
        # The jars are kept from one run to the next, the rest is this test's.
        home.mkdir(parents=True, exist_ok=True)
        self._env = os.environ | {"KAFKA_HOME": str(folder)}
        for jars in home.glob("lib-*[0-9]"):
            (folder / jars.name).symlink_to(jars)
        self._home = home
        self._folder = folder

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Starts it, or skips the test where it does not start in time."""
        try:
            # Its server keeps the standard streams that it inherits.
            done = subprocess.run(
                [str(TOOL), "up", str(self.port)],
                env=self._env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=START_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self.stop()
            pytest.skip(f"Kafka did not start within {START_LIMIT_S} s")
        if done.returncode:
            self.stop()
            pytest.skip(f"Kafka did not start: see {self._folder}")
        for jars in self._folder.glob("lib-*[0-9]"):
            if not jars.is_symlink() and not (self._home / jars.name).exists():
                shutil.copytree(jars, self._home / jars.name)
        return self

    def run(self, what: str) -> None:
        """`pause` or `resume`."""
        subprocess.run([str(TOOL), what], env=self._env, timeout=60, check=True)

    def stop(self) -> None:
        """Ends it and removes its data."""
        subprocess.run([str(TOOL), "resume"], env=self._env, timeout=60, check=False)
        subprocess.run([str(TOOL), "down"], env=self._env, timeout=120, check=False)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class TopicReader:
    """Reads a topic from its beginning; `got` has what it read so far, `keys` the keys."""

    def __init__(self, address: str, topic: str) -> None:
        self.got: list[Mark] = []
        self.keys: set[str] = set()
        self._consumer = Consumer(
            {
                "bootstrap.servers": address,
                "group.id": "test",
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": True,
            }
        )
        self._consumer.subscribe([topic])

    def read(self) -> list[Mark]:
        """Reads what is there, and returns everything so far."""
        while True:
            try:
                messages = self._consumer.consume(500, 0.5)
            except KafkaException:
                return self.got
            for message in messages:
                value, key = message.value(), message.key()
                if message.error() is None and value is not None:
                    self.got.append(mark(value))
                    self.keys.add(str(key.decode() if isinstance(key, bytes) else key))
            if not messages:
                return self.got

    def close(self) -> None:
        """Ends it."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
