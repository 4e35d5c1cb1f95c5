"""Every logger is named after its module, so that a log line says where it comes from."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "apps" / "elastic_inference"
# Loggers of other packages, and the root, are set up here.
SET_UP = PACKAGE / "base" / "log.py"
# A library's logger may be silenced where the library is used.
SILENCED = {"adapters/source/container.py": ["'libav'"], "adapters/camera_resource/kubernetes_store.py": ["'httpx2'"]}


def loggers(path: Path) -> list[str]:
    """What a module gives `getLogger`, as source."""
    text = path.read_text()
    if "getLogger" not in text:
        return []
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    found = [call for call in calls if "getLogger" in (getattr(call.func, "attr", ""), getattr(call.func, "id", ""))]
    return [", ".join(ast.unparse(each) for each in call.args) for call in found]


def is_own_name(source: str) -> bool:
    """The module's name, or a name below it: a module may hand a library a logger of its own."""
    return source == "__name__" or source.startswith("f'{__name__}.")


def test_loggers_are_named_after_their_modules() -> None:
    paths = [path for path in PACKAGE.rglob("*.py") if path != SET_UP]
    named = {str(path.relative_to(PACKAGE)): names for path in paths if (names := loggers(path))}
    assert len(named) > 10
    others = {path: [each for each in names if not is_own_name(each)] for path, names in named.items()}
    assert {path: names for path, names in others.items() if names} == SILENCED
