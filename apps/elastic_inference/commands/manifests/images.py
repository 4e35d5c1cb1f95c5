"""Names of images in the manifests: by tag, or with the digest from a file (`--digests`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.names import short_path

_LINE = re.compile(r"(?P<reference>\S+)\s+(?P<digest>sha256:[0-9a-f]{64})")


class Images:
    """`images(reference)` is what a pod pulls. Without a file of digests it is the reference itself."""

    def __init__(self, file: str) -> None:
        """`file` has a line `REFERENCE DIGEST` per image; empty for tags alone. Raises ManifestError."""
        self._file = file
        self._digests = _read(Path(file)) if file else {}

    def __call__(self, reference: str) -> str:
        """The reference with its digest. Raises ManifestError if digests are wanted and this one is not known."""
        if not self._file or "@" in reference:
            return reference
        digest = self._digests.get(reference)
        if digest is None:
            raise ManifestError(
                f"--digests {self._file} has no line for {reference}: container/build.sh adds one for each image that "
                f"it publishes; for others add '{reference} sha256:…' (skopeo inspect --no-tags "
                f"--format '{{{{.Digest}}}}' docker://{reference} prints the digest)"
            )
        return f"{reference}@{digest}"


def _read(file: Path) -> Mapping[str, str]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ManifestError(f"--digests {short_path(file)} can't be read: {reason}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ManifestError(
                f"{short_path(file)}:{number}: expected an image with its tag, and sha256:… after a space"
            )
        found[match["reference"]] = match["digest"]
    return found
