"""Keeps generated files with secrets out of git. Called by the generator; does nothing outside a git repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from elastic_inference.commands.manifests.names import short_path

_LIMIT_S = 10


def keep_from_git(file: Path) -> str:
    """Makes git ignore `file`, by a line in the `.gitignore` beside it; returns a message for the user, or ''."""
    folder = file.parent.resolve()
    if not any((each / ".git").exists() for each in (folder, *folder.parents)):
        return ""
    if _git(folder, "ls-files", "--error-unmatch", "--", file.name):
        return (
            f"warning: git tracks {short_path(file)}, which holds secrets: run git rm --cached on it, and make new "
            "passwords if it was pushed"
        )
    if _git(folder, "check-ignore", "--quiet", "--", file.name):
        return ""
    ignore = folder / ".gitignore"
    line = "/" + re.sub(r"([\\*?\[\] ])", r"\\\1", file.name)
    try:
        known = ignore.read_text() if ignore.exists() else ""
        if line in known.splitlines():
            return ""
        start = known if not known or known.endswith("\n") else f"{known}\n"
        ignore.write_text(f"{start}{line}\n")
    except (OSError, UnicodeDecodeError) as error:
        return (
            f"warning: keep {short_path(file)} out of git, it holds secrets: "
            f"{short_path(ignore)} can't be used ({error})"
        )
    return f"{short_path(ignore)} now names {file.name}, so that git leaves its secrets alone"


def _git(folder: Path, *arguments: str) -> bool:
    """Whether this git command succeeds; False if git is missing, or does not trust the repository's owner."""
    try:
        done = subprocess.run(  # noqa: S603  its arguments are ours, but for the file's name after `--`
            ["git", *arguments],  # noqa: S607
            cwd=folder,
            capture_output=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
