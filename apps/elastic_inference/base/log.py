"""Logging: one line of limited length per event, as text or JSON, whatever the values in it are.

Values come from outside: names, messages of other servers, errors that quote both. No value may start a new line or
fill the disk: each is cut, unprintable characters are escaped, and repeated lines are limited in number.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TextIO

# Characters of one value in a line, of a whole line, and of a traceback.
MAX_VALUE = 300
MAX_LINE = 2000
MAX_TRACE = 8000


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """`text` cut to `limit` characters, with an escape sequence for each that cannot be printed, such as a line end."""
    if len(text) > limit:
        text = f"{text[:limit]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (Unix seconds), level, logger, message, and the exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        fields = {
            "time": round(record.created, 3),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        if record.exc_info:
            fields["exception"] = _trace(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Time, level, logger and message as text, without the package's name in front of its loggers.

    The lines of a traceback are indented, so that none of them looks like a line of the log.
    """

    def __init__(self) -> None:
        super().__init__(datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        short = record.name.removeprefix("elastic_inference.")
        line = f"{self.formatTime(record, self.datefmt)} {record.levelname:<7} {short}: {_message(record)}"
        if record.exc_info:
            line += "\n    " + _trace(self.formatException(record.exc_info)).replace("\n", "\n    ")
        return line


def _message(record: logging.LogRecord) -> str:
    args = record.args
    message = str(record.msg)
    if args:
        cut = {key: _cut(each) for key, each in args.items()} if isinstance(args, Mapping) else tuple(map(_cut, args))
        message %= cut
    left_out = getattr(record, "left_out", 0)
    return one_line(message) + (f" ({left_out} lines like this were left out)" if left_out else "")


def _cut(value: object) -> object:
    """A value of a line; the text of a long one is cut."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = value if isinstance(value, str) else str(value)
    return value if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text)} characters)"


def _trace(text: str) -> str:
    """A traceback: its start and its end, which says what was raised."""
    if len(text) > MAX_TRACE:
        text = f"{text[: MAX_TRACE // 4]}\n… ({len(text)} characters) …\n{text[-MAX_TRACE * 3 // 4 :]}"
    return "\n".join(map(one_line, text.split("\n")))


class LineLimit(logging.Filter):
    """Passes at most `lines` lines a minute from each log statement; the next line says how many were left out.

    A `Throttle` in the code gives better messages. This limit covers every statement, those of libraries included.
    Debug lines are not limited.
    """

    def __init__(self, lines: int = 60, interval_s: float = 60.0) -> None:
        super().__init__()
        self._lines = lines
        self._interval_s = interval_s
        self._lock = threading.Lock()
        # (start of the interval, lines in it) by log statement
        self._counts: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if record.levelno < logging.INFO:
            return True
        now = time.monotonic()
        caller = (record.pathname, record.lineno)
        with self._lock:
            since, count = self._counts.get(caller, (now, 0))
            if now - since >= self._interval_s:
                record.left_out = max(0, count - self._lines)
                since, count = now, 0
            self._counts[caller] = (since, count + 1)
        return count < self._lines


class TracebackHandler(logging.Handler):
    """Calls `count` for each warning or error with a traceback: only errors that nobody expected have one."""

    def __init__(self, count: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        """Counts the record, whether or not `LineLimit` lets it be written."""
        if record.exc_info and record.exc_info[0] is not None:
            self._count()


def set_up_logging(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends all log records and warnings to `stream` (default: standard error) as `text` or `json`."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(LineLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, *_args, **_kwargs: str(message)
    logging.getLogger("websockets").setLevel(max(logging.WARNING, root.level))
    logging.getLogger("tornado.access").setLevel(max(logging.WARNING, root.level))


def count_tracebacks(count: Callable[[], None]) -> None:
    """Calls `count` for each traceback in the log from now on; call it after `set_up_logging`."""
    logging.getLogger().addHandler(TracebackHandler(count))


class Throttle:
    """Limits repeated log lines to one per key and minute. Thread-safe.

    Keys may come from outside, such as names of streams: beyond `max_keys` a minute, all others share one line. Keys
    from outside therefore need a throttle of their own, or they would use up the lines of the rest.
    """

    def __init__(self, interval_s: float = 60.0, max_keys: int = 32) -> None:
        self._interval_s = interval_s
        self._max_keys = max_keys
        self._lock = threading.Lock()
        # By the keys' hashes: a key may be as long as a client likes.
        self._last: dict[int, float] = {}
        self._others_last = float("-inf")

    def allow(self, key: object) -> bool:
        """True at most once per `key` and interval."""
        return self.note(key) is not None

    def note(self, key: object) -> str | None:
        """A note for the end of the line, such as `(logged once a minute)`; None if nothing may be logged."""
        now = time.monotonic()
        with self._lock:
            last = self._last.get(hash(key))
            if last is not None and now - last < self._interval_s:
                return None
            if last is None and len(self._last) >= self._max_keys:
                self._last = {each: at for each, at in self._last.items() if now - at < self._interval_s}
            if last is not None or len(self._last) < self._max_keys:
                self._last[hash(key)] = now
                return "(logged once a minute)"
            if now - self._others_last < self._interval_s:
                return None
            self._others_last = now
            return "(and others; logged once a minute)"
