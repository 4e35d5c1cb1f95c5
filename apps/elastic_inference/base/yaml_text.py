"""Reads YAML that people write: the one place for it. Pure.

A key given twice is an error, since PyYAML would silently use the last value. Errors name the line
and show no value: a password that is not in quotes may look like an alias, a tag or a key.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.domain.fields import shown_key

# Where PyYAML has it, libyaml's parser, which is about ten times as fast.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Base: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_MERGE, _VALUE = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"
# What error messages quote: some quote a part of the text, those of the parsers mostly a character such as '-'.
_QUOTED_TEXT, _QUOTED_SIGNS = re.compile(r"(['\"]).*\1", re.DOTALL), re.compile(r"(['\"])[^'\"]{5,}\1")


class YamlTextError(ElasticInferenceError):
    """The text can't be read. The message names the line, where there is one, and shows no value."""


@dataclass(frozen=True, slots=True)
class YamlLimits:
    """How large a document may be, and whether it may have aliases and merges (`<<`)."""

    depth: int
    nodes: int
    aliases: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """The value of a text, and the node with the position of each part. Both are None for an empty text."""

    value: Any
    root: Any = None


class _SafeLoader(_Safe):  # type: ignore[misc]
    """YAML's own types, and no others."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Like PyYAML's, but names the line of an impossible value, such as a date that does not exist."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, OverflowError, AttributeError, LookupError):
            raise YamlTextError(f"{line_of(node)}expected another value: a text needs quotes here") from None


def read(content: bytes | str, limits: YamlLimits) -> Document:
    """A text with one document. Raises YamlTextError."""
    return _single(content, limits, _SafeLoader)


def read_texts(content: bytes | str, limits: YamlLimits) -> Any:
    """Like `read`, but only with mappings, lists and texts: `on`, `no` and 1 stay as written."""
    return _single(content, limits, _Base).value


def read_all(content: bytes | str, limits: YamlLimits) -> list[Document]:
    """A text with any number of documents. Raises YamlTextError."""
    return _read(content, limits, _SafeLoader)


def line_of(node: Any) -> str:
    """The beginning of an error about a node: `line 7: `."""
    return _line(node.start_mark)


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}: " if mark is not None else ""


def _single(content: bytes | str, limits: YamlLimits, kind: Any) -> Document:
    documents = _read(content, limits, kind)
    if len(documents) > 1:
        raise YamlTextError(f"{line_of(documents[1].root)}expected a single document")
    return documents[0] if documents else Document(None)


def _read(content: bytes | str, limits: YamlLimits, kind: Any) -> list[Document]:
    try:
        text = content if isinstance(content, str) else content.decode()
        _check_size(text, limits)
        loader = kind(text)
        try:
            documents = []
            while loader.check_node():
                root = loader.get_node()
                _check_keys(loader, root, limits)
                documents.append(Document(loader.construct_document(root), root))
            return documents
        finally:
            loader.dispose()
    except UnicodeDecodeError:
        raise YamlTextError("expected a text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        raise YamlTextError(f"{_line(error.problem_mark or error.context_mark)}{_problem(error)}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError):
        raise YamlTextError("expected YAML") from None


def _problem(error: yaml.MarkedYAMLError) -> str:
    """The reason without the parts of the text that it quotes."""
    quotes_text = isinstance(error, (ComposerError, ConstructorError))
    quoted = _QUOTED_TEXT if quotes_text else _QUOTED_SIGNS
    words = quoted.sub("…", str(error.problem or error.context))[:200]
    if quotes_text and " tag " in words:
        return "expected no YAML tag: a text that begins with ! needs quotes"
    return f"expected YAML ({words})"


def _check_size(text: str, limits: YamlLimits) -> None:
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_Safe)):
        if isinstance(event, yaml.AliasEvent) and not limits.aliases:
            raise YamlTextError(
                f"{_line(event.start_mark)}expected no YAML alias: a text that begins with * needs quotes"
            )
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > limits.depth or nodes > limits.nodes:
            raise YamlTextError(f"{_line(event.start_mark)}expected fewer or flatter entries")


def _check_keys(loader: Any, root: Any, limits: YamlLimits) -> None:
    """Checks each mapping before the loader merges others into it, which would hide duplicate keys."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            _check_mapping(loader, node, limits)
            parts = [value for _, value in node.value]
        else:
            parts = node.value if isinstance(node, yaml.SequenceNode) else []
        new = [part for part in parts if id(part) not in seen]
        seen.update(map(id, new))
        waiting += new


def _check_mapping(loader: Any, node: Any, limits: YamlLimits) -> None:
    first: dict[Hashable, Any] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise YamlTextError(f"{line_of(key)}expected a text as the key")
        if key.tag == _MERGE and not limits.aliases:
            raise YamlTextError(f"{line_of(key)}expected no YAML merge (<<)")
        # What PyYAML makes of these two is no value.
        made = key.value if key.tag in (_MERGE, _VALUE) else loader.construct_object(key, deep=True)
        if made in first:
            again = first[made].start_mark.line + 1
            raise YamlTextError(
                f"{line_of(key)}{shown_key(key.value)}: expected each key once, but line {again} has it too"
            )
        first[made] = key
