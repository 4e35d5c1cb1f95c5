"""Events as CloudEvents 1.0, in binary mode (headers) and in the batched form, and their signature. Pure."""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from elastic_inference.adapters.sinks.base import Item

BATCH_TYPE = "application/cloudevents-batch+json; charset=utf-8"
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


def attributes(item: Item) -> dict[str, Any]:
    """The context attributes of an event; `id` with `source` is the same for a repeat, and differs by revision."""
    event = item.event
    at = datetime.datetime.fromtimestamp(event.at_ms / 1000, datetime.UTC).isoformat(timespec="milliseconds")
    found: dict[str, Any] = {
        "specversion": "1.0",
        "id": item.identity,
        "source": f"/elastic-inference/cameras/{quote(event.camera, safe='')}",
        "type": f"elastic-inference.{event.kind.value}.{event.phase.value}",
        "time": at.replace("+00:00", "Z"),
        "partitionkey": item.key,
    }
    if event.zone or event.label:
        found["subject"] = event.zone or event.label
    if item.resent:
        found["resent"] = True
    return found


def binary_headers(item: Item) -> dict[str, str]:
    """The headers of a request that carries one event; its body is the event's JSON."""
    found = {f"ce-{name}": _header(value) for name, value in attributes(item).items()}
    return found | {"content-type": "application/json"}


def batch_body(items: Sequence[Item]) -> bytes:
    """The body of a request that carries several."""
    return json.dumps(
        [
            attributes(item) | {"datacontenttype": "application/json", "data": json.loads(item.document)}
            for item in items
        ],
        separators=(",", ":"),
    ).encode()


def signature_headers(secret: str, identity: str, at_s: float, body: bytes) -> dict[str, str]:
    """HMAC-SHA256 over id, time and body, in the form of Standard Webhooks."""
    stamp = str(int(at_s))
    signed = hmac.new(_key(secret), f"{identity}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": _header(identity),
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


def _key(secret: str) -> bytes:
    text = secret.removeprefix("whsec_")
    if text != secret:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()


def _header(value: object) -> str:
    """Percent-encodes a value as CloudEvents' HTTP binding requires."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return quote(text, safe=_PLAIN)
