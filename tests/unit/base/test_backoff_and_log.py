"""Waiting times and log lines."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from elastic_inference.base.backoff import Backoff
from elastic_inference.base.log import LineLimit, TextFormatter, Throttle, TracebackHandler, set_up_logging


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


NAMES = (
    pytest.param("x\n12:00:00 INFO    gateway: forged", "x\\n12:00:00", id="line feed"),
    pytest.param("x\r12:00:00", "x\\r12:00:00", id="carriage return"),
    pytest.param("x\u2028y\x85z", "x\\u2028y\\x85z", id="other line ends"),
    pytest.param("x\x1b[2Jy", "x\\x1b[2Jy", id="a terminal's control sequence"),
    pytest.param("x\u202etxt", "x\\u202etxt", id="reversed text"),
    pytest.param("x\ud800y", "x\\ud800y", id="half a pair"),
    pytest.param("ä 日 🚗", "ä 日 🚗", id="what can be read stays"),
)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_no_value_starts_a_line_of_its_own(root_logger: logging.Logger, form: str, name: str, expected: str) -> None:
    stream = io.StringIO()
    set_up_logging("INFO", form, stream)
    root_logger.warning("stream %s: %s", name, ValueError(name))
    written = stream.getvalue()
    (line,) = written.splitlines()
    text = json.loads(line)["message"] if form == "json" else line
    assert text.count(expected) == 2


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_value_of_a_megabyte_leaves_the_rest_of_the_line_readable(root_logger: logging.Logger, form: str) -> None:
    stream = io.StringIO()
    set_up_logging("INFO", form, stream)
    root_logger.warning("stream %s: %s; skipped %s", "n" * 2**20, OSError("e" * 2**20), {"k": "v" * 2**20})
    root_logger.warning("m" * 2**20)
    root_logger.warning("%(name)s", {"name": "n" * 2**20})
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) < 2200
    assert "… (1048576 characters): eee" in lines[0]
    assert "; skipped {" in lines[0]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_is_bounded_and_cannot_look_like_a_log_line(root_logger: logging.Logger, form: str) -> None:
    stream = io.StringIO()
    set_up_logging("INFO", form, stream)
    try:
        raise ValueError("e" * 2**20 + "\n12:00:00 INFO    gateway: forged\u2028too")
    except ValueError:
        root_logger.exception("it failed")
    first, *trace = stream.getvalue().splitlines()
    assert len(stream.getvalue()) < 12_000
    if form == "text":
        assert all(line.startswith("    ") for line in trace)
        assert "    Traceback (most recent call last):" in trace
        assert trace[-1] == "    12:00:00 INFO    gateway: forged\\u2028too"
    else:
        assert trace == []
        assert "Traceback" in json.loads(first)["exception"]


def test_no_place_in_the_code_writes_without_end(root_logger: logging.Logger) -> None:
    stream = io.StringIO()
    set_up_logging("DEBUG", "text", stream)
    for number in range(5000):
        root_logger.warning("refused %d", number)
        logging.getLogger("of.a.library").debug("debug lines are not limited")
    root_logger.warning("another place")
    lines = stream.getvalue().splitlines()
    assert sum("refused" in line for line in lines) == 60
    assert sum("debug lines" in line for line in lines) == 5000
    assert "another place" in lines[-1]


def test_tracebacks_are_counted_and_other_lines_are_not(root_logger: logging.Logger) -> None:
    counted: list[None] = []
    set_up_logging("ERROR", "text", io.StringIO())
    root_logger.addHandler(TracebackHandler(lambda: counted.append(None)))
    log = logging.getLogger("elastic_inference.somewhere")
    log.error("a known error")
    log.error("outside of any handler", exc_info=True)
    log.debug("details", exc_info=ValueError("known"))
    assert not counted
    for _ in range(100):  # more than the log takes
        log.error("a bug", exc_info=ValueError("unknown"))
    assert len(counted) == 100


def test_the_lines_left_out_are_counted_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("elastic_inference.base.log.time.monotonic", lambda: now[0])
    limit = LineLimit(lines=2, interval_s=60)
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, "refused", None, None)
    assert [limit.filter(record) for _ in range(5)] == [True, True, False, False, False]
    now[0] += 60
    assert limit.filter(record)
    assert TextFormatter().format(record).endswith("x: refused (3 lines like this were left out)")


def test_throttle_lets_one_line_a_key_through() -> None:
    throttle = Throttle(interval_s=60, max_keys=3)
    assert [throttle.allow("a"), throttle.allow("a"), throttle.allow("b")] == [True, False, True]
    assert Throttle(interval_s=0).allow("a")


def test_keys_beyond_the_bound_share_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("elastic_inference.base.log.time.monotonic", lambda: now[0])
    throttle = Throttle(interval_s=60, max_keys=3)
    notes = [note for name in range(4000) if (note := throttle.note(f"camera-{name}" * 1000))]
    assert notes == ["(logged once a minute)"] * 3 + ["(and others; logged once a minute)"]
    assert len(throttle._last) <= 3
    now[0] += 61
    notes = [note for name in range(4000) if (note := throttle.note(f"camera-{name}"))]
    assert len(notes) == 4, "a minute later the others are heard again"
