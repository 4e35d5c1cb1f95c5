"""One login, or several together, cannot keep the others from what runs at once; who searches for long rests."""

from __future__ import annotations

import asyncio
import time

import pytest

from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway import login_places
from elastic_inference.flows.gateway.access import Access
from elastic_inference.flows.gateway.login_places import LONG_S, LoginPlaces, LoginQueues

ADMIN = Access("admin", Role.ADMIN, ("*",), "admin")
VIEWERS = [Access(f"wall {number}", Role.VIEWER, ("gate-*",), f"wall {number}") for number in range(8)]


def taken(places: LoginPlaces, access: Access) -> int:
    """How many places a login gets that takes as many as it can."""
    count = 0
    while places.take(access):
        count += 1
    return count


@pytest.mark.parametrize("viewers", [1, 2, 3, 5])
def test_viewers_together_leave_as_many_places_as_the_last_of_them_has(viewers: int) -> None:
    places = LoginPlaces(500)
    counts = [taken(places, each) for each in VIEWERS[:viewers]]
    assert counts[0] == 250
    left = 500 - sum(counts)
    assert left >= counts[-1] > 0
    assert taken(places, VIEWERS[-1]) >= left // 2 - 1, "a viewer that comes later"
    assert taken(places, ADMIN) == 500 - sum(counts) - places._by[VIEWERS[-1].fingerprint]


def test_places_that_come_back_go_to_whoever_has_few() -> None:
    places = LoginPlaces(8)
    assert [taken(places, each) for each in VIEWERS[:2]] == [4, 2]
    places.give_back(VIEWERS[0], 3)
    assert taken(places, VIEWERS[1]) == 1
    assert taken(places, VIEWERS[2]) == 2


async def test_a_login_rests_after_a_long_use_and_no_other_one_waits_for_it() -> None:
    queues = LoginQueues(4, rest=3.0)

    async def use(access: Access, for_s: float) -> float:
        began_s = time.monotonic()
        async with queues.place(access):
            waited_s = time.monotonic() - began_s
            await asyncio.sleep(for_s)
        return waited_s

    await use(VIEWERS[0], 10 * LONG_S)
    rests_until_s = queues._queues[VIEWERS[0].fingerprint].rests_until_s
    searching = asyncio.create_task(use(VIEWERS[0], 0.0))
    await asyncio.sleep(0)
    for other in (VIEWERS[1], ADMIN):
        assert await use(other, 0.0) < 25 * LONG_S
    assert await searching > 0
    assert time.monotonic() >= rests_until_s


async def test_short_uses_are_not_slowed_and_no_queue_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_places, "LONG_S", 60.0)
    queues = LoginQueues(4, rest=1000.0)
    for number in range(200):
        async with queues.place(Access("", Role.VIEWER, ("a",), str(number))):
            pass
    assert len(queues._queues) <= 2
