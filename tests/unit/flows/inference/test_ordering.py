"""Results leave in each stream's own order, whatever order they finish in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.flows.inference.ordering import StreamOrder


def test_a_result_waits_for_its_predecessor_of_the_same_stream_only() -> None:
    order: StreamOrder[str] = StreamOrder()
    a1, b1, a2 = order.take_place("a"), order.take_place("b"), order.take_place("a")
    assert order.finish(a2, "a2") == []
    assert order.finish(b1, "b1") == ["b1"]
    assert order.finish(a1, "a1") == ["a1", "a2"]
    assert len(order) == 0


def test_a_frame_without_a_result_lets_the_others_go() -> None:
    order: StreamOrder[str] = StreamOrder()
    first, second = order.take_place("a"), order.take_place("a")
    assert order.finish(second, "second") == []
    assert order.finish(first, None) == ["second"]


@given(streams=st.lists(st.sampled_from("abc"), max_size=40), data=st.data())
def test_every_result_leaves_once_and_in_order(streams: list[str], data: st.DataObject) -> None:
    order: StreamOrder[tuple[str, int]] = StreamOrder()
    places = [(order.take_place(stream), (stream, index)) for index, stream in enumerate(streams)]
    left: list[tuple[str, int]] = []
    for place, result in data.draw(st.permutations(places)):
        left += order.finish(place, result)
    assert sorted(left) == sorted(result for _, result in places)
    for stream in "abc":
        own = [index for name, index in left if name == stream]
        assert own == sorted(own)
    assert len(order) == 0
