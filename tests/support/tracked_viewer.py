"""A viewer of the websocket server that reads all the time and notes how far it has come."""

from __future__ import annotations

import json
import threading

from tests.support.raw_viewer import CLOSE, RawViewer

LIMIT_S = 120.0


_PAUSE_S = 0.5


class TrackedViewer:
    """Reads while frames come, which they must do at least every `LIMIT_S`; connects again as the dashboard does."""

    def __init__(self, port: int, stream: str) -> None:
        self.order = 0
        # The newest frame that came with tracks.
        self.tracked = 0
        self._port, self._stream = port, stream
        self._viewer = self._open()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> TrackedViewer:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(LIMIT_S)
        self._viewer.close()

    def _open(self) -> RawViewer:
        return RawViewer(self._port, f"/{self._stream}?format=json", timeout_s=LIMIT_S)

    def _read(self) -> None:
        while not self._ends.is_set():
            kind, message = self._viewer.read()
            if kind == CLOSE:
                # As while the broker is away: the server says that one should try again.
                self._viewer.close()
                self._ends.wait(_PAUSE_S)
                self._viewer = self._open()
                continue
            document = json.loads(message)
            self.order = document["order"]
            if document.get("tracks"):
                self.tracked = self.order
