"""Which types are served when clients invent more than can be."""

from __future__ import annotations

from elastic_inference.adapters.frame_queue.type_turns import TURN_S, TypeTurns

MADE_UP = [f"a{number:03}" for number in range(100)]


def test_all_are_served_while_there_is_room() -> None:
    turns = TypeTurns()
    assert turns.choose(MADE_UP[:8], 8, 0.0) == set(MADE_UP[:8])


def test_types_known_longest_keep_half_of_the_places() -> None:
    turns = TypeTurns()
    turns.choose(["zz-1", "zz-2"], 8, 0.0)
    for turn in range(40):
        chosen = turns.choose([*MADE_UP, "zz-1", "zz-2"], 8, turn * TURN_S)
        assert len(chosen) == 8
        assert {"zz-1", "zz-2"} <= chosen


def test_a_new_type_gets_a_turn_in_time_and_keeps_it_for_as_long_as_a_turn_lasts() -> None:
    turns = TypeTurns()
    turns.choose(MADE_UP, 8, 0.0)
    names = [*MADE_UP, "zz-new"]
    chosen = [turns.choose(names, 8, half * TURN_S / 2) for half in range(2 * 28)]
    served = ["zz-new" in each for each in chosen]
    assert sum(served) == 2
    assert all(len(each) == 8 for each in chosen)
    first = served.index(True)
    assert served[first : first + 2] == [True, True]


def test_places_of_types_that_are_gone_are_given_away_at_once() -> None:
    turns = TypeTurns()
    chosen = turns.choose(MADE_UP, 8, 0.0)
    left = [name for name in MADE_UP if name not in chosen]
    assert len(turns.choose(left, 8, 1.0)) == 8
    assert turns.choose(left[:3], 0, 1.0) == set()
