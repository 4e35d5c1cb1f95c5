"""The bars of the ratio benchmark, and its table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.bench.ratio import Record, table
from tests.support.document import replace_between

READING = Record(0.5, "steady", 0.5, 50, 50, 100, true=0.5, ratio=0.5, lowest=0.4, highest=0.6)


@pytest.mark.parametrize(
    ("asked", "true", "ratio", "missed"),
    [
        (0.5, 0.5, 0.59, False),
        (0.5, 0.5, 0.61, True),
        (0.25, 0.25, 0.14, True),
        (0.75, 0.75, float("nan"), True),
        (3.0, 3.0, 2.75, False),
        (3.0, 3.0, 3.35, True),
        (1.5, 1.5, 1.34, True),
    ],
)
def test_a_tenth_below_capacity_and_a_tenth_of_the_demand_above(
    asked: float, true: float, ratio: float, missed: bool
) -> None:
    assert replace(READING, asked=asked, true=true, ratio=ratio).missed is missed


def test_the_table_is_written_between_the_marks() -> None:
    records = [READING, replace(READING, ratio=0.7), replace(READING, quota=None, arrivals="random")]
    text = replace_between("before\n<!-- ratio -->\nold\n<!-- /ratio -->\nafter\n", "ratio", table(records))
    assert text.startswith("before\n<!-- ratio -->\n| quota |")
    assert "| 0.5 | steady | 0.50 → 0.50, **0.50 → 0.70** |\n| none | random | 0.50 → 0.50 |\n<!-- /ratio -->" in text
    assert text.endswith("<!-- /ratio -->\nafter\n")
    with pytest.raises(ValueError, match="ratio"):
        replace_between("nothing", "ratio", table(records))
