"""Who catches every exception raises, or logs a traceback, which counts in `ei_unexpected_errors_total`."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "apps" / "elastic_inference"
# `RedisHealth.failed` and `QueueConsumer._report` log a traceback for what they don't expect. `WarmUp` keeps the error
# and raises it in the caller; a trial of a model counts frames that fail.
KEEPS = {"failed", "_report", "_failures", "failures", "add_failed"}


def is_counted(handler: ast.ExceptHandler) -> bool:
    """Whether the handler raises, logs a traceback, or gives the error to something that does."""
    for node in ast.walk(handler):
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Attribute) and (node.attr == "exception" or node.attr in KEEPS):
            return True
        if isinstance(node, ast.Name) and node.id in KEEPS:
            return True
        if isinstance(node, ast.keyword) and node.arg == "exc_info":
            return True
    return False


def broad_handlers(source: str) -> list[ast.ExceptHandler]:
    """Every `except Exception`."""
    return [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id == "Exception"
    ]


def test_every_broad_except_counts_or_raises() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}:{node.lineno}": is_counted(node)
        for path in PACKAGE.rglob("*.py")
        if "except Exception" in (source := path.read_text())
        for node in broad_handlers(source)
    }
    assert len(found) > 20
    assert [place for place, counted in found.items() if not counted] == []


def test_a_handler_that_only_logs_a_line_is_found() -> None:
    for told in ("pass", "log.warning('a line')"):
        (handler,) = broad_handlers(f"try:\n    a()\nexcept Exception:\n    {told}\n")
        assert not is_counted(handler)
