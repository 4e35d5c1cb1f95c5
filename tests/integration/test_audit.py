"""tools/lib/audit.py with sources that know of a vulnerability, answer something else, or are unreachable."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.conftest import REPOSITORY, missing_tool
from tests.support.ports import free_port

AUDIT = REPOSITORY / "tools" / "lib" / "audit.py"
OSV_FINDING = {
    "id": "PYSEC-0000-1",
    "modified": "2026-01-01T00:00:00Z",
    "aliases": ["CVE-0000-1"],
    "summary": "made up",
    "affected": [
        {
            "package": {"name": "setuptools", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999"}]}],
        }
    ],
}
NPM_FINDING = {
    "id": 1,
    "url": "https://github.com/advisories/GHSA-made-up",
    "title": "made up",
    "severity": "low",
    "vulnerable_versions": "<9999",
    "cwe": [],
    "cvss": {"score": 1, "vectorString": None},
}


class Source:
    """A server that answers as api.osv.dev and as an npm registry do."""

    def __init__(self) -> None:
        self.osv: object = {}
        self.npm: object = {}
        self.status = 200
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                body = json.dumps(source.npm if "advisories" in self.path else source.osv).encode()
                self.send_response(source.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.send_error(404)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def source() -> Iterator[Source]:
    if shutil.which("npm") is None:
        missing_tool("npm")
    found = Source()
    yield found
    found.close()


def audit(port: int, script: Path = AUDIT) -> subprocess.CompletedProcess[str]:
    """One run for the smallest lock and the dashboard."""
    base = f"http://127.0.0.1:{port}"
    environ = {**os.environ, "AUDIT_OSV_URL": f"{base}/v1/query", "npm_config_registry": f"{base}/"}
    lock = str(REPOSITORY / "container" / "locks" / "build.txt")
    return subprocess.run(
        [sys.executable, str(script), lock], capture_output=True, text=True, timeout=120, check=False, env=environ
    )


def test_a_known_vulnerability_is_an_error_unless_it_is_accepted(source: Source, tmp_path: Path) -> None:
    source.osv, source.npm = {"vulns": [OSV_FINDING]}, {"vue": [NPM_FINDING]}
    done = audit(source.port)
    assert done.returncode == 1
    assert "audit: setuptools " in done.stderr
    assert "PYSEC-0000-1, fixed in 9999" in done.stderr
    assert "GHSA-made-up (low: made up)" in done.stderr
    script = tmp_path / "tools" / "lib" / "audit.py"
    script.parent.mkdir(parents=True)
    shutil.copy(AUDIT, script)
    (tmp_path / "spa").symlink_to(REPOSITORY / "spa")
    (script.parent / "accepted-advisories.txt").write_text("# why\nCVE-0000-1 not used\nGHSA-made-up not used\n")
    done = audit(source.port, script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "audit: 1 Python packages, no known vulnerability that is not accepted" in done.stdout
    assert "npm packages, no known vulnerability" in done.stdout


def test_a_source_that_answers_something_else_is_skipped_with_a_message(source: Source) -> None:
    source.status = 404  # a mirror of packages alone
    check_skipped(audit(source.port))


def test_a_source_that_is_unreachable_is_skipped_with_a_message() -> None:
    check_skipped(audit(free_port()))


def check_skipped(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped: the audit of Python packages (127.0.0.1:" in done.stdout
    assert "skipped: the audit of npm packages (" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
