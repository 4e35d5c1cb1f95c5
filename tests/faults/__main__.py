"""`make test-faults`: faults against a loaded system, one after another; prints a table and records it."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.machine import describe
from tests.conftest import REPOSITORY
from tests.faults.places import PLACES, Place
from tests.faults.record import Row
from tests.faults.report import RECORD, cells, totals
from tests.faults.runner import Fault, run_fault
from tests.faults.suite import FAULTS


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if no bar that counts was missed, 1 otherwise."""
    options = _parse(arguments)
    chosen = [fault for fault in FAULTS if _is_chosen(fault, options)]
    if options.list or not chosen:
        for fault in FAULTS if options.list else ():
            print(f"{fault.group}: {fault.name}")
        print(f"{len(FAULTS)} faults, {len(chosen)} chosen")
        return 0 if chosen else 2
    # The cameras in this process log a lot about a Redis that is killed.
    logging.basicConfig(level=logging.CRITICAL + 1)
    machine, began = describe(), time.monotonic()
    rows: list[Row] = []
    try:
        for name, place in PLACES.items():
            rows += run_at(place, [fault for fault in chosen if fault.place == name])
    except KeyboardInterrupt:
        return 130
    order = {(fault.group, fault.name): number for number, fault in enumerate(FAULTS)}
    rows.sort(key=lambda row: order[row.group, row.name])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine, "minutes": round((time.monotonic() - began) / 60, 1)}
    options.out.write_text(json.dumps({**document, "rows": [row.as_dict() for row in rows]}, indent=1) + "\n")
    failed = [row for row in rows if row.fails()]
    print(totals(rows))
    for row in failed:
        print(f"FAILED {row.group}: {row.name}: {row.verdict()}")
    print(f"{document['minutes']} minutes; the figures are in {options.out}")
    return 1 if failed else 0


def run_at(place: Place, faults: Sequence[Fault]) -> list[Row]:
    """Runs the faults of one place and prints each when it has ended."""
    if not faults:
        return []
    if reason := place.missing():
        return [_show(Row(fault.group, fault.name, skipped=reason)) for fault in faults]
    rows = []
    print(f"-- {place.what}", flush=True)
    with place.site() as site:
        account = site.settle()
        for fault in faults:
            if fault.prepare is not None:
                fault.prepare(site)
        for fault in faults:
            row, account = run_fault(site, fault, account)
            _show(row)
            rows.append(row)
    return rows


def _show(row: Row) -> None:
    name, back, pushed, inferred, dropped, refused, invalid, lost, uncounted, open_, pause, *rest = cells(row)
    account = f"pushed {pushed} = inferred {inferred} + dropped {dropped} + invalid {invalid} + lost {lost}"
    left = f"not counted {uncounted}, unaccounted {open_}; refused {refused}; others pause {pause}"
    left += f"; MB {rest[0]}, files {rest[1]}"
    print(f"{row.group}: {name}: back {back}; {account}; {left}; {row.took_s:.0f} s: {row.verdict()}", flush=True)
    for note in (*(bar.text() for bar in row.bars if bar.own), *row.notes, *row.allowance.reasons):
        print(f"    {note}", flush=True)


def _is_chosen(fault: Fault, options: argparse.Namespace) -> bool:
    if options.short and not fault.short:
        return False
    text = f"{fault.group}: {fault.name}".lower()
    return not options.only or any(word.strip().lower() in text for word in options.only.split(","))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__)
    parser.add_argument(
        "--only", metavar="WORDS", help="faults whose group or name contains one of these words, separated by commas"
    )
    parser.add_argument("--short", action="store_true", help="those that `make test` runs")
    parser.add_argument("--list", action="store_true", help="list the faults")
    parser.add_argument(
        "--record", dest="out", action="store_const", const=RECORD, help="write the figures for doc/reliability.md"
    )
    parser.add_argument("--out", type=Path, help="write the figures to this file (build/faults.json)")
    parser.set_defaults(out=REPOSITORY / "build" / "faults.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
