"""The messages of KEDA's external scaler protocol, in the binary form of Protocol Buffers (proto3). Pure.

Read and written by housekeeping's scaler. The numbers of the fields, from KEDA's `externalscaler.proto`:

    ScaledObjectRef        1 name, 2 namespace, 3 scalerMetadata: a map, of entries with 1 key, 2 value
    GetMetricsRequest      1 scaledObjectRef, 2 metricName
    IsActiveResponse       1 result
    GetMetricSpecResponse  1 metricSpecs, each with 1 metricName, 3 targetSizeFloat
    GetMetricsResponse     1 metricValues, each with 1 metricName, 3 metricValueFloat

All are text or messages, except `result`, a varint, and the two floats, doubles. A reader skips fields that it does not
know, and a field that is missing has its zero value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

SERVICE = "externalscaler.ExternalScaler"
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
_LONGEST_VARINT = 10


class ScalerMessageError(ValueError):
    """A message that is not in the form of the protocol."""


@dataclass(frozen=True, slots=True)
class ScaledObjectRef:
    """Which ScaledObject asks, and the metadata of its trigger."""

    name: str = ""
    namespace: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


def parse_scaled_object(message: bytes) -> ScaledObjectRef:
    """Reads a ScaledObjectRef. Raises ScalerMessageError."""
    name = namespace = ""
    metadata: dict[str, str] = {}
    for number, value in _fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            namespace = _text(value)
        elif number == 3:
            entry = dict(_fields(_bytes(value)))
            metadata[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
    return ScaledObjectRef(name, namespace, metadata)


def parse_metrics_request(message: bytes) -> tuple[ScaledObjectRef, str]:
    """Reads a GetMetricsRequest: who asks, and the metric's name. Raises ScalerMessageError."""
    reference, metric = ScaledObjectRef(), ""
    for number, value in _fields(message):
        if number == 1:
            reference = parse_scaled_object(_bytes(value))
        elif number == 2:
            metric = _text(value)
    return reference, metric


def is_active_message(active: bool) -> bytes:
    """An IsActiveResponse."""
    return b"\x08\x01" if active else b""


def metric_message(metric: str, value: float) -> bytes:
    """A GetMetricSpecResponse or a GetMetricsResponse with one metric: its target or its value."""
    inner = _length_delimited(1, metric.encode()) + _tag(3, _DOUBLE) + struct.pack("<d", value)
    return _length_delimited(1, inner)


def scaled_object_message(reference: ScaledObjectRef) -> bytes:
    """A ScaledObjectRef, as KEDA writes it."""
    parts = [_length_delimited(1, reference.name.encode()), _length_delimited(2, reference.namespace.encode())]
    for key, value in reference.metadata.items():
        parts.append(_length_delimited(3, _length_delimited(1, key.encode()) + _length_delimited(2, value.encode())))
    return b"".join(parts)


def metrics_request_message(reference: ScaledObjectRef, metric: str) -> bytes:
    """A GetMetricsRequest, as KEDA writes it."""
    return _length_delimited(1, scaled_object_message(reference)) + _length_delimited(2, metric.encode())


def parse_is_active(message: bytes) -> bool:
    """Reads an IsActiveResponse. Raises ScalerMessageError."""
    return bool(dict(_fields(message)).get(1, 0))


def parse_metric(message: bytes) -> dict[str, float]:
    """Reads a GetMetricSpecResponse or a GetMetricsResponse: targets or values by name. Raises ScalerMessageError."""
    found = {}
    for number, value in _fields(message):
        if number == 1:
            entry = dict(_fields(_bytes(value)))
            double = entry.get(3, struct.pack("<d", 0.0))
            if not isinstance(double, bytes) or len(double) != 8:
                raise ScalerMessageError("expected a double")
            found[_text(entry.get(1, b""))] = float(struct.unpack("<d", double)[0])
    return found


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field: an int for a varint, else bytes."""
    offset = 0
    while offset < len(message):
        tag, offset = _varint(message, offset)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ScalerMessageError("a field has the number 0")
        if kind == _VARINT:
            number_value, offset = _varint(message, offset)
            yield number, number_value
            continue
        if kind == _BYTES:
            length, offset = _varint(message, offset)
        elif kind in (_DOUBLE, _FLOAT):
            length = 8 if kind == _DOUBLE else 4
        else:
            raise ScalerMessageError(f"field {number} is of the unknown kind {kind}")
        if length > len(message) - offset:
            raise ScalerMessageError(f"field {number} ends after the message")
        yield number, message[offset : offset + length]
        offset += length


def _varint(message: bytes, offset: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if offset + index >= len(message):
            raise ScalerMessageError("a number ends after the message")
        byte = message[offset + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, offset + index + 1
    raise ScalerMessageError("a number is longer than 10 bytes")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ScalerMessageError("expected text or a message, got a number")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise ScalerMessageError("expected text in UTF-8") from None


def _tag(number: int, kind: int) -> bytes:
    return bytes([number << 3 | kind])


def _length_delimited(number: int, value: bytes) -> bytes:
    length, parts = len(value), bytearray(_tag(number, _BYTES))
    while length > 0x7F:
        parts.append(length & 0x7F | 0x80)
        length >>= 7
    parts.append(length)
    return bytes(parts) + value
