"""Logging: one line per event, as text or JSON, and at most one line per minute for repeated events."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from typing import TextIO


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (Unix seconds), level, logger, message, and the exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        fields = {
            "time": round(record.created, 3),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Time, level, logger and message as text, without the package's name in front of its loggers."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(short)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        record.short = record.name.removeprefix("elastic_inference.")
        return super().format(record)


def set_up_logging(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends all log records and warnings to `stream` (default: standard error) as `text` or `json`."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, *_args, **_kwargs: str(message)
    logging.getLogger("websockets").setLevel(max(logging.WARNING, root.level))
    logging.getLogger("tornado.access").setLevel(max(logging.WARNING, root.level))


class Throttle:
    """Limits repeated log lines to one per key and minute, with bounded memory.

    Not thread-safe on purpose: a race costs no more than a second line.
    """

    def __init__(self, interval_s: float = 60.0, max_keys: int = 1024) -> None:
        self._interval_s = interval_s
        self._max_keys = max_keys
        self._last: dict[object, float] = {}

    def allow(self, key: object) -> bool:
        """True at most once per `key` and interval."""
        now = time.monotonic()
        last = self._last.get(key)
        if last is not None and now - last < self._interval_s:
            return False
        if len(self._last) >= self._max_keys:
            self._last.clear()
        self._last[key] = now
        return True
