"""container/build.sh in a copy of what it needs, with an engine that only records its calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.manifests import PROJECT

ENGINE = """#!/usr/bin/env bash
printf '%s\\n' "$(printf '%s\\x1f' "${0##*/}" "$@")" >>"$CALLS"
case "$1 ${2:-}" in
    "image inspect") [ -z "${ABSENT:-}" ] || exit 125; echo 237000000 ;;
    "inspect --type") [ -z "${ABSENT:-}" ] || exit 125; echo '{"Docker": {}}' ;; # buildah's has no size
    "images --format") echo "136 MB" ;;
    push*) [ -z "${REFUSE:-}" ] || { echo "Error: $REFUSE" >&2; exit 125; } ;;&
    push*|"manifest push")
        digest=sha256:$(printf '%064d' "${DIGEST:-7}")
        while [ $# -gt 1 ]; do [ "$1" != --digestfile ] || printf %s "$digest" >"$2"; shift; done
        echo "1.5: digest: $digest size: 1780" ;;
    buildx*)
        while [ $# -gt 1 ]; do
            [ "$1" != --metadata-file ] || printf '{\n "containerimage.digest": "sha256:%064d",\n}' 8 >"$2"
            shift
        done ;;
    build*) [ -z "${BREAK:-}" ] || { echo "STEP 7"; echo "Error: $BREAK" >&2; exit 125; } ;;
    create*) echo 0123abc ;;
    cp*) echo "{}" >"$3" ;;
    info*) [ -z "${DEAF:-}" ] || exit 1 ;;
esac
exit 0
"""
# Offline nothing is fetched but what the wheels hold, and without them nothing at all.
DOWNLOAD = """printf '%s\\x1f' "${0##*/}" "$@" >>"$CALLS"; echo >>"$CALLS"
while [ $# -gt 1 ]; do [ "$1" != -o ] || folder=$2; [ "$1" != --embedded ] || OFFLINE=$NO_WHEELS; shift; done
[ "${OFFLINE:-0}" = 0 ] || exit 1
case $0 in *models*) mkdir -p "$folder/face"; echo model >"$folder/face/face.xml" ;; esac
"""


class Builder:
    """A copy of the scripts with engines and download commands of its own."""

    def __init__(self, folder: Path, engines: tuple[str, ...]) -> None:
        self.project = folder / "project"
        self.calls_file = folder / "calls"
        self.bin = folder / "bin"
        self.bin.mkdir()
        shutil.copytree(PROJECT / "container", self.project / "container", ignore=shutil.ignore_patterns("save"))
        for path in ("apps/elastic_inference/__init__.py", "apps/elastic_inference/adapters/catalogue/catalogue.yaml"):
            (self.project / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / path, self.project / path)
        tools = self.project / "tools"
        tools.mkdir()
        for name in ("download-models.sh", "download-sample-videos.sh"):
            self.script(tools / name, DOWNLOAD)
        self.script(
            self.bin / "make",
            'printf "%s\\x1f" make "$@" >>"$CALLS"; echo >>"$CALLS"; [ -z "${BROKEN:-}" ] || exit 2; '
            "mkdir -p .venv/bin; touch .venv/.installed; cp tools/download-models.sh .venv/bin/ei-download-models",
        )
        for engine in engines:
            self.script(self.bin / engine, ENGINE.partition("\n")[2])
        for tool in (
            "bash",
            "env",
            "sed",
            "mkdir",
            "cp",
            "rm",
            "find",
            "sort",
            "grep",
            "sha384sum",
            "sha256sum",
            "cut",
            "date",
            "git",
            "tail",
            "tr",
            "dirname",
            "cat",
            "realpath",
            "touch",
        ):
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)

    def script(self, path: Path, body: str) -> None:
        """Writes a script."""
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """The script's run; only the tools of its own folder are found."""
        return subprocess.run(
            [str(self.project / "container" / "build.sh"), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": str(self.bin), "CALLS": str(self.calls_file), "HOME": os.environ.get("HOME", "/"), **environ},
        )

    def calls(self, *beginning: str) -> list[list[str]]:
        """The calls that begin with these words."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        found = [line.rstrip("\x1f").split("\x1f") for line in lines if line]
        return [call for call in found if call[: len(beginning)] == list(beginning)]
