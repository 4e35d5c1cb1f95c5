"""Parts of a document that are generated from measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def replace_between(text: str, name: str, new: str) -> str:
    """The text with `new` between the marks `<!-- name -->` and `<!-- /name -->`. Raises ValueError without them."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"the document has no {begin.strip()} … {end}")
    return f"{before}{begin}{new}{end}{after}"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    head, rule, *body = ("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
    return "\n".join((head, rule.replace(" ", ""), *body)) + "\n"
