"""Simulated viewers: a slow one stays close to the present, a fast one loses no frame, whatever the round trip."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elastic_inference.flows.relay.viewer_pacing import ViewerPacing

FPS = 30


def watch(reads_fps: float, way_s: float = 0.001, seconds: float = 20.0) -> tuple[list[float], int, int]:
    """Ages at reading in seconds, of all but the first 3 s; frames offered; frames read.

    The viewer's kernel takes everything at once, without bound: the case that no socket shows. The newest
    frame is kept while the pacing refuses to send. Steps of 1 ms.
    """
    pacing, kept = ViewerPacing(), None
    queue: deque[tuple[float, bytes | None]] = deque()
    answers: deque[tuple[float, bytes]] = deque()
    ages: list[float] = []
    next_frame_s = next_read_s = 0.0
    offered = read = 0

    def send(made_s: float, now_s: float) -> None:
        ping = pacing.sent(now_s)
        assert ping is None or was_quiet_until_s <= now_s, "a ping was due though the pacing said that none would be"
        queue.append((made_s, ping))

    for step in range(int(seconds * 1000)):
        now_s = step / 1000
        while answers and answers[0][0] <= now_s:
            assert pacing.answered(answers.popleft()[1], now_s)
            if kept is not None and pacing.may_send(now_s):
                send(kept, now_s)
                kept = None
        if now_s >= next_frame_s:
            next_frame_s += 1 / FPS
            offered += 1
            was_quiet_until_s = pacing.quiet_until_s
            assert pacing.may_send(now_s) or was_quiet_until_s <= now_s
            if pacing.may_send(now_s):
                send(now_s, now_s)
            else:
                kept = now_s
        if now_s >= next_read_s and queue and queue[0][0] + way_s / 2 <= now_s:
            made_s, ping = queue.popleft()
            read += 1
            if now_s > 3:
                ages.append(now_s - made_s)
            if ping is not None:
                answers.append((now_s + way_s / 2, ping))
            next_read_s = max(now_s, next_read_s) + 1 / reads_fps if reads_fps else now_s
    return ages, offered, read


@pytest.mark.parametrize("reads_fps", [5, 10, 15, 20, 29])
def test_slow_viewer_stays_close_to_the_present(reads_fps: float) -> None:
    ages, _, read = watch(reads_fps)
    assert max(ages) < max(1.0, 0.1 + 9 / reads_fps)
    assert read >= 0.9 * 20 * reads_fps, "it must get what it can read"


@settings(max_examples=20, deadline=None)
@given(st.floats(0.0005, 0.9))
def test_fast_viewer_loses_nothing_whatever_the_round_trip(way_s: float) -> None:
    _, offered, read = watch(1000, way_s, seconds=8)
    assert offered - read <= way_s * FPS + 1, "only what is still on its way"


def test_pings_are_few_while_a_viewer_keeps_up() -> None:
    pacing = ViewerPacing()
    pings = [
        ping for number in range(300) if (ping := pacing.sent(number / FPS)) and pacing.answered(ping, number / FPS)
    ]
    assert 9 <= len(pings) <= 20, "10 in the first second, one in each other"


def test_answers_to_foreign_pings_are_ignored() -> None:
    pacing = ViewerPacing()
    ping = pacing.sent(0.0)
    assert ping is not None
    assert not pacing.answered(b"", 0.1)
    assert not pacing.answered(b"12345678", 0.1)
    assert not pacing.answered(b"pace" + bytes(4), 0.1)
    assert pacing.answered(ping, 0.1)
    assert not pacing.answered(ping, 0.1)
    again = pacing.sent(2.0)
    assert again is not None
    assert pacing.may_send(2.15)
    assert (pacing.may_send(2.3), pacing.waiting_s(5.0)) == (False, 3.0)
    assert pacing.answered(again, 5.0)
    assert (pacing.may_send(6.0), pacing.waiting_s(6.0)) == (True, 0.0)


def test_a_viewer_that_never_answers_is_limited_by_its_socket_alone() -> None:
    pacing = ViewerPacing()
    pings = [pacing.sent(number / FPS) for number in range(300)]
    assert pings[0] is not None
    assert pings[1:] == [None] * 299
    assert pacing.may_send(30.0)
    assert pacing.waiting_s(30.0) == 0.0


def test_between_the_pings_of_a_viewer_that_keeps_up_nothing_is_checked() -> None:
    pacing = ViewerPacing()
    ping = pacing.sent(0.0)
    assert ping is not None
    assert pacing.quiet_until_s < 0
    assert pacing.answered(ping, 0.01)
    assert pacing.quiet_until_s < 0, "a new viewer is watched closely"
    ping = pacing.sent(2.0)
    assert ping is not None
    assert pacing.quiet_until_s < 0, "its answer is awaited"
    assert pacing.answered(ping, 2.01)
    assert 2.5 < pacing.quiet_until_s <= 3.0
    pacing.paused()
    assert pacing.quiet_until_s < 0, "the socket was full"
