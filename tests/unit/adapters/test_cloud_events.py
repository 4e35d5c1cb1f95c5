"""Events as CloudEvents, their signature, and Retry-After."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from tests.support.outbox import an_event

from elastic_inference.adapters.sinks.base import Item
from elastic_inference.adapters.sinks.cloud_events import attributes, batch_body, binary_headers, signature_headers
from elastic_inference.adapters.sinks.webhook import retry_after_s
from elastic_inference.domain.events.event import event_json


def an_item(**changes: object) -> Item:
    event = an_event(7, **changes)
    return Item(event, event_json(event), resent=True)


def test_binary_mode_encodes_what_a_header_can_not_hold() -> None:
    headers = binary_headers(an_item(label='a "dög" %', zone=None))
    assert headers["ce-subject"] == "a%20%22d%C3%B6g%22%20%25"
    assert headers["ce-time"] == "2023-11-14T22:13:20.000Z"
    assert headers["ce-source"] == "/elastic-inference/cameras/cam-0"
    assert headers["ce-partitionkey"] == "cam-0:people:inferred"
    assert headers["ce-resent"] == "true"
    assert headers["content-type"] == "application/json"


def test_a_batch_holds_the_same_events_with_their_data() -> None:
    item = an_item()
    (document,) = json.loads(batch_body([item]))
    assert document.pop("data") == json.loads(item.document)
    assert document.pop("datacontenttype") == "application/json"
    assert document == attributes(item)


@pytest.mark.parametrize(("secret", "key"), [("plain", b"plain"), ("whsec_" + base64.b64encode(b"x").decode(), b"x")])
def test_the_signature_is_that_of_standard_webhooks(secret: str, key: bytes) -> None:
    headers = signature_headers(secret, "some/1", 1700000000.9, b"{}")
    expected = hmac.new(key, b"some/1.1700000000.{}", hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    assert headers["webhook-timestamp"] == "1700000000"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("5", 5.0),
        ("soon", None),
        ("-3", None),
        ("999999999", 3600.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, 1700000000.0) == seconds
