"""Runs every fuzzer and prints how many inputs each tried and what it found: `make test-fuzz`.

Without --minutes, it tries a fixed number of inputs from a fixed seed, however long that takes: what it finds, it finds
again in the same code. Code that has changed leads atheris to other inputs. With --minutes, inputs follow from a new
seed until the time is up; --seed gives another one to either form. The exit code is 1 after an exception that a
function does not document.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.fuzz import (
    hostile_keys,
    hostile_pool,
    raw_requests,
    services,
    with_atheris,
    with_hypothesis,
    with_schemathesis,
)
from tests.fuzz.outcome import Outcome, table
from tests.fuzz.targets import TARGETS
from tests.fuzz.text_targets import folder

# Inputs of the short form.
EXAMPLES, HISTORIES, REQUESTS, OPERATION = 150, 40, 200, 5
RUNS = 3000
# In the long form, each part gets at least this much time.
SHORTEST_S = 3.0
FIXED_SEED = 20


def main() -> int:
    """The exit code: 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="make test-fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0, help="for how long, instead of the short form")
    parser.add_argument("--seed", type=int, help="of the inputs; a run prints its own")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    number = given.seed if given.seed is not None else (random.randrange(2**31) if given.minutes else FIXED_SEED)
    started = time.monotonic()
    try:
        outcomes = _run_all(given.minutes * 60, number)
    finally:
        shutil.rmtree(folder(), ignore_errors=True)
    for each in outcomes:
        if each.find:
            print(f"\n== {each.fuzzer}, {each.target}\n{each.find}\n")
    print(f"\n{table(outcomes)}\n\nseed {number}, {time.monotonic() - started:.0f} s")
    if os.environ.get("CI") and any(each.skipped for each in outcomes):
        print("a fuzzer was skipped, and CI must have it", file=sys.stderr)
        return 1
    return 1 if any(each.find for each in outcomes) else 0


def _run_all(limit_s: float, number: int) -> list[Outcome]:
    with _quiet_libjpeg():
        # The short form has a fixed number of inputs, the long one a share of the time.
        shares = {name: limit_s * share for name, share in (("hypothesis", 0.3), ("atheris", 0.5), ("http", 0.2))}
        outcomes = _with_hypothesis(shares["hypothesis"], number)
    outcomes += _with_atheris(shares["atheris"], number)
    return outcomes + _over_http(shares["http"], number)


def _with_hypothesis(limit_s: float, number: int) -> list[Outcome]:
    share_s = limit_s / (len(TARGETS) + 8)
    outcomes = []
    for target in TARGETS.values():
        outcomes.append(
            _until(share_s, number, lambda seed, each=target: with_hypothesis.run_target(each, EXAMPLES, seed))
        )
        _say(outcomes[-1])
    for histories in (hostile_keys.run_hostile_keys, hostile_pool.run_hostile_pool):
        outcomes.append(_until(4 * share_s, number, lambda seed, run=histories: run(HISTORIES, seed)))
        _say(outcomes[-1])
    return outcomes


def _with_atheris(limit_s: float, number: int) -> list[Outcome]:
    """Two at a time, each in a process of its own."""
    together = min(2, os.cpu_count() or 1)
    share_s = max(SHORTEST_S, limit_s * together / len(TARGETS))
    runs = -1 if limit_s else RUNS

    def one(name: str) -> Outcome:
        outcome = with_atheris.run_target(name, runs, share_s, number)
        _say(outcome)
        return outcome

    with ThreadPoolExecutor(together) as pool:
        return list(pool.map(one, TARGETS))


def _over_http(limit_s: float, number: int) -> list[Outcome]:
    outcomes = []
    for with_token in (False, True):
        with services.running(with_token=with_token) as running:
            outcomes.append(with_schemathesis.run_api(running, OPERATION, limit_s / 4, number))
            _say(outcomes[-1])
            for run in raw_requests.runs(running):
                outcomes.append(_until(limit_s / 8, number, lambda seed, run=run: run(REQUESTS, seed)))
                _say(outcomes[-1])
    return outcomes


def _until(limit_s: float, number: int, run: Callable[[int], Outcome]) -> Outcome:
    """Runs with one seed after another until the time has passed or something was found; at least once."""
    deadline = time.monotonic() + limit_s
    outcome = run(number)
    while not outcome.find and time.monotonic() < deadline:
        number += 1
        outcome += run(number)
    return outcome


@contextmanager
def _quiet_libjpeg() -> Iterator[None]:
    """libjpeg writes a line about each broken image, straight to the process's standard error."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _say(outcome: Outcome) -> None:
    what = "found an exception" if outcome.find else outcome.skipped or "ok"
    print(f"{outcome.fuzzer:<13} {outcome.target:<36} {outcome.inputs:>9,}  {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
