"""The small language of the manifest templates. Pure: text in, text out; knows no Kubernetes and no file system.

A template is YAML with `@NAME@` for values and directives in comments of their own lines:

    #@ for TYPE in TYPES          the lines up to the matching `#@ end`, once for each entry of a list
    #@ if NAME / #@ if not NAME   … only where NAME has a value (or has none)
    #@ include PART               the file PART of kubernetes/parts/, at this line's indentation
    #@ set NAME = value           a value for the rest of the enclosing block
    #@ end

A name that has no value is an error that says where, so that nothing half-filled is ever written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from elastic_inference.domain.errors import ElasticInferenceError

_DIRECTIVE = re.compile(r"^(?P<indent> *)#@ +(?P<word>\w+)(?: +(?P<rest>.*?))?\s*$")
_VALUE = re.compile(r"@([A-Z][A-Z0-9_]*)@")
Lists = Mapping[str, Sequence[Mapping[str, str]]]


class TemplateError(ElasticInferenceError):
    """A template that can't be rendered: names the file, the line and what is wrong."""


@dataclass
class _Node:
    """A block: its directive's words and what is inside; the root has no words."""

    word: str = ""
    rest: str = ""
    line: int = 0
    indent: str = ""
    children: list[_Node | tuple[int, str]] = field(default_factory=list)


def parse(text: str, name: str) -> _Node:
    """The tree of blocks of a template called `name`. Raises TemplateError."""
    root = _Node()
    stack = [root]
    for number, line in enumerate(text.splitlines(), 1):
        found = _DIRECTIVE.match(line)
        if found is None:
            stack[-1].children.append((number, line))
            continue
        word, rest = found["word"], found["rest"] or ""
        if word == "end":
            if len(stack) == 1:
                raise TemplateError(f"{name}:{number}: '#@ end' without a beginning")
            stack.pop()
            continue
        if word not in ("for", "if", "include", "set"):
            raise TemplateError(f"{name}:{number}: unknown directive '{word}': expected for, if, include, set or end")
        node = _Node(word, rest, number, found["indent"])
        stack[-1].children.append(node)
        if word in ("for", "if"):
            stack.append(node)
    if len(stack) > 1:
        raise TemplateError(f"{name}:{stack[-1].line}: '#@ {stack[-1].word}' has no '#@ end'")
    return root


def render(
    text: str,
    name: str,
    values: Mapping[str, str],
    lists: Lists,
    part: Callable[[str], str],
) -> str:
    """The template `text`, called `name` in errors, filled in.

    `lists` maps a list's name to its entries, each a mapping of values that hold inside the loop; `part` gives the
    text of an included file, or raises KeyError. Raises TemplateError.
    """
    lines = _render(parse(text, name), name, dict(values), lists, part)
    return "\n".join(lines) + "\n"


def loops(text: str, name: str, list_name: str) -> str:
    """The bodies of the template's outermost loops over `list_name`, as a template of their own; empty without one."""
    source = text.splitlines()
    kept: list[str] = []
    depth = 0
    for line in source:
        found = _DIRECTIVE.match(line)
        opens = found is not None and found["word"] in ("for", "if")
        wanted = found is not None and found["word"] == "for" and (found["rest"] or "").endswith(f" in {list_name}")
        if depth or wanted:
            kept.append(line)
            depth += 1 if opens else 0
            depth -= 1 if found is not None and found["word"] == "end" else 0
    parse(text, name)
    return "\n".join(kept) + "\n" if kept else ""


def _render(
    block: _Node,
    name: str,
    values: dict[str, str],
    lists: Lists,
    part: Callable[[str], str],
) -> Iterator[str]:
    values = dict(values)
    for child in block.children:
        if isinstance(child, tuple):
            yield _fill(child[1], name, child[0], values)
        elif child.word == "set":
            key, equals, value = child.rest.partition("=")
            if not equals:
                raise TemplateError(f"{name}:{child.line}: expected '#@ set NAME = value'")
            values[key.strip()] = _fill(value.strip(), name, child.line, values)
        elif child.word == "if":
            negated = child.rest.startswith("not ")
            key = child.rest.removeprefix("not ").strip()
            if key not in values:
                raise TemplateError(f"{name}:{child.line}: {key} is not a known name")
            if bool(values[key]) != negated:
                yield from _render(child, name, values, lists, part)
        elif child.word == "for":
            words = child.rest.split()
            if len(words) != 3 or words[1] != "in" or words[2] not in lists:
                raise TemplateError(f"{name}:{child.line}: expected '#@ for NAME in LIST', LIST one of {sorted(lists)}")
            for entry in lists[words[2]]:
                yield from _render(child, name, {**values, **entry}, lists, part)
        else:
            try:
                text = part(child.rest)
            except KeyError:
                raise TemplateError(f"{name}:{child.line}: there is no part '{child.rest}'") from None
            for line in _render(parse(text, child.rest), child.rest, values, lists, part):
                yield child.indent + line if line else line


def _fill(line: str, name: str, number: int, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise TemplateError(f"{name}:{number}: {found[0]} has no value")
        return values[found[1]]

    return _VALUE.sub(value, line)
