"""Dependencies run one way: entry points, flows, adapters, domain. Nothing imports upwards, nothing acts at import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "apps" / "elastic_inference"

DOMAIN = {"errors", "keys", "frame", "frame_message", "result"}
# What every layer may use: settings, logging and the like. It may use the domain.
BASE = {"config", "log", "backoff", "lifecycle", "metrics", "memory", "web_origin", "__init__"}
# Adapters: each wraps outside libraries. They may use base, domain and each other.
ADAPTERS = {"redis_link", "redis_connection", "frame_queue", "stream_broker", "source", "drawing", "catalogue", "acl"}
FLOWS = {"produce", "inference", "relay", "gateway"}
LAYERS = (DOMAIN, BASE, ADAPTERS, FLOWS)
DOMAIN_LIBRARIES = {"msgpack", "numpy"}
# One library, one place: whoever else needs it goes through that place.
HOMES = {
    "hiredis": {"redis_link", "relay"},
    "openvino": {"inference", "catalogue"},
    "tornado": {"gateway", "status"},
    "websockets": {"relay"},
    "msgpack": {"frame_message"},
    "cv2": {"source", "inference"},
    "PIL": {"drawing"},
    "simplejpeg": {"source", "inference", "drawing"},
}


def unit(path: Path) -> str:
    """The module or folder of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, those inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            names = [alias.name for alias in node.names] if node.module == "elastic_inference" else []
            found.update(f"{node.module}.{name}" for name in names)
            if not names:
                found.add(node.module)
    return found


def inner(names: set[str]) -> set[str]:
    """The package's own units among imported modules (`__version__` is the package itself)."""
    return {name.split(".")[1] for name in names if name.startswith("elastic_inference.") and "__version__" not in name}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_imports_upwards(path: Path) -> None:
    own = unit(path)
    level = next((index for index, layer in enumerate(LAYERS) if own in layer), None)
    if level is None:
        return  # an entry point or a tool: it may use everything
    allowed = set().union(*LAYERS[: level + 1]) if level < 3 else set().union(*LAYERS[:3]) | {own, "service"}
    if own == "config":
        allowed |= {"config_document"}
    assert inner(imports(path)) <= allowed | {own}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_has_its_place(path: Path) -> None:
    outside = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"elastic_inference"}
    if unit(path) in DOMAIN:
        assert outside <= DOMAIN_LIBRARIES
    for library, homes in HOMES.items():
        assert library not in outside or unit(path) in homes, f"{library} belongs to {', '.join(sorted(homes))}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_small(path: Path) -> None:
    # About 400 lines: a little over is fine, twice that is another module.
    assert len(path.read_text().splitlines()) <= 480


def test_nothing_happens_at_import() -> None:
    modules = ("config", "frame_queue", "stream_broker", "redis_connection", "lifecycle", "metrics")
    code = (
        "import os, threading, socket\n"
        "def refuse(*a, **k): raise SystemExit('a socket at import')\n"
        "before = set(os.environ)\n"
        "class Env(dict):\n"
        "    def get(self, key, *a):\n"
        "        if key.startswith(('QUEUE_', 'BROKER_', 'INFER_')): raise SystemExit('settings read at import')\n"
        "        return super().get(key, *a)\n"
        "    __getitem__ = get\n"
        "os.environ = Env(os.environ)\n"
        "socket.socket.connect = refuse\n"
        + "".join(f"import elastic_inference.{name}\n" for name in modules)
        + "assert threading.active_count() == 1, 'a thread at import'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
