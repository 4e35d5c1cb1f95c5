"""The messages of KEDA's external scaler protocol. The bytes were made by Google's Protocol Buffers library."""

from __future__ import annotations

import pytest

from elastic_inference.domain.scaler_messages import (
    ScaledObjectRef,
    ScalerMessageError,
    is_active_message,
    metric_message,
    metrics_request_message,
    parse_is_active,
    parse_metric,
    parse_metrics_request,
    parse_scaled_object,
    scaled_object_message,
)

REFERENCE = ScaledObjectRef("ei-infer-people-app", "video", {"inferType": "people", "target": "0.8"})
WRITTEN = b"\n\x13ei-infer-people-app\x12\x05video\x1a\x13\n\tinferType\x12\x06people\x1a\r\n\x06target\x12\x030.8"
METRIC = b"\n\x19\n\x0eei_scale_ratio\x19\x9a\x99\x99\x99\x99\x99\xe9?"


def test_messages_are_those_of_googles_library() -> None:
    assert parse_scaled_object(WRITTEN) == REFERENCE
    assert scaled_object_message(REFERENCE) == WRITTEN
    asked = b"\n@" + WRITTEN + b"\x12\x0eei_scale_ratio"
    assert parse_metrics_request(asked) == (REFERENCE, "ei_scale_ratio")
    assert metrics_request_message(REFERENCE, "ei_scale_ratio") == asked
    assert metric_message("ei_scale_ratio", 0.8) == METRIC
    assert parse_metric(METRIC) == {"ei_scale_ratio": 0.8}
    assert (is_active_message(True), is_active_message(False)) == (b"\x08\x01", b"")
    assert parse_is_active(b"\x08\x01")
    assert not parse_is_active(b"")


def test_long_values_and_fields_of_later_versions_are_read() -> None:
    long = ScaledObjectRef("n" * 300, "", {"key": "v" * 20_000})
    assert parse_scaled_object(scaled_object_message(long)) == long
    later = b"\x20\x96\x01" + b"\x29" + bytes(8) + b"\x35" + bytes(4) + b"\x3a\x02hi"  # a number, doubles, text
    assert parse_scaled_object(later + WRITTEN) == REFERENCE


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\x0a\x05four", "ends after the message"),
        (b"\x0a", "ends after the message"),
        (b"\x0a" + b"\xff" * 11, "longer than 10 bytes"),
        (b"\x0a\x02\xff\xfe", "UTF-8"),
        (b"\x08\x01", "expected text"),
        (b"\x0b", "unknown kind 3"),
        (b"\x02\x00", "number 0"),
        (b"\x1a\x02\x0a\x05", "ends after the message"),
        (b"\x19" + bytes(7), "ends after the message"),
    ],
)
def test_broken_messages_are_refused(message: bytes, words: str) -> None:
    with pytest.raises(ScalerMessageError, match=words):
        parse_scaled_object(message)
