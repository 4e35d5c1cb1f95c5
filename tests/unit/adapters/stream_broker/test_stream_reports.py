"""A pod writes the registry's entries of several streams together."""

from __future__ import annotations

from tests.support.results import make_result

from elastic_inference.adapters.stream_broker.stream_reports import TOGETHER_S, StreamReports
from elastic_inference.domain import keys


def add(reports: StreamReports, name: str, order: int, now_s: float) -> None:
    reports.add(make_result(stream=name, order=order), now_s, int(now_s * 1000))


def test_a_new_stream_is_written_at_once() -> None:
    reports = StreamReports()
    for now_s, name in ((100.0, "a:t:inferred"), (100.01, "b:t:inferred")):
        add(reports, name, 1, now_s)
        commands = reports.commands(now_s, int(now_s * 1000))
        assert [each[:2] for each in commands[:3]] == [
            ("HSET", keys.stream_info(name)),
            ("PEXPIRE", keys.stream_info(name)),
            ("ZADD", keys.STREAMS),
        ]
        assert reports.commands(now_s, int(now_s * 1000)) == []


def test_later_entries_wait_for_others_and_share_one_command_for_the_scores() -> None:
    reports = StreamReports()
    names = [f"{number}:t:inferred" for number in range(5)]
    for name in names:
        add(reports, name, 1, 100.0)
    reports.commands(100.0, 100_000)
    for index, name in enumerate(names):
        now_s = 101.0 + index * TOGETHER_S / 8
        add(reports, name, 2, now_s)
    assert reports.commands(101.0 - 1.0 + TOGETHER_S / 2, 100_100) == []
    commands = reports.commands(101.2, 101_200)
    assert [each[0] for each in commands].count("HSET") == 5
    (scores,) = (each for each in commands if each[0] == "ZADD")
    assert list(scores[3::2]) == names
    assert scores[2] == 101_000 + 10_000, "the time of the frame, and the life of a stream"
    assert [each[0] for each in commands].count("ZREMRANGEBYSCORE") == 2


def test_nothing_is_written_twice() -> None:
    reports = StreamReports()
    add(reports, "a:t:inferred", 1, 100.0)
    assert reports.commands(100.0, 100_000)
    add(reports, "a:t:inferred", 2, 100.5)
    assert reports.commands(100.5, 100_500) == [], "a stream has a new entry once a second"
    assert reports.commands(200.0, 200_000) == []
