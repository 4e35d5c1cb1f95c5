"""The shipped settings over a simulated working day, and what the sweep says of worse ones."""

import math
import re

from tests.support.manifests import PROJECT

from elastic_inference.manifests.options import SETTINGS
from elastic_inference.planning.sweep import POLICIES, SHIPPED, judge, table


def test_the_shipped_settings_take_nothing_back_in_ten_hours() -> None:
    verdict = judge(*SHIPPED)
    assert verdict.taken_back == 0
    assert verdict.dropped_part < 0.01
    assert verdict.slowest_step_s < 60


def test_without_a_window_scale_ins_are_taken_back() -> None:
    assert judge(0.9, 0.0, "shipped", 3600).taken_back > 0


def test_the_shipped_settings_are_those_of_the_manifests() -> None:
    assert (float(SETTINGS["RATIO_TARGET"]), float(SETTINGS["SCALE_DOWN_WINDOW_S"])) == SHIPPED[:2]
    text = (PROJECT / "kubernetes/parts/scale-behaviour.part").read_text().partition("scaleDown:")[0]
    policies = {
        (kind, int(value), float(period))
        for kind, value, period in re.findall(r"type: (\w+), value: (\d+), periodSeconds: (\d+)", text)
    }
    assert policies == {(each.kind, each.value, each.period_s) for each in POLICIES[SHIPPED[2]]}


def test_the_table_marks_the_shipped_row() -> None:
    verdict = judge(*SHIPPED, 600)
    assert math.isfinite(verdict.surplus)
    assert "**0.8**" in table([verdict])
