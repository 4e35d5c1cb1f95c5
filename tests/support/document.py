"""Parts of a document that are made from what was measured."""

from __future__ import annotations


def replace_between(text: str, name: str, new: str) -> str:
    """The text with `new` between its marks `<!-- name -->` and `<!-- /name -->`. Raises ValueError without them."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"the document has no {begin.strip()} … {end}")
    return f"{before}{begin}{new}{end}{after}"
