"""What is lost with Redis: events of batches that some sink has not confirmed."""

from __future__ import annotations

from elastic_inference.flows.events.undelivered import MAX_BATCHES, Undelivered


def test_the_slowest_sink_decides_and_batches_count_as_a_whole() -> None:
    account = Undelivered()
    account.written((10, 2), 3, 3)
    account.written((20, 0), 2, 5)
    account.written((20, 0), 0, 5)
    account.confirmed([(20, 0), (10, 1)])
    assert account.count == 5
    account.confirmed([(20, 0), (10, 2)])
    assert account.count == 2
    assert account.lost() == 2
    assert account.lost() == 0


def test_without_a_sink_nothing_is_lost_and_what_the_outbox_no_longer_holds_neither() -> None:
    account = Undelivered()
    account.written((10, 0), 3, 3)
    account.confirmed([])
    assert account.count == 0
    account.written((11, 0), 4, 7)
    account.written((12, 0), 4, 5)
    assert account.count == 5
    account.confirmed([(11, 0)])
    assert account.count == 4


def test_many_batches_take_little_memory() -> None:
    account = Undelivered()
    for number in range(3 * MAX_BATCHES):
        account.written((number, 0), 1, 10_000)
    assert (len(account._batches), account.count) == (MAX_BATCHES, 3 * MAX_BATCHES)
    account.confirmed([(3 * MAX_BATCHES - 2, 0)])
    assert account.count == 1
