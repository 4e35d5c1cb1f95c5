"""The fuzzers' targets: each accepts its own good inputs, and a few that follow from them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from tests.fuzz.targets import TARGETS
from tests.fuzz.text_targets import folder
from tests.fuzz.with_hypothesis import run_target


@pytest.fixture(autouse=True, scope="module")
def no_files_stay() -> Iterator[None]:
    yield
    shutil.rmtree(folder(), ignore_errors=True)
    folder.cache_clear()


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_runs(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds():
        target.run(seed)
    outcome = run_target(target, 25, 1)
    assert not outcome.find, outcome.find
    assert outcome.inputs >= 20
