"""A viewer: a websocket client in a thread that collects what it receives."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Mapping

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from elastic_inference.domain.result import Result, parse_result
from elastic_inference.domain.result_message import split_message
from tests.support.background import Background
from tests.support.waiting import wait_for

# The opening, above all over TLS, can take more than the usual ten seconds while six workers share two cores.
connect_patiently = functools.partial(connect, open_timeout=60.0)


def first_message(url: str, timeout_s: float = 60) -> str | bytes:
    """The first message of a stream; retries while the stream is unknown or the server is not up."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with connect(url, open_timeout=5, max_size=None, compression=None) as socket:
                return socket.recv(timeout=10)
        except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class ReconnectingViewer(Background):
    """Reads one websocket and reconnects whenever it ends, or is silent for `silent_s`, as the dashboard does."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, *, silent_s: float | None = None) -> None:
        super().__init__()
        # When an open connection ended (monotonic), and why connections ended or were refused.
        self.cuts: list[float] = []
        self.refusals: list[str] = []
        self._url = url
        self._headers = headers or {}
        self._silent_s = silent_s

    def run(self) -> None:
        while not self._stop.is_set():
            opened = False
            try:
                with connect(
                    self._url,
                    additional_headers=self._headers,
                    open_timeout=3,
                    close_timeout=1,
                    max_size=None,
                    compression=None,
                ) as socket:
                    opened = True
                    heard_at = time.monotonic()
                    while not self._stop.is_set() and not self._is_silent(heard_at):
                        with contextlib.suppress(TimeoutError):
                            self._take(socket.recv(timeout=0.2))
                            heard_at = time.monotonic()
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError, EOFError) as error:
                if opened:
                    self.cuts.append(time.monotonic())
                self.refusals.append(str(error)[:200])
                self._stop.wait(0.1)

    def _is_silent(self, heard_at: float) -> bool:
        return self._silent_s is not None and time.monotonic() - heard_at > self._silent_s

    def _take(self, message: str | bytes) -> None:
        raise NotImplementedError


class Viewer(ReconnectingViewer):
    """Collects the results of `?format=frame` or `?format=json` of one stream."""

    def __init__(self, base_url: str, stream_id: str, form: str = "json") -> None:
        """`base_url` is `ws://host:port`."""
        super().__init__(f"{base_url}/{stream_id}?format={form}")
        self.results: list[Result] = []
        self.received_at: list[float] = []
        self._form = form

    def _take(self, message: str | bytes) -> None:
        if self._form == "json":
            self.results.append(parse_result(message))
        else:
            assert isinstance(message, bytes)
            document, _ = split_message(message)
            self.results.append(parse_result(document))
        self.received_at.append(time.monotonic())

    def wait_for(self, condition: Callable[[Result], bool], timeout_s: float, what: str) -> Result:
        """The first result for which `condition` holds, among those already received too."""

        def found() -> Result | None:
            return next((result for result in list(self.results) if condition(result)), None)

        result = wait_for(found, timeout_s, what)
        assert result is not None
        return result

    def text(self) -> str:
        """The last results in short, for the message of a failed test."""
        return json.dumps([[each.order, [found.label for found in each.detections]] for each in self.results[-5:]])
