"""Who catches every exception says so in the log, or raises: nothing is lost in silence."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "apps" / "elastic_inference"
LOGS = {"critical", "error", "exception", "warning"}
# `RedisHealth.failed` logs, and marks the part as degraded. `WarmUp` keeps the error and raises it in the caller.
KEEPS = {"failed", "_failures"}


def is_told(handler: ast.ExceptHandler) -> bool:
    """Whether the handler raises, logs, or gives the error to something that does."""
    for node in ast.walk(handler):
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Attribute) and (node.attr in LOGS or node.attr in KEEPS):
            return True
    return False


def test_every_broad_except_logs_or_raises() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}:{node.lineno}": is_told(node)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id == "Exception"
    }
    assert len(found) > 20
    assert [place for place, told in found.items() if not told] == []


def test_a_handler_that_says_nothing_is_found() -> None:
    (tried,) = ast.parse("try:\n    a()\nexcept Exception:\n    pass\n").body
    assert isinstance(tried, ast.Try)
    assert not is_told(tried.handlers[0])
