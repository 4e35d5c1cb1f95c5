"""What is known of the need for a stream's frames."""

from __future__ import annotations

from elastic_inference.domain.image_size import UNKNOWN, WATCHED, ModelSize
from elastic_inference.flows.produce.demand import ASK_EVERY_S, TRUST_S, StreamNeeds

MODEL = ModelSize(300, 300).code
FULL, SMALL = (1920, 1080), (534, 300)


def test_frames_are_small_only_while_every_type_is_known_and_nobody_watches() -> None:
    demand = StreamNeeds()
    assert demand.size(("a",), *FULL, 0.0)[:2] == FULL
    demand.learn("a", MODEL, 10.0)
    assert demand.size(("a",), *FULL, 10.0)[:2] == SMALL
    assert demand.size(("a", "b"), *FULL, 10.0)[:2] == FULL
    demand.learn("b", MODEL, 10.0)
    assert demand.size(("a", "b"), *FULL, 10.0)[:2] == SMALL
    demand.learn("b", WATCHED, 10.1)
    assert demand.size(("a", "b"), *FULL, 10.1)[:2] == FULL
    demand.learn("b", UNKNOWN, 10.2)
    assert demand.size(("a", "b"), *FULL, 10.2)[:2] == FULL


def test_an_old_answer_is_none() -> None:
    demand = StreamNeeds()
    demand.learn("a", MODEL, 10.0)
    assert not demand.watched(("a",), 10.0)
    assert demand.size(("a",), *FULL, 10.0 + TRUST_S + 0.1)[:2] == FULL
    assert demand.watched(("a",), 10.0 + TRUST_S + 0.1)


def test_whether_a_stream_is_watched_is_known_from_fresh_answers_of_all_types() -> None:
    demand = StreamNeeds()
    assert demand.known_watched(("a",), 10.0) is None
    demand.learn("a", MODEL, 10.0)
    assert demand.known_watched(("a",), 10.0) is False
    assert demand.known_watched(("a", "b"), 10.0) is None
    demand.learn("b", UNKNOWN, 10.0)
    assert demand.known_watched(("a", "b"), 10.0) is False, "no pod runs, and nobody watches"
    demand.learn("b", WATCHED, 10.1)
    assert demand.known_watched(("a", "b"), 10.1) is True
    assert demand.known_watched(("a", "b"), 10.1 + TRUST_S + 0.1) is None


def test_it_is_asked_again_only_where_no_push_has_answered() -> None:
    demand = StreamNeeds()
    assert demand.due("a", 10.0)
    demand.learn("a", MODEL, 10.0)
    assert not demand.due("a", 10.1)
    assert demand.due("a", 10.0 + ASK_EVERY_S)
