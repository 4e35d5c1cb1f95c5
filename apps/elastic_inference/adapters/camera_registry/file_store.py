"""The cameras of one machine, kept in the file of `CAMERAS_FILE`. Run by the owner, on its event loop.

The whole file is read every second: neither its time nor its inode shows every change. While it is broken, its last
good state stays. A change is written to a file beside it, which is then renamed: a reader finds the old or the new one.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from elastic_inference.adapters.camera_registry.camera_file import MAX_FILE_BYTES, CameraFileError, parse, render
from elastic_inference.domain.camera import MAX_CAMERAS, CameraSpec
from elastic_inference.domain.camera_errors import CameraRefusal, wrong_fields

log = logging.getLogger(__name__)

_MODE = 0o600
# Cameras are removed only if the file stays without them for this long.
HALF_WRITTEN_S = 0.4


class FileStore:
    """A `CameraStore`. If the file is missing at the start, adding a camera creates it."""

    def __init__(self, path: Path, refused: Callable[[], None] = lambda: None) -> None:
        """`refused` is called for each content of the file that can't be used."""
        self._path = path
        self._refused = refused
        # A content that lacks cameras, and when it was first seen (monotonic).
        self._shorter: tuple[bytes, float] = b"", 0.0
        self._unsure = False
        self._content: bytes | None = None
        self._cameras: dict[str, CameraSpec] | None = None
        self._changed: dict[str, CameraSpec] | None = None
        # What is wrong with the file, and why it can't be written.
        self._broken = ""
        self._fixed = ""

    @property
    def problem(self) -> str:
        """Why the cameras can't be read or changed; empty if they can."""
        return self._broken or self._fixed

    def cameras(self) -> Mapping[str, CameraSpec] | None:
        """All cameras, including changes that are not committed yet."""
        return self._changed if self._changed is not None else self._cameras

    async def refresh(self) -> None:
        """Reads the file. Drops changes that were not committed."""
        self._changed, self._unsure = None, False
        shorter, self._shorter = self._shorter, (b"", 0.0)
        # In a thread, since the file's disk or network may be slow.
        content, why, self._fixed = await asyncio.to_thread(self._look)
        if why:
            self._say_broken(why)
        elif content is None:
            if self._cameras is None:
                self._broken = ""
                return
            self._say_broken(f"{self._path} is missing; its cameras stay. To remove all, write `cameras: []` into it")
        elif content != self._content:
            try:
                found = await asyncio.to_thread(parse, content)
            except CameraFileError as error:
                self._say_broken(f"{self._path}: {error}; its last good state stays")
                return
            self._unsure = self._may_be_half_written(content, found, shorter)
            if not self._unsure:
                self._take(content, found)
        else:
            self._broken = ""

    def _may_be_half_written(
        self, content: bytes, found: Mapping[str, CameraSpec], before: tuple[bytes, float]
    ) -> bool:
        """Whether it lacks cameras and may soon be longer, since a program writes it in pieces."""
        if found.keys() >= (self._cameras or {}).keys():
            return False
        now = time.monotonic()
        self._shorter = before if before[0] == content else (content, now)
        return now - self._shorter[1] < HALF_WRITTEN_S

    async def create(self, spec: CameraSpec) -> None:
        """Adds a camera. Raises CameraRefusal."""
        cameras = self._writable(spec)
        if len(cameras) >= MAX_CAMERAS:
            raise CameraRefusal(409, f"The pool has {MAX_CAMERAS} cameras, which is the maximum: remove one first.")
        self._changed = cameras | {spec.name: spec}

    async def replace(self, spec: CameraSpec) -> None:
        """Changes a camera. Raises CameraRefusal."""
        self._changed = self._writable(spec) | {spec.name: spec}

    async def delete(self, name: str) -> None:
        """Removes a camera. Raises CameraRefusal."""
        cameras = self._writable(None)
        cameras.pop(name, None)
        self._changed = cameras

    async def commit(self) -> None:
        """Writes the file. Raises CameraRefusal if that is not possible; then nothing has changed."""
        changed, self._changed = self._changed, None
        if changed is None:
            return
        content = await asyncio.to_thread(render, changed)
        if len(content) > MAX_FILE_BYTES:
            raise CameraRefusal(409, f"{self._path} would be larger than {MAX_FILE_BYTES // 1024 // 1024} MB.")
        try:
            await asyncio.to_thread(_write, self._path.resolve(), content)
        except OSError as error:
            self._fixed = self._why_not(error)
            raise CameraRefusal(409, self._fixed) from None
        self._content, self._cameras = content, changed

    def _writable(self, spec: CameraSpec | None) -> dict[str, CameraSpec]:
        if self.problem:
            raise CameraRefusal(409, self.problem)
        if self._unsure:
            raise CameraRefusal(503, f"{self._path} has just been changed: try again in a moment.")
        if spec is not None and spec.login_secret is not None:
            raise wrong_fields(
                {"login_secret": "Expected `login`: the cameras are in a file, which can't use a Kubernetes Secret."}
            )
        return dict(self.cameras() or {})

    def _take(self, content: bytes, found: dict[str, CameraSpec]) -> None:
        before = self._cameras or {}
        log.info(
            "%s: %d cameras, %d new, %d changed, %d removed",
            self._path,
            len(found),
            len(found.keys() - before.keys()),
            sum(before[name] != spec for name, spec in found.items() if name in before),
            len(before.keys() - found.keys()),
        )
        self._content, self._cameras, self._broken = content, found, ""

    def _look(self) -> tuple[bytes | None, str, str]:
        """(content or None if there is no file, why it can't be read, why it can't be written)."""
        fixed = ""
        folder = self._path.resolve().parent
        if not os.access(folder, os.W_OK | os.X_OK):
            fixed = self._why_not(OSError(errno.EACCES, f"the folder {folder} is not writable"))
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None, "", fixed
        except OSError as error:
            why = f"{self._path}: expected a readable file ({error.strerror or type(error).__name__})"
            return None, f"{why}; its last good state stays", fixed
        return content, "", fixed

    def _say_broken(self, why: str) -> None:
        if why != self._broken:
            log.warning("%s", why)
            self._refused()
        self._broken = why

    def _why_not(self, error: OSError) -> str:
        reason = error.strerror or type(error).__name__
        return (
            f"Cameras can't be changed here, since {self._path} can't be written ({reason}): change the file itself, "
            "or mount its folder so that housekeeping may write to it."
        )


def _write(path: Path, content: bytes) -> None:
    """Replaces a file by a new one of mode 600, and waits until it is on the disk. Raises OSError."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
