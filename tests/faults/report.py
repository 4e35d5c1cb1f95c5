"""The table of faults as text, and as a part of doc/reliability.md: `python -m tests.faults.report`."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.record import Row, row_from_dict
from tests.support.document import markdown_table, replace_between
from tests.support.manifests import PROJECT

DOCUMENT = PROJECT / "doc" / "reliability.md"
RECORD = PROJECT / "doc" / "reliability" / "faults.json"
COLUMNS = (
    *("fault", "back after", "pushed", "inferred", "dropped", "refused", "invalid", "lost", "not counted"),
    *("unaccounted", "others' pause", "MB", "descriptors", "its own bars", "verdict"),
)


def cells(row: Row) -> tuple[str, ...]:
    """A row's cells, in the order of COLUMNS."""
    if row.skipped:
        return (row.name, *["–"] * (len(COLUMNS) - 2), row.verdict())
    account = row.account
    back = "never" if row.back_s is None else f"{max(row.back_s, 0):.1f} s"
    counts = (account.pushed, account.inferred, account.dropped, account.refused, account.invalid, account.lost)
    pause = "–" if row.pause_s is None else f"{row.pause_s:.1f} s"
    memory = f"{row.rss_mb[0]:.0f} → {row.rss_mb[1]:.0f}"
    files = f"{row.descriptors[0]} → {row.descriptors[1]}"
    own = "; ".join(bar.text() for bar in row.bars if bar.own) or "–"
    rest = (row.uncounted(), row.unaccounted(), pause, memory, files, own, row.verdict())
    return (row.name, back, *(str(each) for each in (*counts, *rest)))


def totals(rows: Sequence[Row]) -> str:
    """The sums of all rows, as a sentence."""
    tried = [row for row in rows if not row.skipped]
    passed = sum(not row.missed() for row in tried)
    pushed = sum(row.account.pushed for row in tried)
    open_ = sum(abs(row.unaccounted()) for row in tried)
    lost = sum(max(0, row.uncounted()) for row in tried)
    return (
        f"{len(tried)} faults tried, {passed} passed, {len(tried) - passed} missed a bar; {pushed} frames pushed, "
        f"{open_} unaccounted for, {lost} lost uncounted with a killed process, an emptied Redis or a cut-off reply."
    )


def document_part(document: Mapping[str, Any]) -> str:
    """The part of the document: machine, totals, a table per group."""
    rows = [row_from_dict(each) for each in document["rows"]]
    machine = document["machine"]
    sentence = (
        f"{machine['when']}, {machine['cores']} cores of {machine['processor']}, {machine['memory_gb']} GB, Linux "
        f"{machine['kernel']}, Python {machine['python']}, Valkey {machine['valkey']}; load before "
        f"{machine['load_before']}. {totals(rows)}"
    )
    text = [textwrap.fill(sentence, 118) + "\n"]
    for group in dict.fromkeys(row.group for row in rows):
        text.append(f"\n**{group[0].upper()}{group[1:]}**\n\n")
        text.append(markdown_table(COLUMNS, (cells(row) for row in rows if row.group == group)))
    return "".join(text)


def main() -> int:
    """Replaces the table in the document."""
    part = document_part(json.loads(RECORD.read_text()))
    DOCUMENT.write_text(replace_between(DOCUMENT.read_text(), "faults", "\n" + part + "\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
