"""Results leave in the order of their stream, whatever order they finish in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.flows.inference.ordering import StreamOrder


def test_a_result_waits_for_its_predecessor_of_the_same_stream_only() -> None:
    order: StreamOrder[str] = StreamOrder()
    a1, b1, a2 = order.reserve("a"), order.reserve("b"), order.reserve("a")
    assert order.finish(a2, "a2") == []
    assert order.finish(b1, "b1") == ["b1"]
    assert order.finish(a1, "a1") == ["a1", "a2"]
    assert len(order) == 0


def test_a_frame_without_a_result_does_not_hold_back_the_others() -> None:
    order: StreamOrder[str] = StreamOrder()
    first, second = order.reserve("a"), order.reserve("a")
    assert order.finish(second, "second") == []
    assert order.finish(first, None) == ["second"]


@given(streams=st.lists(st.sampled_from("abc"), max_size=40), data=st.data())
def test_every_result_leaves_once_and_in_order(streams: list[str], data: st.DataObject) -> None:
    order: StreamOrder[tuple[str, int]] = StreamOrder()
    slots = [(order.reserve(stream), (stream, index)) for index, stream in enumerate(streams)]
    left: list[tuple[str, int]] = []
    for slot, result in data.draw(st.permutations(slots)):
        left += order.finish(slot, result)
    assert sorted(left) == sorted(result for _, result in slots)
    for stream in "abc":
        own = [index for name, index in left if name == stream]
        assert own == sorted(own)
    assert len(order) == 0
