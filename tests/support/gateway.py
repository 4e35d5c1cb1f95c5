"""The gateway on a thread of this process, and results for it to show."""

from __future__ import annotations

import dataclasses
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import redis
import simplejpeg

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.base import config
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.result import Result
from elastic_inference.flows.gateway.server import GatewayServer
from tests.support.background import repeating
from tests.support.ports import free_port
from tests.support.results import make_result
from tests.support.threaded import Threaded

JPEG: bytes = simplejpeg.encode_jpeg(np.full((240, 320, 3), 90, np.uint8), quality=90, colorspace="BGR")
BOX = (0.25, 0.25, 0.75, 0.75)
ADMIN_TOKEN, GUARD_TOKEN = "the-token-of-an-admin", "the-token-of-a-viewer-of-one-camera"


def a_result(order: int, name: str = "gate-1", kind: str = "people", **changes: Any) -> Result:
    """A result with one detection in the middle of `JPEG`."""
    given: dict[str, Any] = {
        "stream": keys.stream_id(name, kind),
        "type": kind,
        "model": "person-detection-retail-0013",
        "precision": "INT8",
        "order": order,
        "seq": order,
        "pod": "pod-1",
        "age_ms": 8.0,
        "queue_ms": 3.1,
        "infer_ms": 12.4,
        "arrived_ms": 1_790_000_000_000.5,
    }
    return make_result(**{**given, **changes})


@dataclasses.dataclass
class Answer:
    """A complete HTTP answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a JSON error."""
        return str(self.json["error"]["code"])


class RunningGateway(Threaded):
    """A running gateway, and requests to it."""

    def __init__(self, queue_url: str, **settings: str) -> None:
        super().__init__("gateway")
        self.lifecycle.declare("http")
        self.lifecycle.set_ready("http")
        environ = {"QUEUE_URL": queue_url, "GATEWAY_HOST": "127.0.0.1", "GATEWAY_PORT": "0", **settings}
        # At the usual port another test's websocket server may answer.
        environ.setdefault("WEBSOCKET_SERVER_URL", f"ws://127.0.0.1:{free_port()}")
        self._settings = config.load(config.GatewaySettings, environ)
        self.tls = "GATEWAY_TLS_CERT" in settings

    async def main(self, on_port: Callable[[int], None]) -> None:
        server = GatewayServer(self._settings, self.lifecycle, self.registry)
        stop = self.lifecycle.stop_event()
        await server.start()
        on_port(server.port)
        await stop.wait()
        await server.close()

    @property
    def host(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    def connection(self, timeout_s: float = 10) -> http.client.HTTPConnection:
        """A new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        """Sends one request; write `-` in header names as `_`."""
        connection = self.connection()
        try:
            data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
            connection.request(method, path, data, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    @contextmanager
    def events(self, **headers: str) -> Iterator[Iterator[tuple[str, Any]]]:
        """The events as (kind, document); a comment has the kind `:`."""
        connection = self.connection()
        try:
            connection.request("GET", "/api/events", headers=headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            yield read_events(answer)
        finally:
            connection.close()


def read_events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """The events of an open answer, until it ends."""
    kind = ""
    while line := answer.readline():
        text = line.decode().rstrip("\n")
        if text.startswith(":"):
            yield ":", text
        elif text.startswith("event: "):
            kind = text[7:]
        elif text.startswith("data: "):
            yield kind, json.loads(text[6:])


def first_event(events: Iterator[tuple[str, Any]], kind: str, fits: Callable[[Any], bool] = lambda _: True) -> Any:
    """The document of the next event of a kind for which `fits` is true."""
    for found, document in events:
        if found == kind and fits(document):
            return document
    raise AssertionError(f"the events ended without a {kind!r} that fits")


def write_tokens(path: Path, *tokens: Mapping[str, Any]) -> None:
    """Replaces the file of tokens as `kubectl` and editors do."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"tokens": tokens}))
    new.rename(path)


class Pool:
    """A camera and a pod: what they write to Redis, written by the real producer and publisher."""

    def __init__(self, client: redis.Redis, name: str = "gate-1", kind: str = "people") -> None:
        self.stream_id = keys.stream_id(name, kind)
        self._name = name
        self._kind = kind
        self._producer = QueueProducer(client, kind, name, config.QueueRules())
        self._publisher = ResultPublisher(client, kind, "pod-1", 100)
        self._order = 0

    def push(self, state: str = "live") -> None:
        """Pushes one frame and reports the source's state."""
        self._producer.push(
            Frame(name=self._name, category=self._kind, data=JPEG, width=320, height=240, seq=1, ts=1.0)
        )
        self._producer.report_source(state, 15.0, 0, 0)

    def publish(self, jpeg: bytes = JPEG, **changes: Any) -> None:
        """Publishes one result, and with every tenth one also the pod's report."""
        self._order += 1
        self._publisher.publish([(a_result(self._order, self._name, self._kind, **changes), jpeg)])
        if self._order % 10 == 1:
            self._publisher.report_worker(10.0, 2.0, 1.2, capacity_fps=10.0, device="CPU", model="m", precision="INT8")

    @contextmanager
    def publishing(self, fps: float = 30.0, jpeg: bytes = JPEG) -> Iterator[None]:
        """Publishes results at this rate until the block ends; their `ts` is the time of publishing (monotonic)."""
        with repeating(lambda: self.publish(jpeg, ts=time.monotonic()), fps):
            yield
