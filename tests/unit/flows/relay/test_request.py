"""Request targets: stream and format are read, anything else is refused with a reason."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.flows.relay.request import BadRequestError, Format, ViewerRequest, parse_target


@pytest.mark.parametrize(
    ("target", "stream_id", "form"),
    [
        ("/cam:people:inferred", "cam:people:inferred", Format.DRAWN),
        ("/cam:people:inferred?", "cam:people:inferred", Format.DRAWN),
        ("/cam:people:inferred?format=", "cam:people:inferred", Format.DRAWN),
        ("/cam:people:inferred?format=frame", "cam:people:inferred", Format.FRAME),
        ("/cam%3Apeople%3Ainferred?x=1&format=json", "cam:people:inferred", Format.JSON),
        ("/", "", Format.DRAWN),
    ],
)
def test_reads_stream_and_format(target: str, stream_id: str, form: Format) -> None:
    assert parse_target(target) == ViewerRequest(stream_id, form)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/cam:people:inferred?format=gif", "expected frame, json"),
        ("/cam:people:inferred?format=FRAME", "expected frame, json"),
        ("/" + "x" * 2000, "at most 1024"),
        ("/%ff%fe", "is not valid"),
        ("/a?" + "&".join(f"p{i}=1" for i in range(40)), "is not valid"),
    ],
)
def test_an_invalid_target_is_refused_with_a_reason(target: str, words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        parse_target(target)


@given(st.text(max_size=1200))
def test_never_anything_but_a_request_or_a_reason(target: str) -> None:
    with contextlib.suppress(BadRequestError):
        assert parse_target(target).format in Format
