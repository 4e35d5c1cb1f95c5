"""Looks for known vulnerabilities of the locked packages: those of container/locks and of the dashboard.

Usage: audit.py [LOCK...]       `make lint` runs it. Exit code 1 if there is one that is not accepted.

A source that does not answer is skipped with a message, so that lint works without a network. Sources: api.osv.dev, or
the OSV server of AUDIT_OSV_URL, and the registry that npm is set up for. A line in accepted-advisories.txt, beside this
file, accepts an advisory: its id, and the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
OSV_URL = os.environ.get("AUDIT_OSV_URL", "https://api.osv.dev/v1/query")
PROBE_S = 5
LIMIT_S = 120

Finding = tuple[str, str]


class SkippedError(Exception):
    """A source does not answer; the message says why."""


def main(locks: Sequence[str]) -> int:
    """Audits both; returns the exit code."""
    accepted = read_accepted()
    found = []
    for what, audit in (("Python", lambda: audit_python(locks)), ("npm", audit_npm)):
        try:
            count, findings = audit()
        except SkippedError as why:
            print(f"skipped: the audit of {what} packages ({why})")
            continue
        open_findings = [text for names, text in findings if not accepted & set(names.split())]
        found += open_findings
        if not open_findings:
            print(f"audit: {count} {what} packages, no known vulnerability that is not accepted")
    for text in found:
        print(f"audit: {text}", file=sys.stderr)
    return 1 if found else 0


def read_accepted() -> set[str]:
    """The ids of accepted advisories."""
    lines = (HERE / "accepted-advisories.txt").read_text().splitlines()
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}


def audit_python(locks: Sequence[str]) -> tuple[int, list[Finding]]:
    """How many packages the locks hold, and the known vulnerabilities. Raises SkippedError."""
    probe()
    files = locks or sorted(map(str, (PROJECT / "container" / "locks").glob("*.txt")))
    command = [
        *(sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--osv-url", OSV_URL),
        *("--disable-pip", "--progress-spinner", "off", "--desc", "off", "--format", "json"),
        *(part for file in files for part in ("-r", file)),
    ]
    document = run(command, PROJECT, "dependencies")
    packages: list[Any] = document["dependencies"]
    return len(packages), list(python_findings(packages))


def python_findings(packages: Sequence[Any]) -> Iterator[Finding]:
    """(ids, text) of each vulnerability in pip-audit's document."""
    for each in packages:
        if reason := each.get("skip_reason"):
            yield "", f"{each['name']} was not audited: {reason}"
        for one in each.get("vulns", ()):
            fixed = f", fixed in {', '.join(one['fix_versions'])}" if one["fix_versions"] else ""
            yield " ".join([one["id"], *one["aliases"]]), f"{each['name']} {each['version']}: {one['id']}{fixed}"


def probe() -> None:
    """Raises SkippedError unless the OSV server answers as such: pip-audit ends with a traceback then."""
    question = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "26.0"}
    request = urllib.request.Request(  # noqa: S310  the address is the developer's own
        OSV_URL, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PROBE_S) as answer:  # noqa: S310
            if isinstance(json.load(answer), dict):
                return
        why = "it is not an OSV server"
    except urllib.error.HTTPError as error:
        why = f"it says {error.code}"
    except (OSError, ValueError) as error:
        why = str(getattr(error, "reason", error))
    raise SkippedError(f"{urlsplit(OSV_URL).netloc} does not answer: {why}")


def audit_npm() -> tuple[int, list[Finding]]:
    """As `audit_python`, for the dashboard's packages."""
    if shutil.which("npm") is None:
        raise SkippedError("npm is missing")
    command = ["npm", "audit", "--json", "--fetch-retries=0", f"--fetch-timeout={PROBE_S * 1000}"]
    document = run(command, PROJECT / "spa", "vulnerabilities")
    return document["metadata"]["dependencies"]["total"], list(npm_findings(document["vulnerabilities"]))


def npm_findings(packages: dict[str, Any]) -> Iterator[Finding]:
    """(ids, text) of each vulnerability in npm's document, without what merely depends on one."""
    for name, each in packages.items():
        for one in each["via"]:
            if isinstance(one, dict):
                advisory = one["url"].rpartition("/")[2]
                yield advisory, f"{name} {each['range']}: {advisory} ({one['severity']}: {one['title']})"


def run(command: Sequence[str], folder: Path, expected: str) -> Any:
    """The JSON document of a command, whose exit code says only whether there are findings. Raises SkippedError."""
    try:
        done = subprocess.run(  # noqa: S603  our own commands
            command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        document = json.loads(done.stdout or "null")
    except subprocess.TimeoutExpired:
        raise SkippedError(f"no answer within {LIMIT_S} s") from None
    except ValueError:
        document = None
    if not isinstance(document, dict) or expected not in document:
        said = str(document.get("message", "")) if isinstance(document, dict) else ""
        lines = [line for line in (said or done.stderr).splitlines() if line.strip()]
        raise SkippedError(lines[-1].strip()[:200] if lines else "no answer")
    return document


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
