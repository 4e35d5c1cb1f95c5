"""What is known of the need for a stream's frames."""

from __future__ import annotations

from elastic_inference.domain.image_size import UNKNOWN, WATCHED, ModelSize
from elastic_inference.flows.produce.stream_needs import ASK_EVERY_S, TRUST_S, StreamNeeds

MODEL = ModelSize(300, 300).code
FULL, SMALL = (1920, 1080), (534, 300)


def test_frames_are_small_only_while_every_type_is_known_and_nobody_watches() -> None:
    needs = StreamNeeds()
    assert needs.size(("a",), *FULL, 0.0)[:2] == FULL
    needs.learn("a", MODEL, 10.0)
    assert needs.size(("a",), *FULL, 10.0)[:2] == SMALL
    assert needs.size(("a", "b"), *FULL, 10.0)[:2] == FULL
    needs.learn("b", MODEL, 10.0)
    assert needs.size(("a", "b"), *FULL, 10.0)[:2] == SMALL
    needs.learn("b", WATCHED, 10.1)
    assert needs.size(("a", "b"), *FULL, 10.1)[:2] == FULL
    needs.learn("b", UNKNOWN, 10.2)
    assert needs.size(("a", "b"), *FULL, 10.2)[:2] == FULL


def test_an_old_answer_is_none() -> None:
    needs = StreamNeeds()
    needs.learn("a", MODEL, 10.0)
    assert not needs.watched(("a",), 10.0)
    assert needs.size(("a",), *FULL, 10.0 + TRUST_S + 0.1)[:2] == FULL
    assert needs.watched(("a",), 10.0 + TRUST_S + 0.1)


def test_whether_a_stream_is_watched_is_known_from_fresh_answers_of_all_types() -> None:
    needs = StreamNeeds()
    assert needs.known_watched(("a",), 10.0) is None
    needs.learn("a", MODEL, 10.0)
    assert needs.known_watched(("a",), 10.0) is False
    assert needs.known_watched(("a", "b"), 10.0) is None
    needs.learn("b", UNKNOWN, 10.0)
    assert needs.known_watched(("a", "b"), 10.0) is False, "no pod runs, and nobody watches"
    needs.learn("b", WATCHED, 10.1)
    assert needs.known_watched(("a", "b"), 10.1) is True
    assert needs.known_watched(("a", "b"), 10.1 + TRUST_S + 0.1) is None


def test_it_is_asked_again_only_where_no_push_has_answered() -> None:
    needs = StreamNeeds()
    assert needs.due("a", 10.0)
    needs.learn("a", MODEL, 10.0)
    assert not needs.due("a", 10.1)
    assert needs.due("a", 10.0 + ASK_EVERY_S)
