"""Runs the scripts of `tools/` in tests: with an engine that records its call, and a web server at a port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.conftest import REPOSITORY

TOOLS = REPOSITORY / "tools"


def recording_engine(folder: Path) -> dict[str, str]:
    """An environment without this process's settings, whose `docker` records its call in `folder/call.json`."""
    engine = folder / "bin" / "docker"
    engine.parent.mkdir()
    call = str(folder / "call.json")
    engine.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"json.dump({{'argv': sys.argv[1:], 'environ': dict(os.environ)}}, open({call!r}, 'w'))\n"
    )
    engine.chmod(0o755)
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR") if key in os.environ}
    return {**kept, "PATH": f"{engine.parent}:{os.environ['PATH']}"}


@dataclass(frozen=True)
class EngineCall:
    """One call of the container engine by a script."""

    argv: list[str]
    environ: dict[str, str]

    def values(self, option: str) -> list[str]:
        """The value of each such option."""
        return [self.argv[at + 1] for at, word in enumerate(self.argv) if word == option]


def recorded_call(folder: Path) -> EngineCall:
    """The call that the engine of `recording_engine` wrote down."""
    return EngineCall(**json.loads((folder / "call.json").read_text()))


def run(script: str, *arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`tools/<script>` to its end."""
    return subprocess.run(
        [str(TOOLS / script), *arguments],
        env=environ,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


@contextmanager
def stopped_after(process: subprocess.Popen[str], limit_s: float, secret: str) -> Iterator[None]:
    """Asks a service to stop when the block ends; it must do so cleanly, and without `secret` in its messages."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=limit_s)
    assert process.returncode == 0, errors
    assert secret not in errors


@contextmanager
def web_server() -> Iterator[int]:
    """The port of a web server without pages."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
