"""The slot between reader and pusher."""

from __future__ import annotations

import threading
import time

from elastic_inference.flows.produce.newest_slot import NewestSlot


def test_only_the_newest_is_kept_and_the_loss_is_reported() -> None:
    slot: NewestSlot[int] = NewestSlot()
    assert [slot.put(number) for number in range(3)] == [False, True, True]
    assert slot.take(0) == 2
    assert slot.take(0) is None
    assert slot.put(3) is False


def test_a_waiting_take_wakes_for_an_item_and_for_the_end() -> None:
    slot: NewestSlot[str] = NewestSlot()
    found: list[str | None] = []

    def take_twice() -> None:
        found.extend(slot.take(30) for _ in range(2))

    taker = threading.Thread(target=take_twice)
    began = time.monotonic()
    taker.start()
    slot.put("frame")
    while not found and time.monotonic() - began < 10:
        time.sleep(0.001)
    slot.close()
    taker.join(10)
    assert found == ["frame", None]
    assert time.monotonic() - began < 10
