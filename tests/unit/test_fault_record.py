"""The table of faults: what counts as accounted for, what fails a run, and that the document shows the record."""

from __future__ import annotations

import json

import pytest
from tests.faults.record import Account, Allowance, Bar, Row, row_from_dict
from tests.faults.report import COLUMNS, DOCUMENT, RECORD, cells, document_part
from tests.faults.suite import FAULTS


@pytest.mark.parametrize(
    ("pushed", "inferred", "allowance", "uncounted", "unaccounted"),
    [
        (100, 90, Allowance(), 0, 0),
        (100, 88, Allowance(), 0, 2),
        (100, 88, Allowance(missing=3), 2, 0),
        (100, 85, Allowance(missing=3), 3, 2),
        (100, 91, Allowance(missing=3), 0, -1),
        (100, 91, Allowance(surplus=5), -1, 0),
    ],
)
def test_a_frame_has_a_count_or_a_reason(
    pushed: int, inferred: int, allowance: Allowance, uncounted: int, unaccounted: int
) -> None:
    account = Account(pushed=pushed, inferred=inferred, dropped=6, invalid=2, lost=1, waiting=1)
    row = Row("a group", "a fault", account=account, allowance=allowance)
    assert (row.uncounted(), row.unaccounted()) == (uncounted, unaccounted)


def test_an_account_counts_from_the_one_before() -> None:
    assert Account(pushed=9, inferred=7).since(Account(pushed=4, inferred=3)) == Account(pushed=5, inferred=4)


def test_a_bar_that_is_only_shown_does_not_fail_the_run() -> None:
    row = Row("a group", "a fault", bars=[Bar("memory as before", False, "pod-1", fails=False), Bar("back", True)])
    assert not row.fails()
    assert row.verdict() == "missed: memory as before: pod-1"
    row.bars.append(Bar("back", False, "never"))
    assert row.fails()


def test_a_row_survives_its_json() -> None:
    row = Row("a group", "a fault", 1.5, Account(pushed=3), Allowance(1, 0, ["why"]), bars=[Bar("back", True)])
    assert row_from_dict(json.loads(json.dumps(row.as_dict()))) == row
    assert len(cells(row)) == len(COLUMNS) == len(cells(Row("a group", "a fault", skipped="no root")))


def test_faults_have_distinct_names_and_the_document_shows_the_record() -> None:
    names = [(fault.group, fault.name) for fault in FAULTS]
    assert len(names) == len(set(names))
    record = json.loads(RECORD.read_text())
    assert document_part(record) in DOCUMENT.read_text()
    recorded = {(row["group"], row["name"]) for row in record["rows"]}
    assert recorded <= set(names), "the record has faults that no longer exist"
