"""The dashboard's files: looked up safely, and kept in memory together with their compressed form.

Called by the page handler. Uses no HTTP library. The whole dashboard has a few hundred kB: each file is read once,
and again when it has changed on disk.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

INDEX = "index.html"
# A path with one of these suffixes is a file: if it does not exist, the answer is 404 instead of the page.
FILE_SUFFIXES = frozenset(
    (
        *(".js", ".mjs", ".css", ".map", ".json", ".html", ".txt", ".xml", ".webmanifest", ".wasm"),
        *(".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".ico", ".woff", ".woff2", ".ttf", ".php", ".env"),
    )
)
# Never routes of the page: metrics and health have a port of their own, and a probe of this port must fail.
RESERVED = frozenset(("api", "metrics", "healthz", "readyz"))
_COMPRESSIBLE = ("text/", "application/json", "application/javascript", "application/wasm", "image/svg+xml")
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".html": "text/html"}
_TYPES |= {".svg": "image/svg+xml", ".json": "application/json", ".woff2": "font/woff2", ".map": "application/json"}
_TYPES |= {".webmanifest": "application/manifest+json", ".ico": "image/x-icon", ".wasm": "application/wasm"}
_MAX_FILE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. `compressed` is its gzip form, or None if that is not smaller."""

    body: bytes
    compressed: bytes | None
    content_type: str
    etag: str
    immutable: bool


class AssetFolder:
    """The files in one folder and its subfolders, by URL path."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._kept: dict[str, tuple[int, int, Asset]] = {}

    @property
    def has_index(self) -> bool:
        """Whether the folder holds a built page."""
        return (self.root / INDEX).is_file()

    def find(self, path: str) -> Asset | None:
        """The file at a decoded URL path, the index for a route of the page, or None."""
        relative = path.lstrip("/")
        found = self._read(relative or INDEX)
        if found is None and is_route(relative):
            found = self._read(INDEX)
        return found

    def _read(self, relative: str) -> Asset | None:
        if "\0" in relative or "\\" in relative or any(part in ("..", ".") for part in relative.split("/")):
            return None
        file = self.root / relative
        try:
            resolved = file.resolve(strict=True)
            if not resolved.is_relative_to(self.root) or not resolved.is_file():
                return None
            status = resolved.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            key = str(resolved)
            kept = self._kept.get(key)
            if kept and kept[:2] == stamp:
                return kept[2]
            if status.st_size > _MAX_FILE_BYTES:
                return None
            asset = _load(resolved.read_bytes(), PurePosixPath(relative))
        except (OSError, ValueError):  # the name is too long, or permission is denied: not found
            return None
        self._kept[key] = (*stamp, asset)
        return asset


def is_route(relative: str) -> bool:
    """Whether a path without a file may be a route of the page (`pool`, `stream/<id>`)."""
    parts = PurePosixPath(relative).parts
    if not parts or parts[0] in RESERVED or parts[0] == "assets":
        return False
    return not parts[-1].startswith(".") and PurePosixPath(parts[-1]).suffix.lower() not in FILE_SUFFIXES


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client with this `Accept-Encoding` takes gzip (RFC 9110, 12.5.3): `gzip;q=0` refuses it."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, *parameters = (each.strip() for each in part.split(";"))
        given = [each.partition("=")[2].strip() for each in parameters if each.partition("=")[0].strip() == "q"]
        weights[coding] = _weight(given[0]) if given else 1.0
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weight(text: str) -> float:
    """A weight of 0 to 1. An invalid one counts as 0, since the uncompressed form is never wrong."""
    return float(text) if re.fullmatch(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", text) else 0.0


def _load(body: bytes, path: PurePosixPath) -> Asset:
    suffix = path.suffix.lower()
    content_type = _TYPES.get(suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    compressed = None
    if content_type.startswith(_COMPRESSIBLE) and len(body) > 512:
        smaller = gzip.compress(body, 9, mtime=0)
        compressed = smaller if len(smaller) < len(body) else None
    if content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    # The build puts a hash of the content into the names of files in assets/.
    immutable = len(path.parts) > 1 and path.parts[0] == "assets"
    return Asset(body, compressed, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"', immutable)
