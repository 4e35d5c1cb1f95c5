"""No file over 400 lines, no function over 60. ESLint checks the dashboard."""

from __future__ import annotations

import ast
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


def test_no_file_is_over_400_lines() -> None:
    lines = {name: path.read_text().count("\n") for name, path in FILES.items()}
    assert len(lines) > 500
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
