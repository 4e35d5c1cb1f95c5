"""The table on the terminal, the JSON file, and the plots of a run. Independent of the parts."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.plots import bars
from tests.bench.record import MISSED, Figure, LeftOut
from tests.support.document import markdown_table, replace_between


def line(figure: Figure) -> str:
    """One line of the table."""
    spread = f"±{figure.spread / 2:.3g}" if figure.spread is not None else ""
    return f"  {figure.name:66} {_number(figure.value):>9} {figure.unit:11} {spread:8} {figure.bar:10} {figure.verdict}"


def head() -> str:
    """The table's first line."""
    return f"  {'':66} {'median':>9} {'':11} {'spread':8} {'bar':10}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def markdown(figures: Sequence[Figure], left_out: Sequence[LeftOut]) -> str:
    """The whole table."""
    rows = []
    for each in figures:
        spread = "" if each.spread is None else f"{each.spread:.3g}"
        value = f"{_number(each.value)} {each.unit}".strip()
        rows.append((each.part, each.name, value, spread, each.bar, each.verdict))
    rows += [(each.part, f"left out: {each.reason}", "", "", "", "") for each in left_out]
    return markdown_table(("part", "what", "median", "spread (quartiles)", "bar", ""), rows)


def write(
    folder: Path, machine: dict[str, Any], figures: Sequence[Figure], left_out: Sequence[LeftOut], seconds: float
) -> None:
    """Writes `results.json`, `table.md` and a plot for each part into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine,
        "seconds": round(seconds),
        "figures": [each.as_json() for each in figures],
        "left_out": [{"part": each.part, "reason": each.reason} for each in left_out],
    }
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "table.md").write_text(markdown(figures, left_out))
    groups: dict[tuple[str, str], list[Figure]] = {}
    for each in figures:
        groups.setdefault((each.part, each.unit), []).append(each)
    numbers: dict[str, int] = {}
    for (part, unit), group in groups.items():
        numbers[part] = numbers.get(part, 0) + 1
        number = "" if numbers[part] == 1 else f"-{numbers[part]}"
        title = f"{part} ({unit})" if unit else f"{part} (ratio)"
        (folder / f"{part}{number}.svg").write_text(bars(title, group))


def merged(
    folder: Path,
    figures: list[Figure],
    left_out: list[LeftOut],
    machine: dict[str, Any],
    *,
    measured: Sequence[str],
    order: Sequence[str],
) -> tuple[list[Figure], list[LeftOut], dict[str, Any]]:
    """The last run's results, with the parts just `measured` replaced, in the table's `order`."""
    again = {(each.part, each.name) for each in figures}
    before = json.loads((folder / "results.json").read_text())
    kept = [
        Figure(**{key: value for key, value in each.items() if key != "verdict"})
        for each in before["figures"]
        if (each["part"], each["name"]) not in again
    ]
    missing = [LeftOut(**each) for each in before["left_out"] if each["part"] not in measured]
    loads = {part: {name: machine[name] for name in ("vectors", "load_before", "stolen_percent")} for part in measured}
    told = {**before["machine"], "measured_again": {**before["machine"].get("measured_again", {}), **loads}}
    by_part = sorted([*kept, *figures], key=lambda each: order.index(each.part))
    return by_part, [*missing, *left_out], told


def refresh(documents: Path, machine: dict[str, Any], cameras: str = "") -> None:
    """Puts the machine, and the tables of `cameras` if there are any, between marks of the documents in this folder."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    vectors = f" with {machine['vectors']}" if machine.get("vectors") else ""
    told = (
        f"{machine['when']}, {machine['cores']} cores of {machine['processor']}{vectors}, {machine['memory_gb']} GB, "
        f"Linux {machine['kernel']}, Python {machine['python']}, Valkey {machine['valkey']}, {packages}. "
        f"Load before {machine['load_before']}; {machine['stolen_percent']} % of the time was stolen by the host."
    )
    for part, other in machine.get("measured_again", {}).items():
        vectors = f" on a processor with {other['vectors']}" if other.get("vectors") else ""
        told += f" The part {part} was measured again alone{vectors}, load before {other['load_before']}."
    _write(documents / "benchmarks.md", "machine", textwrap.fill(told, 120))
    if cameras:
        _write(documents / "camera_benchmarks.md", "cameras", cameras)


def _write(document: Path, name: str, what: str) -> None:
    document.write_text(replace_between(document.read_text(), name, f"\n{what.strip()}\n\n"))


def missed(figures: Sequence[Figure]) -> list[Figure]:
    """Figures that miss their bars."""
    return [each for each in figures if each.verdict == MISSED]
