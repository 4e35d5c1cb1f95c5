"""One stream service as a real process, and what it pushed to the queue."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import redis

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.base import config
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for


class ProducerUnderTest:
    """A `file` or `camera` service that pushes stream `gate` to `valkey`; ended with the `with` block."""

    def __init__(self, kind: str, valkey: EmbeddedValkey, environ: Mapping[str, str], name: str = "gate") -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="ei-producer-")
        self.name = name
        self.client = redis.Redis(port=valkey.port, retry=None)
        settings = {"QUEUE_URL": valkey.url, "STREAM_NAME": name, "INFER_TYPE": "people", **environ}
        self.service = ServiceProcess(kind, settings, Path(self._temporary.name), kind)

    def __enter__(self) -> ProducerUnderTest:
        self.service.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.service.kill()
        self.client.close()
        self._temporary.cleanup()

    def consumer(self, infer_type: str = "people") -> QueueConsumer:
        """A pod's end of the queue, with its scripts loaded."""
        consumer = QueueConsumer(self.client, infer_type, "pod-1", config.QueueRules())
        consumer.load_scripts()
        return consumer

    def frames(self, number: int, infer_type: str = "people", timeout_s: float = 30) -> list[Frame]:
        """The next `number` frames that the queue hands out."""
        consumer = self.consumer(infer_type)
        found: list[Frame] = []

        def enough() -> bool:
            found.extend(popped.frame for popped in consumer.pop(16, 0.2).frames)
            return len(found) >= number

        wait_for(enough, timeout_s, f"{number} frames of {infer_type}")
        return found

    def source(self, infer_type: str = "people") -> dict[str, str]:
        """The queue's `source` hash."""
        found: dict[bytes, bytes] = self.client.hgetall(keys.source(infer_type, self.name))
        return {key.decode(): value.decode() for key, value in found.items()}

    def wait_state(self, state: str, timeout_s: float = 30) -> dict[str, str]:
        """Waits until the queue shows this state of the source."""
        try:
            return wait_for(
                lambda: found if (found := self.source()).get("state") == state else None, timeout_s, f"state {state}"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; shown: {self.source()}; log: {self.service.log()[-2000:]}") from None

    def everything(self) -> str:
        """All that the service shows to others: log, metrics, keys and values at the queue except images."""
        texts = [self.service.log(), str(self.service.metrics())]
        for key in self.client.keys("*"):
            texts.append(key.decode("latin-1"))
            if self.client.type(key) == b"hash":
                texts.append(str(self.client.hgetall(key)))
            elif self.client.type(key) == b"string":
                texts.append((self.client.get(key) or b"").decode("latin-1"))
            elif self.client.type(key) == b"list":
                texts.extend(item.decode("latin-1") for item in self.client.lrange(key, 0, 3))
        return "\n".join(texts)
