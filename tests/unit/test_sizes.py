"""No file over 400 lines, documents included; no function over 60, in Python and Lua. ESLint checks the dashboard."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "apps", "container", "doc/examples", "kubernetes", "tests", "tools")
KINDS = {".py", ".lua", ".sh", ".j2", ".template", ".Dockerfile"}
FILES = {
    str(path.relative_to(PROJECT)): path
    for folder in FOLDERS
    for path in (PROJECT / folder).rglob("*")
    if path.suffix in KINDS and "node_modules" not in path.parts
}
GENERATED = {PROJECT / "doc" / "configuration.md", PROJECT / "doc" / "benchmarks" / "table.md"}


def test_no_file_is_over_400_lines() -> None:
    lines = {name: path.read_text().count("\n") for name, path in FILES.items()}
    assert len(lines) > 400
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_no_document_is_over_400_lines() -> None:
    documents = {*PROJECT.glob("*.md"), *PROJECT.glob("doc/**/*.md")} - GENERATED
    lines = {str(path.relative_to(PROJECT)): path.read_text().count("\n") for path in documents}
    assert len(lines) > 40
    assert {name: count for name, count in lines.items() if count > 400} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_is_over_60_lines(folder: str) -> None:
    lengths = {}
    for name, path in FILES.items():
        if name.startswith(f"{folder}/") and path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert node.end_lineno
                    lengths[f"{name}: {node.name}"] = node.end_lineno - node.lineno + 1
    assert {name: count for name, count in lengths.items() if count > 60} == {}


_LUA_TEXT = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|--.*")
_LUA_BLOCK = re.compile(r"\b(?:function\s*([\w.]*)|do|if|repeat|end|until)\b")


def _lua_lengths(text: str) -> dict[str, int]:
    """Lines of each function of a Lua script. The script's body counts only code, without the functions in it."""
    lengths, body = {}, 0
    blocks: list[tuple[str | None, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        code = _LUA_TEXT.sub("''", line).strip()
        within = any(name is not None for name, _ in blocks)
        for word in _LUA_BLOCK.finditer(code):
            if word[0] not in ("end", "until"):
                blocks.append((word[1], number))
                within = within or word[1] is not None
                continue
            name, first = blocks.pop()
            if name is not None:
                lengths[f"{name}, line {first}"] = number - first + 1
        body += code not in ("", "''") and not within
    assert not blocks, "a block without its end"
    return lengths | {"body": body}


def test_lua_functions_are_measured() -> None:
    text = "-- if\nlocal function a(b)\n  if b then return 'end' end\n\nend\nfor i = 1, 2 do\n  a(i) -- do\nend\n"
    assert _lua_lengths(text) == {"a, line 2": 4, "body": 3}


def test_no_lua_function_is_over_60_lines() -> None:
    lengths = {
        f"{name}: {function}": lines
        for name, path in FILES.items()
        if path.suffix == ".lua"
        for function, lines in _lua_lengths(path.read_text()).items()
    }
    assert len(lengths) > 50
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}
