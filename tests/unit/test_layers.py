"""Dependencies run one way: commands, flows, adapters, base, domain. Nothing imports upwards or acts at import."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "apps" / "elastic_inference"

# From the ground up: each layer is a folder, and may import itself and those below.
LAYERS = ("domain", "base", "adapters", "flows", "commands")
DOMAIN_LIBRARIES = {"msgpack", "numpy", "pydantic", "pydantic_core"}
# One library, one place: code elsewhere goes through that place.
HOMES = {
    "hiredis": {"adapters.redis_pipeline", "flows.relay"},
    "openvino": {"flows.inference", "adapters.catalogue"},
    "tornado": {"flows.gateway", "commands.status"},
    "websockets": {"flows.relay"},
    "h2": {"adapters.grpc_server"},
    "lightkube": {"adapters.camera_resource"},
    "httpx2": {"adapters.camera_resource"},
    "msgpack": {"domain.frame_message", "domain.flat_map", "domain.events"},
    "av": {"adapters.source"},
    "cv2": {"flows.inference"},
    "paho": {"adapters.sinks"},
    "confluent_kafka": {"adapters.sinks"},
    "PIL": {"adapters.drawing"},
    "simplejpeg": {"adapters.source", "flows.inference", "adapters.drawing"},
    # The second and third only write it.
    "yaml": {"base.yaml_text", "adapters.camera_registry", "commands.manifests"},
}


# A flow that runs in the process of another one.
HOSTED = {("flows.events", "flows.deliver")}


def layer(path: Path) -> str:
    """The folder below the package's root that a file belongs to; the package's own `__init__` is domain."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else "domain"


def unit(path: Path) -> str:
    """The module or folder in its layer, such as `adapters.frame_queue`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:2])


@functools.cache
def imports(path: Path) -> set[str]:
    """Every module that a file imports, those inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def inner(names: set[str]) -> set[tuple[str, ...]]:
    """The package's own modules among the imported ones, as parts: (layer, module or folder, …)."""
    parts = (tuple(name.split(".")[1:]) for name in names if name.startswith("elastic_inference."))
    return {each for each in parts if each and each[0] != "__version__"}


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_module_is_in_a_layer() -> None:
    flat = {path.name for path in PACKAGE.iterdir() if not path.name.startswith("__pycache__")}
    assert flat == {"__init__.py", "py.typed", *LAYERS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_imports_upwards(path: Path) -> None:
    level = LAYERS.index(layer(path))
    for target in inner(imports(path)):
        assert LAYERS.index(target[0]) <= level, f"{path} imports {'.'.join(target)}"
        if layer(path) == "flows" and target[0] == "flows" and len(target) > 1:
            other = ".".join(target[:2])
            assert other == unit(path) or (unit(path), other) in HOSTED, f"{path} imports another flow: {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_has_its_place(path: Path) -> None:
    outside = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"elastic_inference"}
    if layer(path) == "domain":
        assert outside <= DOMAIN_LIBRARIES
    for library, homes in HOMES.items():
        assert library not in outside or unit(path) in homes, f"{library} belongs to {', '.join(sorted(homes))}"


def test_settings_are_made_without_pydantic() -> None:
    """Its import was a quarter of most services' start (ADR 31)."""
    users = {unit(path) for path in FILES if "pydantic" in {name.split(".")[0] for name in imports(path)}}
    assert not [each for each in users if each.startswith("base.")]


def test_only_the_relay_draws() -> None:
    """The gateway's image has no Pillow and no numpy."""
    users = {unit(path) for path in FILES if ("adapters", "drawing") in inner(imports(path))}
    assert users == {"flows.relay"}


def test_nothing_happens_at_import() -> None:
    modules = (
        *("base.config", "base.lifecycle", "base.metrics"),
        *("adapters.frame_queue", "adapters.stream_broker", "adapters.redis_connection"),
    )
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
