"""Names and Redis keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from elastic_inference.domain import keys


@given(st.text(max_size=200))
def test_a_cleaned_name_is_a_name(text: str) -> None:
    cleaned = keys.clean_name(text)
    assert (cleaned is None) == (not text or len(text) > 128)
    assert cleaned is None or keys.is_name(cleaned)
    assert not keys.is_name(text) or cleaned == text


@pytest.mark.parametrize("text", ["", "-a", ".", "a b", "a:b", "ä", "a" * 129, "a\n"])
def test_other_texts_are_not_names(text: str) -> None:
    assert not keys.is_name(text)


def test_stream_ids_can_be_split() -> None:
    assert keys.split_stream_id(keys.stream_id("gate-1", "people")) == ("gate-1", "people")
    for text in ("a:b", "a:b:other", "a:b:inferred:x", ":b:inferred", "a b:c:inferred", ""):
        assert keys.split_stream_id(text) is None


def test_keys_of_a_type_are_distinct_and_share_a_slot() -> None:
    made = [
        *(keys.legacy_queue("t"), keys.tokens("t"), keys.waiting("t", "n"), keys.frame("t", "n", "1-a")),
        *(keys.taken("t", "pod", 0), keys.order("t", "n"), keys.dropped("t"), keys.source("t", "n")),
        *(keys.sources("t"), keys.janitor_lock("t"), keys.legacy_account("t"), keys.flow("t")),
    ]
    assert len({key_slot(key.encode()) for key in made}) == 1
    assert len(set(made)) == len(made)
    assert all(key.startswith(keys.queue_prefix("t")) for key in made[1:])


def test_pod_name() -> None:
    inside = keys.pod_name({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    outside = keys.pod_name({})
    assert keys.is_name(inside)
    assert outside.startswith(inside + "-")
