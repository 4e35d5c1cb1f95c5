"""A viewer: a websocket client in a thread that collects what it is sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from elastic_inference.domain.result import Result, parse_result, split_message
from tests.support.waiting import wait_for


def first_message(url: str, timeout_s: float = 20) -> str | bytes:
    """The first message of a stream; tries again while the stream is not known yet or the server is not up."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with connect(url, open_timeout=5, max_size=None, compression=None) as socket:
                return socket.recv(timeout=3)
        except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Viewer:
    """Reads `?format=frame` or `?format=json` of one stream and reconnects for ever, as the dashboard does."""

    def __init__(self, base_url: str, stream_id: str, form: str = "json") -> None:
        """`base_url` is `ws://host:port`."""
        self.results: list[Result] = []
        self.received_at: list[float] = []
        self.last_jpeg: bytes = b""
        self._url = f"{base_url}/{stream_id}?format={form}"
        self._form = form
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Viewer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self._url, open_timeout=3, max_size=None, compression=None) as socket:
                    while not self._stop.is_set():
                        try:
                            self._take(socket.recv(timeout=0.2))
                        except TimeoutError:
                            continue
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError, EOFError):
                self._stop.wait(0.1)

    def _take(self, message: str | bytes) -> None:
        if self._form == "json":
            self.results.append(parse_result(message))
        else:
            assert isinstance(message, bytes)
            document, jpeg = split_message(message)
            self.last_jpeg = bytes(jpeg)
            self.results.append(parse_result(document))
        self.received_at.append(time.monotonic())

    def wait_for(self, condition: Callable[[Result], bool], timeout_s: float, what: str) -> Result:
        """The first result (also of those already there) that `condition` holds for."""

        def found() -> Result | None:
            return next((result for result in list(self.results) if condition(result)), None)

        result = wait_for(found, timeout_s, what)
        assert result is not None
        return result

    def wait_for_new(self, timeout_s: float, what: str) -> float:
        """Waits for a result that comes after now; the seconds it took."""
        began, count = time.monotonic(), len(self.results)
        wait_for(lambda: len(self.results) > count, timeout_s, what)
        return time.monotonic() - began

    def text(self) -> str:
        """The last results in short, for messages of failed tests."""
        return json.dumps([[each.order, [found.label for found in each.detections]] for each in self.results[-5:]])
