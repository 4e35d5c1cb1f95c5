"""No line over 120 characters, in any file that somebody writes by hand."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import missing_tool

PROJECT = Path(__file__).resolve().parents[2]
LIMIT = 120
# One line for each change, so that two branches that add one merge without trouble.
ONE_LINE_EACH = "CHANGELOG.md"
GENERATED = {
    "doc/configuration.md",
    "spa/src/api/schema.d.ts",
    "tests/fuzz/requirements.txt",
    "tools/lib/variables.sh",
}
# Formats in which a line cannot be broken: JSON's strings, a Redis user, and locks and drawings that tools write.
SUFFIXES = {".json", ".lock", ".svg"}
FOLDERS = ("container/locks/", "doc/benchmarks/", "doc/elasticity/", "doc/reliability/")
REDIS_USER = re.compile(r"user \S+ on #")
# What a tool reads at the end of a line of Python counts for nothing, as in ruff.
PRAGMA = re.compile(r"\s+# (?:type: ignore|noqa)\b.*$")


def written_files() -> Iterator[tuple[str, str]]:
    """Name and text of each file of the repository that is written by hand."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        missing_tool("git, and a checkout")
    for name in filter(None, listed.split("\0")):
        path = PROJECT / name
        if (
            name in GENERATED
            or name == ONE_LINE_EACH
            or path.suffix in SUFFIXES
            or name.startswith(FOLDERS)
            or not path.is_file()
        ):
            continue
        try:
            yield name, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def is_table_row(name: str, line: str) -> bool:
    return name.endswith(".md") and line.lstrip().startswith("|")


def long_lines(name: str, text: str) -> list[str]:
    """The lines that are too long and could be broken: no row of a table, no user of Redis, no long address."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if len(PRAGMA.sub("", line)) <= LIMIT or is_table_row(name, line) or REDIS_USER.match(line):
            continue
        if re.search(r"https?://|\{zoo", line):
            continue
        found.append(f"{name}:{number}")
    return found


@pytest.mark.parametrize(
    ("name", "line", "too_long"),
    [
        ("a.sh", "echo " + "x" * 116, True),
        ("a.sh", "echo " + "x" * 115, False),
        ("a.md", "| " + "x " * 100, False),
        ("a.yaml", "| " + "x " * 100, True),
        ("a.py", "x" * 110 + "  # type: ignore[arg-type]", False),
        ("users.acl", "user camera on #{hash} " + "+get " * 40, False),
        ("a.md", "https://example.org/" + "x" * 120, False),
    ],
)
def test_long_lines_are_found(name: str, line: str, too_long: bool) -> None:
    assert bool(long_lines(name, line)) is too_long


def test_no_line_is_over_120_characters() -> None:
    files = dict(written_files())
    assert len(files) > 1000
    assert [line for name, text in files.items() for line in long_lines(name, text)] == []
