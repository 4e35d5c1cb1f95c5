"""What one fuzzer did with one target, and the table of all. The first finding ends its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Outcome:
    """`inputs` tried, and the first `find`: what happened and with which input; '' if nothing did."""

    fuzzer: str
    target: str
    inputs: int = 0
    find: str = ""
    skipped: str = ""

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.fuzzer,
            self.target,
            self.inputs + other.inputs,
            self.find or other.find,
            self.skipped or other.skipped,
        )


def table(outcomes: Sequence[Outcome]) -> str:
    """The inputs by target and fuzzer, and the exceptions found, as a Markdown table with totals."""
    fuzzers = list(dict.fromkeys(each.fuzzer for each in outcomes))
    lines = [f"| input | {' | '.join(fuzzers)} | exceptions |", "|---|" + "---:|" * (len(fuzzers) + 1)]
    targets = list(dict.fromkeys(each.target for each in outcomes))
    for name, wanted in [*((name, [name]) for name in targets), ("**all**", targets)]:
        own = [each for each in outcomes if each.target in wanted]
        counts = [sum(each.inputs for each in own if each.fuzzer == fuzzer) for fuzzer in fuzzers]
        finds = sum(1 for each in own if each.find)
        lines.append(f"| {name} | {' | '.join(f'{count:,}' if count else '' for count in counts)} | {finds} |")
    return "\n".join(lines)
