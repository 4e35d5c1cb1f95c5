"""Runs targets with Hypothesis: inputs of the right form with wrong content; a finding is reduced to a small input."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.outcome import Outcome
from tests.fuzz.target import Target

NAME = "Hypothesis"


def run_target(target: Target, examples: int, number: int) -> Outcome:
    """Tries `examples` inputs that follow from the seed `number`: the same ones on every machine."""
    return run_check(target.name, target.strategy(), target.run, examples, number)


def run_check(
    name: str, inputs: st.SearchStrategy[Any], check: Callable[[Any], object], examples: int, number: int
) -> Outcome:
    """As `run_target`, for inputs of any type."""
    outcome = Outcome(NAME, name)

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(inputs)
    def each(value: Any) -> None:
        outcome.inputs += 1
        check(value)

    try:
        each()
    except Exception:  # noqa: BLE001  any exception is what is looked for
        outcome.find = traceback.format_exc(limit=-12)
    return outcome
