"""Reads a YAML file that lists things by name: one key, and below it a list, such as `cameras.yaml`. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from elastic_inference.base.yaml_text import YamlLimits, YamlTextError, line_of, read

_MB = 1024 * 1024


class Named(Protocol):
    """An entry of the list."""

    @property
    def name(self) -> str:
        """Different from those of all other entries."""


_Entry = TypeVar("_Entry", bound=Named)


@dataclass(frozen=True, slots=True)
class ListForm:
    """The list's key, which is also what errors call its entries, and the limits of the file."""

    key: str
    max_entries: int
    max_bytes: int
    limits: YamlLimits


def read_named(content: bytes, form: ListForm, read_entry: Callable[[int, Any, Any], _Entry]) -> dict[str, _Entry]:
    """The entries by name. `read_entry` gets the number of an entry, from 1, its value and its node.

    Raises YamlTextError, and what `read_entry` raises.
    """
    if len(content) > form.max_bytes:
        size = f"{form.max_bytes // _MB} MB" if form.max_bytes >= _MB else f"{form.max_bytes // 1024} kB"
        raise YamlTextError(f"expected at most {size}")
    document = read(content, form.limits)
    expected = f"expected `{form.key}:` and below it a list of {form.key}"
    if document.value is None:
        raise YamlTextError(f"the file is empty: {expected}. To have none, write `{form.key}: []`")
    if not isinstance(document.value, dict) or set(document.value) != {form.key}:
        raise YamlTextError(expected)
    entries, nodes = document.value[form.key], document.root.value[0][1]
    if entries is None:
        # A file that was cut off, or a merge that went wrong, must not remove all.
        raise YamlTextError(f"{line_of(nodes)}{expected}. To have none, write `{form.key}: []`")
    if not isinstance(entries, list):
        raise YamlTextError(f"{line_of(nodes)}{expected}")
    if len(entries) > form.max_entries:
        raise YamlTextError(f"expected at most {form.max_entries} {form.key}")
    found: dict[str, _Entry] = {}
    for number, (value, node) in enumerate(zip(entries, nodes.value, strict=True), 1):
        entry = read_entry(number, value, node)
        if entry.name in found:
            raise YamlTextError(f"{line_of(node)}expected each name once: {entry.name} is there already")
        found[entry.name] = entry
    return found
