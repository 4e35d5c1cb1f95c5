"""When a pod asks which streams are watched."""

from __future__ import annotations

from elastic_inference.adapters.stream_broker.watching import WatchTable


def test_a_new_stream_is_asked_about_first_and_each_only_once() -> None:
    table = WatchTable()
    assert table.unknown(["a", "b", "a"], 0.0) == ["a", "b"]
    assert not table.is_watched("a")


def test_a_steady_stream_is_asked_about_once_a_second_within_its_publishes() -> None:
    table = WatchTable()
    table.learn("a", True, 10.0)
    assert table.is_watched("a")
    assert table.due(["a"], set(), 10.9) == []
    assert table.due(["a", "a"], set(), 11.0) == ["a"]
    assert table.unknown(["a"], 11.5) == []


def test_that_nobody_watches_does_not_count_for_long() -> None:
    table = WatchTable()
    table.learn("a", False, 10.0)
    assert table.unknown(["a"], 11.9) == []
    assert table.unknown(["a"], 12.0) == ["a"]


def test_a_slow_stream_that_was_watched_is_published_at_once_and_asked_about_with_it() -> None:
    table = WatchTable()
    table.learn("a", True, 10.0)
    assert table.unknown(["a"], 69.9) == []
    assert table.is_watched("a")
    assert table.due(["a"], {"a"}, 69.9) == ["a"]
    assert table.unknown(["a"], 70.0) == ["a"], "after a long silence it asks first"


def test_an_image_that_somebody_got_answers_the_question() -> None:
    table = WatchTable()
    table.learn("a", True, 10.0)
    for second in range(11, 40):
        assert table.due(["a"], {"a"}, second) == []
        table.reached("a", 1, second)
    assert table.due(["a"], set(), 40.5) == ["a"], "no image of it is sent"
    assert table.due(["a"], {"a"}, 40.5) == ["a"], "a subscriber to a pattern is no viewer"


def test_an_image_that_nobody_got_makes_the_pod_ask_before_the_next() -> None:
    table = WatchTable()
    table.learn("a", True, 10.0)
    table.reached("a", 0, 11.0)
    assert table.is_watched("a"), "a websocket server may be about to subscribe"
    assert table.unknown(["a"], 11.1) == ["a"]
    table.learn("a", True, 11.1)
    assert table.unknown(["a"], 12.2) == []
    assert table.due(["a"], {"a"}, 12.2) == []


def test_after_a_lost_connection_everything_is_asked_again() -> None:
    table = WatchTable()
    table.learn("a", True, 10.0)
    table.forget()
    assert not table.is_watched("a")
    assert table.unknown(["a"], 10.1) == ["a"]


def test_streams_that_are_gone_are_forgotten() -> None:
    table = WatchTable()
    table.learn("old", True, 1000.0)
    for index in range(3):
        table.learn("new", True, 2000.0 + index * 700)
    assert len(table) == 1
