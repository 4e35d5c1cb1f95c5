"""The default settings over simulated working days, and the sweep's verdict on worse ones."""

import re

import pytest
from tests.simulation.sweep import (
    IN_POLICIES,
    NOISY,
    OUT_POLICIES,
    SHIPPED,
    SHIPPED_SEEDS,
    Combination,
    combinations,
    judge,
    main,
    sweep,
    table,
)
from tests.support.manifests import PROJECT

from elastic_inference.commands.manifests.options import SETTINGS


@pytest.mark.parametrize(
    ("hours", "seeds", "keda"), [(10, range(1, 3), False), (1, SHIPPED_SEEDS, False), (1, SHIPPED_SEEDS, True)]
)
def test_the_shipped_settings_cause_no_reversals(hours: int, seeds: range, *, keda: bool) -> None:
    """The sweep itself runs ten hours with each of its twenty seeds, which takes half a minute."""
    verdict = judge(SHIPPED, hours * 3600, seeds, keda=keda)
    # With 12 % noise, twice what was measured, it may happen by chance.
    noisy = verdict.reversals.pop(NOISY)
    assert set(verdict.reversals.values()) == {0}
    assert noisy <= 2
    assert verdict.dropped_part < 0.05
    assert verdict.step_s < 60


def test_without_a_window_scale_ins_are_reversed() -> None:
    assert sum(judge(Combination(0.9, 0.0), 3600, seeds=(1,)).reversals.values()) > 0


def test_the_shipped_settings_are_those_of_the_manifests() -> None:
    assert (float(SETTINGS["RATIO_TARGET"]), float(SETTINGS["SCALE_DOWN_WINDOW_S"])) == SHIPPED[:2]
    up, _, down = (PROJECT / "kubernetes/parts/scale.j2").read_text().partition("scaleDown:")
    for text, policies in ((up, OUT_POLICIES[SHIPPED.out_policy]), (down, IN_POLICIES[SHIPPED.in_policy])):
        found = re.findall(r"type: (\w+), value: (\d+), periodSeconds: (\d+)", text)
        assert {(kind, int(value), float(period)) for kind, value, period in found} == {
            (each.kind, each.value, each.period_s) for each in policies
        }
        assert "selectPolicy: Max" in text
    assert f"stabilizationWindowSeconds: {SHIPPED.out_window_s:.0f}\n" in up


def test_the_sweep_varies_every_setting_and_marks_the_shipped_row() -> None:
    assert SHIPPED in combinations()
    for values in zip(*combinations(), strict=True):
        assert len(set(values)) > 1
    text = table(sweep(60))
    assert text.count("\n| **0.8**") == 1
    assert len(text.splitlines()) == len(combinations()) + 2


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "12", "x"])
def test_hours_outside_the_day_are_refused(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([f"--hours={hours}"])
    assert "expected hours above 0, at most 10" in capsys.readouterr().err
