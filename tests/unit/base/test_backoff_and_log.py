"""Waiting times and log lines."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from elastic_inference.base.backoff import Backoff
from elastic_inference.base.log import Throttle, set_up_logging


def test_waiting_times_double_up_to_the_limit() -> None:
    backoff = Backoff(first_s=0.1, limit_s=1.0)
    for expected in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        assert expected / 2 <= backoff.next_s() <= expected
    backoff.reset()
    assert backoff.next_s() <= 0.1


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    kept, level, form = root.handlers[:], root.level, warnings.formatwarning
    yield root
    logging.captureWarnings(False)
    root.handlers[:], warnings.formatwarning = kept, form
    root.setLevel(level)


def test_json_lines(root_logger: logging.Logger) -> None:
    stream = io.StringIO()
    set_up_logging("INFO", "json", stream)
    root_logger.debug("not shown")
    try:
        raise ValueError("broken\nline")
    except ValueError:
        logging.getLogger("ei.test").exception("it broke: %s", "ü")
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert (fields["level"], fields["logger"], fields["message"]) == ("ERROR", "ei.test", "it broke: ü")
    assert "ValueError" in fields["exception"]


def test_text_lines_and_warnings(root_logger: logging.Logger) -> None:
    stream = io.StringIO()
    set_up_logging("INFO", "text", stream)
    root_logger.info("hello")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old name", FutureWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "INFO    root: hello" in stream.getvalue()
    assert "old name" in stream.getvalue()


def test_throttle_lets_one_line_a_key_through() -> None:
    throttle = Throttle(interval_s=60, max_keys=3)
    assert [throttle.allow("a"), throttle.allow("a"), throttle.allow("b")] == [True, False, True]
    for key in range(10):
        throttle.allow(key)
    assert len(throttle._last) <= 3
    assert Throttle(interval_s=0).allow("a")
