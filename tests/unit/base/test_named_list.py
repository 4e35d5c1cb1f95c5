"""Files that list things by name: cameras and sinks are read alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from elastic_inference.adapters.camera_registry import camera_file
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.flows.deliver import sinks_file

ENTRIES = {"cameras": "{name: a, url: rtsp://10.0.0.7/}", "sinks": "{name: a, kind: log}"}
PARSERS: dict[str, Callable[[bytes], object]] = {"cameras": camera_file.parse, "sinks": sinks_file.parse}


@pytest.mark.parametrize("key", ENTRIES)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty: expected `KEY:` and below it a list of KEY. To have none, write `KEY: []`"),
        ("KEY:\n", "line 1: expected `KEY:` and below it a list of KEY. To have none, write `KEY: []`"),
        ("KEY: []\nmore: 1\n", "expected `KEY:` and below it a list of KEY"),
        ("# first\nKEY: text\n", "line 2: expected `KEY:` and below it a list of KEY"),
        ("KEY: false\n", "line 1: expected `KEY:` and below it a list of KEY"),
        ("KEY:\n- ENTRY\n- ENTRY\n", "line 3: expected each name once: a is there already"),
    ],
)
def test_mistakes_say_the_line_and_what_is_expected(key: str, text: str, words: str) -> None:
    with pytest.raises(ElasticInferenceError) as caught:
        PARSERS[key](text.replace("KEY", key).replace("ENTRY", ENTRIES[key]).encode())
    assert str(caught.value) == words.replace("KEY", key)


@pytest.mark.parametrize("key", ENTRIES)
def test_a_list_may_be_empty(key: str) -> None:
    assert PARSERS[key](f"{key}: []\n".encode()) == {}


@pytest.mark.parametrize("key", ENTRIES)
def test_a_file_that_is_too_large_is_refused(key: str) -> None:
    with pytest.raises(ElasticInferenceError, match=r"^expected at most \d+ [kM]B$"):
        PARSERS[key](b"#" * (9 * 1024 * 1024))
