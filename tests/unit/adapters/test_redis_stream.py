"""The sink of another Redis: its URL is read as every other URL of a Redis."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.sinks import Item, LoginRefusedError, SinkAccess, open_sink
from elastic_inference.domain.events.event import event_json
from elastic_inference.domain.sink_spec import read_sink
from elastic_inference.flows.deliver.requests import sample_event


@pytest.mark.parametrize(
    ("url", "words"), [("redis://127.0.0.1/events", "the number of a database"), ("redis://h?x=1", "no option other")]
)
def test_a_url_that_cannot_be_right_pauses_the_sink_with_the_reason(url: str, words: str) -> None:
    spec = read_sink({"kind": "redis", "name": "far", "url": url})
    event = sample_event(0.0)
    with pytest.raises(LoginRefusedError, match=f"`url` of this sink: expected {words}"):
        open_sink(spec, SinkAccess(None, None), "").deliver([Item(event, event_json(event))])
